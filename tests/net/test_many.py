#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""65,000 services on one node: all of them answer, one more endpoint set is a matter of moments, a restart adopts them."""
import time
from netlab import Lab, Tap

lab, tap = Lab("many"), Tap()
W = lab.workers
A, B, N = "10.244.1.10", "10.244.1.11", 65000


def service(i, *eps):
    return dict(ns="default", name=f"s{i}", service=dict(spec=dict(
        clusterIPs=[f"10.96.{i >> 8}.{i & 255}"], ports=[dict(name="p", port=80, protocol="TCP")])), slices=[dict(
            ports=[dict(name="p", port=8080, protocol="TCP")],
            endpoints=[dict(addresses=[ip], nodeName="n1", conditions=dict(ready=True)) for ip in eps])])


def answer(*which, name="b"):
    for i in which:
        r = W["a"].call("ask", addr=f"10.96.{i >> 8}.{i & 255}", port=80, n=2)
        if r["errors"] or list(r["names"]) != [name]:
            return f"service {i}: {r}"


def install(objects):
    t = time.monotonic()
    lab.services(objects)
    print(f"# {len(objects)} services in {time.monotonic() - t:.2f} s")


lab.node("n1", "172.31.99.2")
lab.pod("n1", "a", A)
lab.pod("n1", "b", B)
for name in "ab":
    W[name].call("serve", name=name, port=8080)
everything = [service(i, B) for i in range(1, N + 1)]
some = (1, 2, 255, 256, 4097, 32768, 50001, N - 1, N)


def all_of_them():
    install(everything)
    return answer(*some)


def restart():
    W["a"].call("hold", key="open", addr="10.96.78.78", port=80)
    lab.tool("n1", "up")
    if W["a"].call("again", key="open").get("name") != "b":
        return "an open connection broke"
    return answer(*some)


def change():
    everything[777 - 1] = service(777, A)
    install(everything)
    return answer(777, name="a") or answer(776, 778, *some)


def shrink():
    """Most of them go; what they held is free for others at other addresses."""
    install(everything[:1000])
    r = W["a"].call("ask", addr="10.96.78.78", port=80, timeout=2)
    if r["errors"] != ["ConnectionRefusedError"]:
        return f"a deleted service: {r}"
    install(everything)
    return answer(*some, 20046)


tap.check("65,000 services answer", all_of_them)
tap.check("a restart adopts them, connections go on", restart)
tap.check("one of them changes", change)
tap.check("most of them go and come back", shrink)
tap.end()
