#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Services on two nodes with real sockets: every way in, both protocols, and restarts under traffic."""
from netlab import Lab, Tap
from services import both_ways, expect, service, slice_of

lab, tap = Lab("svc"), Tap()
W = lab.workers
N1, N2, CLIENT = "172.31.99.2", "172.31.99.3", "172.31.99.100"
A, B, C = "10.244.1.10", "10.244.1.11", "10.244.2.10"


def install(*more):
    lab.services([service("both", "10.96.0.10", 30080, (B, "n1"), (C, "n2")),
                  service("own", "10.96.0.11", 30081, (A, "n1")),
                  service("far", "10.96.0.12", 30082, (C, "n2")),
                  service("none", "10.96.0.13", 30083),
                  service("local", "10.96.0.14", 30084, (B, "n1"), externalTrafficPolicy="Local"),
                  service("ext", "10.96.0.16", 0, (B, "n1"), (C, "n2"), externalIPs=["203.0.113.7"]),
                  service("host", "10.96.0.15", 30085, (N1, "n1"), (N2, "n2"), port=9100), *more])


def refused(who, addr, port):
    for kind in ("tcp", "udp"):
        r = W[who].call("ask", addr=addr, port=port, kind=kind, timeout=2)
        if r["errors"] != ["ConnectionRefusedError"] or r["took"] > 0.5:
            return f"{kind}: {r}"


def bulk(who, addr, port):
    r = W[who].call("ask", addr=addr, port=port, n=4, size=8 << 20, timeout=20)
    if r["errors"] or r["got"] != 4 * (8 << 20):
        return f"{r}"


def big_datagrams(who, addr, port, names):
    r = W[who].call("ask", addr=addr, port=port, kind="udp", n=10, size=5000)
    bad = expect(r, names)
    return bad or (None if r["got"] == 50000 else f"{r}")


def drain():
    """A backend leaves: its connection goes on, new ones go elsewhere."""
    got = {}
    for i in range(20):
        key = f"k{i}"
        got[key] = W["a"].call("hold", key=key, addr="10.96.0.20", port=80)["name"]
    if set(got.values()) != {"b", "c"}:
        return f"{got}"
    install(service("drain", "10.96.0.20", 0, (C, "n2")))
    for key, name in got.items():
        r = W["a"].call("again", key=key)
        if r.get("name") != name:
            return f"{key} was {name}, now {r}"
    return both_ways(W, "a", "10.96.0.20", 80, ["c"])


def udp_moves_on():
    """A datagram socket's backend leaves: the next datagram goes to another."""
    install(service("drain", "10.96.0.20", 0, (B, "n1")))
    return both_ways(W, "a", "10.96.0.20", 80, ["b"])


def swaps():
    """20 restarts with new programs on both nodes while requests run on every kind of path."""
    runs = [("a", "10.96.0.10", 80), ("cl", N1, 30080), ("n1", "10.96.0.10", 80)]
    stop = lab.dir + "/stop"
    for who, addr, port in runs:
        W[who].send("traffic", addr=addr, port=port, seconds=90, stop=stop)
    for _ in range(20):
        for n in lab.nodes:
            lab.tool(n, "up")
    open(stop, "w").close()
    results = [W[who].result() for who, _, _ in runs]
    for n in lab.nodes:
        print(f"# {n} counters {lab.counters(n)}")
    bad = [r for r in results if r.get("error") or r["errors"] or r["ok"] < 50]
    print(f"# 20 swaps on two nodes, {sum(r.get('ok', 0) for r in results)} requests")
    return f"{bad}" if bad else None


lab.node("n1", N1)
lab.node("n2", N2)
lab.host("cl", CLIENT)
for node, net, via in (("n1", "10.244.2.0/24", N2), ("n2", "10.244.1.0/24", N1)):
    lab.route(lab.nodes[node][0], net, via)
    lab.route(lab.nodes[node][0], "203.0.113.0/24", "172.31.99.1")
lab.route(lab.tag + "cl", "203.0.113.0/24", N1)
lab.pod("n1", "a", A)
lab.pod("n1", "b", B)
lab.pod("n2", "c", C)
for name in ("a", "b", "c"):
    W[name].call("serve", name=name, port=8080)
W["n1"].call("serve", name="n1", port=9100)
W["n2"].call("serve", name="n2", port=9100)
install()

tap.check("pod to pod, same node", lambda: both_ways(W, "a", B, 8080, ["b"], [A]))
tap.check("pod to pod, other node", lambda: both_ways(W, "a", C, 8080, ["c"], [A]))
tap.check("pod to cluster address", lambda: both_ways(W, "a", "10.96.0.10", 80, ["b", "c"], [A]))
tap.check("pod to itself through its service", lambda: both_ways(W, "a", "10.96.0.11", 80, ["a"], ["169.254.42.1"]))
tap.check("pod to a cluster address with hostNetwork backends",
          lambda: both_ways(W, "a", "10.96.0.15", 80, ["n1", "n2"]))
