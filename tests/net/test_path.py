#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What can happen on the way, with real sockets: hops run out, paths get narrow, fragments, header options, floods,
and restarts under a stream."""
from netlab import Lab, Tap, V6, meant

lab, tap = Lab("path6" if V6 else "path"), Tap()
W = lab.workers
N1, N2, CLIENT = "172.31.99.2", "172.31.99.3", "172.31.99.100"
A, B, C = "10.244.1.10", "10.244.1.11", "10.244.2.10"
EXPIRED, NO_PORT = (dict(type=3, code=0), dict(type=1, code=4)) if V6 else (dict(type=11, code=0), dict(type=3, code=3))
NEAR, FAR, NONE = "10.96.0.10", "10.96.0.11", "10.96.0.12"


def service(vip, node_port, *eps, port=8080):
    ports = [dict(name=k, port=80, protocol=k, nodePort=node_port) for k in ("TCP", "UDP")]
    return dict(ns="default", name=f"s{node_port}", service=dict(spec=dict(clusterIPs=[vip], ports=ports)), slices=[dict(
        ports=[dict(name=k, port=port, protocol=k) for k in ("TCP", "UDP")],
        endpoints=[dict(addresses=[ip], nodeName=node, conditions=dict(ready=True)) for ip, node in eps])])


def same(got, **want):
    return None if {k: got.get(k) for k in want} == want else f"{got}"


def hops():
    """traceroute to a service: its first hop is the node, and the errors speak of the service's address."""
    for vip in (NEAR, FAR):
        bad = same(W["a"].call("hop", addr=vip, port=80, ttl=1), **EXPIRED, by=N1, about=[vip, 80])
        if bad:
            return bad
    bad = same(W["a"].call("hop", addr=FAR, port=80, ttl=2), **EXPIRED, by=N2, about=[FAR, 80])
    return bad or same(W["a"].call("hop", addr=FAR, port=80, ttl=3), answer="c")


def hops_outside():
    bad = same(W["cl"].call("hop", addr=N1, port=30081, ttl=1), **EXPIRED, by=N1, about=[N1, 30081])
    bad = bad or same(W["cl"].call("hop", addr=N1, port=30081, ttl=2), **EXPIRED, by=N2, about=[N1, 30081])
    return bad or same(W["cl"].call("hop", addr=N1, port=30081, ttl=3), answer="c")


def refused():
    for who, addr, port in (("a", NONE, 80), ("cl", N1, 30082)):
        bad = same(W[who].call("hop", addr=addr, port=port, ttl=64), **NO_PORT, by=addr, about=[addr, port])
        if bad:
            return bad


def closed_port():
    """The backend's own ICMP error comes from the service, not from an address that the client never spoke to."""
    bad = same(W["a"].call("hop", addr="10.96.0.14", port=80, ttl=64), **NO_PORT, by="10.96.0.14", about=["10.96.0.14", 80])
    return bad or same(W["cl"].call("hop", addr=N1, port=30084, ttl=64), **NO_PORT, by=N1, about=[N1, 30084])


def narrow(who, addr, port):
    bad = same(W[who].call("path_mtu", addr=addr, port=port, size=1400), mtu=1300)
    return bad or same(W[who].call("upload_spaces", addr=addr, port=port, size=1 << 20), name="c")


def options():
    for who, addr, port, name in (("a", NEAR, 80, "b"), ("a", FAR, 80, "c"), ("cl", N1, 30081, "c"), ("cl", N1, 30080, "b")):
        for kind in ("tcp", "udp"):
            bad = same(W[who].call("options", addr=addr, port=port, kind=kind), name=name)
            if bad:
                return f"{who} {addr} {kind}: {bad}"


def fragments():
    for who, addr, port in (("a", NEAR, 80), ("a", FAR, 80), ("cl", N1, 30081), ("cl", N1, 30080), ("n1", FAR, 80)):
        r = W[who].call("ask", addr=addr, port=port, kind="udp", n=10, size=20000)
        if r["errors"] or r["got"] != 200000:
            return f"{who} {addr}: {r}"


def flood():
    """70,000 half-open connections, twice what the table for them holds: open ones do not notice."""
    for i in range(60):
        W["a"].call("hold", key=f"f{i}", addr=(NEAR, FAR)[i % 2], port=80)
        W["cl"].call("hold", key=f"f{i}", addr=N1, port=(30080, 30081)[i % 2])
    for i in range(60):  # a second request each: the flow has gone on after its answer
        W["a"].call("again", key=f"f{i}")
        W["cl"].call("again", key=f"f{i}")
    W["cl"].call("flood", addr=N1, port=30080, n=70000, sources=[f"172.31.99.{i}" for i in range(110, 130)])
    lost = [f"{who} {i}" for i in range(60) for who in ("a", "cl") if "error" in W[who].call("again", key=f"f{i}")]
    return f"lost {lost}" if lost else None


def stream():
    """Streams on every path while programs are swapped on both nodes."""
    runs = (("a", NEAR, 80), ("cl", N1, 30081), ("n1", FAR, 80))
    for who, addr, port in runs:
        W[who].send("ask", addr=addr, port=port, n=6, size=48 << 20, timeout=30)
    for _ in range(5):
        for n in lab.nodes:
            lab.tool(n, "up")
    bad = [r for r in (W[who].result() for who, _, _ in runs) if r["errors"] or r["got"] != 6 * (48 << 20)]
    return f"{bad}" if bad else None


lab.node("n1", N1)
lab.node("n2", N2)
lab.host("cl", CLIENT)
for node, net, via in (("n1", "10.244.2.0/24", N2), ("n2", "10.244.1.0/24", N1)):
    lab.route(lab.nodes[node][0], net, via)
lab.pod("n1", "a", A)
lab.pod("n1", "b", B)
lab.pod("n2", "c", C)
for name in "abc":
    W[name].call("serve", name=name, port=8080)
for ns in lab.spaces:  # errors one after the other are what is tested
    lab.on(ns, "sh", "-c", "cd /proc/sys/net; echo 0 >ipv4/icmp_ratelimit; echo 0 >ipv6/icmp/ratelimit")
lab.services([service(NEAR, 30080, (B, "n1")), service(FAR, 30081, (C, "n2")), service(NONE, 30082),
              service("10.96.0.14", 30084, (C, "n2"), port=9)])
tap.check("hops of a pod's datagrams run out", hops)
tap.check("hops of datagrams from outside run out", hops_outside)
tap.check("no endpoint: port unreachable, from the service", refused)
tap.check("backend without that port: port unreachable, from the service", closed_port)
tap.check("header options", options)
tap.check("datagrams of 20,000 bytes", fragments)
tap.check("SYN flood beside open connections", flood)
tap.check("streams while programs are swapped", stream)
lab.on(lab.nodes["n1"][0], "ip", "route", "replace", meant("10.244.2.0/24"), "via", meant(N2), "mtu", "lock", "1300")
tap.check("a narrow path behind the node: from a pod", lambda: narrow("a", FAR, 80))
tap.check("a narrow path behind the node: from outside", lambda: narrow("cl", N1, 30081))
tap.end()
