#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Three nodes, two networks: n1 and n3 are on one L2 and reach each other's pods directly, n2 is behind a router that knows
nothing of pods, so they and it speak VXLAN. Pods' interfaces carry 1500 bytes: what is too big for VXLAN must be told."""
import os, struct
from netlab import Lab, Tap, V6, both, numbers
from services import service, both_ways, expect

lab, tap = Lab("vx"), Tap()
W = lab.workers
N1, N2, N3, CLIENT = "172.31.99.2", "172.31.98.3", "172.31.99.4", "172.31.99.100"
A, B, C, D = "10.244.1.10", "10.244.1.11", "10.244.2.10", "10.244.3.10"
PODS = {"n1": (N1, "10.244.1.0/24"), "n2": (N2, "10.244.2.0/24"), "n3": (N3, "10.244.3.0/24")}
VX_SENDER, VX_OUT, VX_IN = map(numbers().get, ("VX_SENDER", "CNT_VX_OUT", "CNT_VX_IN"))


def bulk(who, addr, port):
    r = W[who].call("ask", addr=addr, port=port, n=2, size=8 << 20, timeout=20)
    if r["errors"] or r["got"] != 2 * (8 << 20):
        return f"{r}"
    return upload(who, addr, port)


def upload(who, addr, port):
    r = W[who].call("push", addr=addr, port=port, size=4 << 20)
    return None if r.get("got") == 4 << 20 else f"upload: {r}"


def big_datagrams(who, addr, port, names):
    if V6:  # nobody on the way cuts: the first one teaches the sender the path's MTU
        W[who].call("ask", addr=addr, port=port, kind="udp", size=5000, timeout=1)
    r = W[who].call("ask", addr=addr, port=port, kind="udp", n=6, size=5000)
    return expect(r, names) or (None if r["got"] == 30000 else f"{r}")


def encapsulated(node, fn, least=(1, 1)):
    """fn's packets went through VXLAN both ways. What the node's stack itself wraps is not counted."""
    before = lab.counters(node)
    bad = fn()
    after = lab.counters(node)
    moved = [after.get(k, 0) - before.get(k, 0) for k in (VX_OUT, VX_IN)]
    return bad or (None if all(m >= k for m, k in zip(moved, least)) else f"VXLAN packets out, in: {moved}")


def direct(node, fn):
    before = lab.counters(node)
    bad = fn()
    after = lab.counters(node)
    return bad or (None if all(after.get(k) == before.get(k) for k in (VX_OUT, VX_IN)) else "went by VXLAN")


def forged():
    """A stranger's VXLAN: inside, a datagram of pod C to pod B."""
    inner = bytes.fromhex("0e58" + "0" * 8 + "0e59" + "0" * 8 + "0800")
    data = b"forged"
    ip = struct.pack(">BBHHHBBH4B4B", 0x45, 0, 28 + len(data), 1, 0, 64, 17, 0, 10, 244, 2, 10, 10, 244, 1, 11)
    s = sum(struct.unpack(">10H", ip))
    s = ~((s & 0xffff) + (s >> 16)) & 0xffff
    ip = ip[:10] + struct.pack(">H", s) + ip[12:]
    udp = struct.pack(">HHHH", 999, 7777, 8 + len(data), 0)
    packet = bytes([8, 0, 0, 0, 0, 0, 1, 0]) + inner + ip + udp + data
    W["b"].call("listen", port=7777)
    before = lab.counters("n1").get(VX_SENDER, 0)
    W["cl"].call("sendto", addr=N1, port=4789, hex=packet.hex())
    W["n2"].call("sendto", addr=N1, port=4789, hex=packet.hex())
    got = W["b"].call("received", port=7777, n=1)
    if got["packets"] != [["forged", C, 999]]:
        return f"pod got {got}"
    dropped = lab.counters("n1").get(VX_SENDER, 0) - before
    return None if dropped == 1 else f"{dropped} dropped"


def pings(who, addr, **kw):
    got = W[who].call("ping", addr=addr, **kw)
    return None if got == dict(got=[addr] * kw.get("n", 2)) else f"{who}: {got}"


def nat_rows():
    """What the lists say of flows under the node's address, in JSON and as a table."""
    W["a"].call("ping", addr=CLIENT, ident=1234)
    rows = [r for r in lab.lb("nat") if r["node"] == "n1" and r["why"] == "masquerade"]
    ping = [r for r in rows if r["proto"] == "ICMP" and ":1234" in r["client"]]
    tcp = [r for r in rows if r["proto"] == "TCP" and r["client"].startswith(A)]
    if len(ping) != 1 or not tcp or any(r["portKept"] != "yes" or not r["source"].startswith(N1) for r in ping + tcp):
        return f"{rows}"
    if not all(r["destination"] == f"{CLIENT}:9000" for r in tcp):
        return f"{tcp}"
    table = lab.table("nat").splitlines()
    return None if "SOURCE" in table[0] and any("ICMP" in x and "masquerade" in x for x in table) else f"{table}"


def together():
    who_all = ("a", "b", "n1")
    for who in who_all:
        W[who].send("ping", addr=CLIENT, n=20, ident=99)
    got = {who: W[who].result() for who in who_all}
    return None if all_came(got.values(), 20) else f"{got}"


def all_came(results, n):
    return all(r == dict(got=[CLIENT] * n) for r in results)