tap.check("pod to node port of its node", lambda: both_ways(W, "a", N1, 30080, ["b", "c"]))
tap.check("pod to node port of the other node", lambda: both_ways(W, "a", N2, 30080, ["b", "c"]))
tap.check("node to cluster address", lambda: both_ways(W, "n1", "10.96.0.10", 80, ["b", "c"]))
tap.check("node to cluster address with hostNetwork backends",
          lambda: both_ways(W, "n1", "10.96.0.15", 80, ["n1", "n2"]))
tap.check("node to its own node port", lambda: both_ways(W, "n1", N1, 30080, ["b", "c"]))
tap.check("node to an external address", lambda: both_ways(W, "n1", "203.0.113.7", 80, ["b", "c"]))
tap.check("pod to an external address", lambda: both_ways(W, "a", "203.0.113.7", 80, ["b", "c"]))
tap.check("outside to an external address", lambda: both_ways(W, "cl", "203.0.113.7", 80, ["b", "c"]))
tap.check("node to the other node's node port", lambda: both_ways(W, "n1", N2, 30080, ["b", "c"]))
tap.check("outside to node port, both kinds of backend", lambda: both_ways(W, "cl", N1, 30080, ["b", "c"]))
tap.check("outside to node port of a node without backend", lambda: both_ways(W, "cl", N2, 30081, ["a"], [N2]))
tap.check("outside to node port, hostNetwork backends", lambda: both_ways(W, "cl", N1, 30085, ["n1", "n2"]))
tap.check("policy Local keeps the client's address", lambda: both_ways(W, "cl", N1, 30084, ["b"], [CLIENT]))


def local_drops():
    r = W["cl"].call("ask", addr=N2, port=30084, timeout=1)
    return None if r["errors"] in (["TimeoutError"], ["timeout"]) else f"{r}"


tap.check("policy Local without endpoint here: silence", local_drops)
tap.check("no endpoints: refused at once, from a pod", lambda: refused("a", "10.96.0.13", 80))
tap.check("no endpoints: refused at once, from a node", lambda: refused("n1", "10.96.0.13", 80))
tap.check("no endpoints: refused at once, from outside", lambda: refused("cl", N1, 30083))
tap.check("no such port: refused at once", lambda: refused("a", "10.96.0.10", 81))
tap.check("bulk: pod to local and remote backend", lambda: bulk("a", "10.96.0.10", 80))
tap.check("bulk: node to cluster address", lambda: bulk("n1", "10.96.0.12", 80))
tap.check("bulk: node to its own node port", lambda: bulk("n1", N1, 30084))
tap.check("bulk: outside to remote backend", lambda: bulk("cl", N1, 30082))
tap.check("bulk: outside to local backend", lambda: bulk("cl", N1, 30084))
tap.check("fragments: pod to cluster address", lambda: big_datagrams("a", "10.96.0.12", 80, ["c"]))
tap.check("fragments: outside to remote backend", lambda: big_datagrams("cl", N1, 30082, ["c"]))
tap.check("fragments: outside to local backend", lambda: big_datagrams("cl", N1, 30084, ["b"]))
def listed(what, **want):
    """The rows of `xebec lb` that have these members."""
    rows = lab.lb(what)
    return [r for r in rows if all(r.get(k) == v for k, v in want.items())]


def listings():
    s = listed("services", node="n1", service="default/both:p/TCP")
    if len(s) != 1 or s[0]["frontends"] != "10.96.0.10:80 *:30080" or s[0]["endpoints"] != 2 or s[0]["local"] != 1:
        return f"{s}"
    b = listed("backends", node="n1", service="default/both:p/TCP")
    if sorted((x["backend"], x["state"], x["where"]) for x in b) != [
            (B + ":8080", "ready", "local"), (C + ":8080", "ready", "remote")] or not all(
            x["connections"] and x["packetsIn"] and x["packetsOut"] for x in b):
        return f"{b}"
    W["a"].call("hold", key="listed", addr="10.96.0.12", port=80)
    c = listed("connections", node="n1", frontend="10.96.0.12:80", state="established", backend=C + ":8080")
    if not any(x["client"].startswith(A + ":") and x["service"] == "default/far:p/TCP" for x in c):
        return f"{c}"
    e = {x["pod"] for x in listed("endpoints", node="n1")}
    return None if e == {A, B} else f"{e}"


tap.check("xebec lb tells all that", listings)
install(service("drain", "10.96.0.20", 0, (B, "n1"), (C, "n2")))
tap.check("a backend leaves: connections stay, new ones move", drain)
tap.check("a backend leaves: datagrams move", udp_moves_on)
tap.check("20 program swaps under traffic: nothing lost, nothing reset", swaps)
tap.end()
