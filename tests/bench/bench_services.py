#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Latency pod -> ClusterIP -> pod of one node: with 1 and with 10,000 services, against kube-proxy's nftables rules with
10,000 and against plain kernel routing. Rounds are interleaved and each ratio is the median of the rounds' ratios, so that
what else the machine does meets all alike."""
import os, statistics, subprocess, sys
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/net"))
from netlab import Lab, NftLab

CRR = os.path.join(ROOT, "build/release/tests/bench/crr")
NODE, A, B, ROUNDS = "172.31.99.2", "10.244.1.10", "10.244.1.11", 15
servers = []


def service(i):
    return dict(ns="default", name=f"s{i}", slices=[dict(
        ports=[dict(name="p", port=8080, protocol="TCP")],
        endpoints=[dict(addresses=[B], nodeName="n1", conditions=dict(ready=True))])],
        service=dict(spec=dict(clusterIPs=[f"10.96.{i >> 8}.{i & 255}"], ports=[dict(name="p", port=80, protocol="TCP")])))


def build(cls, name, n):
    lab = cls(name)
    lab.node("n1", NODE)
    for pod, ip in (("a", A), ("b", B)):
        lab.pod("n1", pod, ip)
        # a client that changes between service and pod address meets TIME_WAIT with foreign timestamps
        lab.on(lab.tag + pod, "sh", "-c", "cd /proc/sys/net/ipv4; echo 2 >tcp_timestamps; echo 0 >tcp_max_tw_buckets")
    if n:
        lab.services([service(i) for i in range(1, n + 1)])
    servers.append(subprocess.Popen(["nsenter", f"--net=/run/netns/{lab.tag}b", "taskset", "-c", "0", CRR, "serve", "8080"]))
    return lab


def measure(lab, what, ip, port, seconds=0.25):
    out = subprocess.run(["nsenter", f"--net=/run/netns/{lab.tag}a", "taskset", "-c", "0", CRR, what, ip, str(port), str(seconds)],
                         capture_output=True, text=True, check=True).stdout
    return float(out.split()[0])


def main():
    one, many = build(Lab, "bxo", 1), build(Lab, "bxm", 10000)
    rules, plain = build(NftLab, "bnf", 10000), build(NftLab, "bpl", 0)
    mid = "10.96.19.136"  # service 5,000
    cells = {"one": (one, "10.96.0.1", 80), "many": (many, mid, 80), "nft": (rules, mid, 80), "plain": (plain, B, 8080)}
    rows = {(what, k): [] for what in ("rr", "crr") for k in cells}
    for k, (lab, ip, port) in cells.items():
        measure(lab, "crr", ip, port)  # neighbours, caches
    for r in range(ROUNDS):
        for what in ("rr", "crr"):
            for k in sorted(cells, reverse=r & 1):
                rows[what, k].append(measure(cells[k][0], what, *cells[k][1:]))

    def ratio(what, a, b):
        return statistics.median(x / y for x, y in zip(rows[what, a], rows[what, b]))
    for (what, k), v in rows.items():
        print(f"{what}_{k}_p50 {statistics.median(v):.2f} us", flush=True)
    print(f"rr_service_over_routed {ratio('rr', 'many', 'plain'):.3f} x")
    print(f"crr_10k_over_1 {ratio('crr', 'many', 'one'):.3f} x")
    print(f"crr_10k_over_nftables {ratio('crr', 'many', 'nft'):.3f} x", flush=True)


try:
    main()
finally:
    for s in servers:
        s.kill()
        s.wait()