def swaps():
    stop = lab.dir + "/stop"
    runs = [("a", C, 8080), ("b", "10.96.0.12", 80), ("cl", N1, 30082)]
    for who, addr, port in runs:
        W[who].send("traffic", addr=addr, port=port, seconds=60, stop=stop)
    for _ in range(5):
        for n in lab.nodes:
            lab.tool(n, "up")
    open(stop, "w").close()
    results = [W[who].result() for who, _, _ in runs]
    bad = [r for r in results if r.get("error") or r["errors"] or r["ok"] < 10]
    return f"{bad}" if bad else None


lab.router("172.31.98.1/24")
for name, (ip, _) in PODS.items():
    lab.node(name, ip)
for name in PODS:
    for other, (ip, pods) in PODS.items():
        if other != name:
            lab.peer(name, ip, pods)
lab.host("cl", CLIENT)
for name, node, ip in (("a", "n1", A), ("b", "n1", B), ("c", "n2", C), ("d", "n3", D)):
    lab.pod(node, name, ip)
    W[name].call("serve", name=name, port=8080)
for name in PODS:
    W[name].call("serve", name=name, port=9100)
lab.services([service("both", "10.96.0.10", 30080, (B, "n1"), (C, "n2"), (D, "n3")),
              service("far", "10.96.0.12", 30082, (C, "n2")),
              service("host", "10.96.0.15", 30085, (N2, "n2"), port=9100)])

tap.check("pod to pod behind VXLAN", lambda: encapsulated("n1", lambda: both_ways(W, "a", C, 8080, ["c"], [A])))
tap.check("and the other way", lambda: encapsulated("n2", lambda: both_ways(W, "c", A, 8080, ["a"], [C])))
tap.check("pod to pod on one L2", lambda: direct("n1", lambda: both_ways(W, "a", D, 8080, ["d"], [A])))
tap.check("pod to cluster address", lambda: both_ways(W, "a", "10.96.0.10", 80, ["b", "c", "d"], [A], n=40))
tap.check("node to pod", lambda: encapsulated("n1", lambda: both_ways(W, "n1", C, 8080, ["c"], [N1]), least=(0, 1)))
tap.check("node to cluster address", lambda: both_ways(W, "n1", "10.96.0.12", 80, ["c"], [N1]))
tap.check("node to its own node port", lambda: both_ways(W, "n1", N1, 30082, ["c"]))
tap.check("pod to the other node", lambda: encapsulated("n1", lambda: both_ways(W, "a", N2, 9100, ["n2"], [A])))
tap.check("pod to the other node's node port", lambda: both_ways(W, "a", N2, 30080, ["b", "c", "d"], n=40))
tap.check("pod to a node port there with a hostNetwork backend", lambda: both_ways(W, "a", N2, 30085, ["n2"]))
tap.check("pod to a cluster address with a hostNetwork backend", lambda: both_ways(W, "a", "10.96.0.15", 80, ["n2"]))
tap.check("outside to node port with a backend behind VXLAN",
          lambda: encapsulated("n1", lambda: both_ways(W, "cl", N1, 30082, ["c"], [N1])))
tap.check("bulk: pod to pod", lambda: bulk("a", C, 8080))
tap.check("bulk: pod to cluster address", lambda: bulk("a", "10.96.0.12", 80))
tap.check("bulk: node to cluster address", lambda: bulk("n1", "10.96.0.12", 80))
tap.check("bulk: outside to node port", lambda: bulk("cl", N1, 30082))
tap.check("bulk: pod to the other node", lambda: bulk("a", N2, 9100))
tap.check("fragments: pod to pod", lambda: big_datagrams("a", C, 8080, ["c"]))
tap.check("fragments: pod to cluster address", lambda: big_datagrams("a", "10.96.0.12", 80, ["c"]))
tap.check("fragments: outside to node port", lambda: big_datagrams("cl", N1, 30082, ["c"]))
if not V6:  # the programs look at the outer packet alone, which is IPv4
    tap.check("VXLAN of a stranger is dropped, that of a node is not", forged)
os.environ["XEBEC_MASQ"] = "1"
for node in PODS:
    lab.tool(node, "up")
lab.pod("n1", "e", "10.244.1.12")
W["cl"].call("serve", name="cl", port=9000)
tap.check("masquerade: pod to outside", lambda: both_ways(W, "a", CLIENT, 9000, ["cl"], [N1]))
tap.check("masquerade: bulk both ways", lambda: bulk("e", CLIENT, 9000))
tap.check("masquerade: fragments", lambda: big_datagrams("a", CLIENT, 9000, ["cl"]))
tap.check("masquerade: echo requests", lambda: pings("a", CLIENT))
tap.check("masquerade: what xebec lb nat says", nat_rows)
tap.check("masquerade: two pods and the node with one identifier", together)
tap.check("masquerade: echo requests in fragments", lambda: pings("a", CLIENT, size=4000))
tap.check("masquerade: not to pods and nodes", lambda: both_ways(W, "a", D, 8080, ["d"], [A]) or
          both_ways(W, "a", N3, 9100, ["n3"], [A]))
os.environ["XEBEC_NO_MASQ"] = both("172.31.99.96/28")
lab.tool("n1", "up")
lab.route(lab.tag + "cl", PODS["n1"][1], N1)
tap.check("no masquerade to configured networks", lambda: both_ways(W, "a", CLIENT, 9000, ["cl"], [A]) or pings("a", CLIENT))
tap.check("program swaps under traffic", swaps)
tap.end()
