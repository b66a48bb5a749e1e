#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Node ports by XDP with real sockets, in the driver and in the stack: the second and later packets of a client from outside
to a backend on the other node, both ways. First with checksums left to a device, as virtual links do, which XDP leaves to TC; then
with whole ones."""
import os
from netlab import Lab, Tap, TOOL, numbers
from services import both_ways, service

ETHTOOL = """
import array, fcntl, socket, struct, sys
for cmd in sys.argv[2:]:
    v = array.array("B", struct.pack("II", int(cmd[:-1], 16), int(cmd[-1])))
    fcntl.ioctl(socket.socket(), 0x8946, struct.pack("16sP", sys.argv[1].encode(), v.buffer_info()[0]))
"""
TX_CSUM_OFF, TSO_OFF, GSO_OFF = "170", "1f0", "240"

lab, tap = Lab("xdp"), Tap()
W = lab.workers
N1, N2, CLIENT = "172.31.99.2", "172.31.99.3", "172.31.99.100"
B, C = "10.244.1.11", "10.244.2.10"
XDP, SNAT = map(numbers().get, ("CNT_XDP", "CNT_SNAT"))


def ethtool(ns, dev, *settings):
    lab.on(ns, "python3", "-c", ETHTOOL, dev, *settings)


def mode(name):
    os.environ["XEBEC_XDP"] = name
    for n in lab.nodes:
        lab.tool(n, "up")


def moved(fn, least):
    before = lab.counters("n1").get(XDP, 0)
    bad = fn()
    n = lab.counters("n1").get(XDP, 0) - before
    return bad or (None if n >= least and (least or n == 0) else f"{n} packets by XDP")


def bulk():
    r = W["cl"].call("ask", addr=N1, port=30082, n=2, size=4 << 20, timeout=20)
    if r["errors"] or r["got"] != 2 * (4 << 20):
        return f"{r}"
    r = W["cl"].call("push", addr=N1, port=30082, size=4 << 20)
    return None if r.get("got") == 4 << 20 else f"upload: {r}"


def swaps():
    stop = lab.dir + "/stop"
    W["cl"].send("traffic", addr=N1, port=30082, seconds=60, stop=stop)
    for _ in range(10):
        for n in lab.nodes:
            lab.tool(n, "up")
    open(stop, "w").close()
    r = W["cl"].result()
    os.unlink(stop)
    return None if not r.get("error") and not r["errors"] and r["ok"] > 50 else f"{r}"


lab.node("n1", N1)
lab.node("n2", N2)
lab.host("cl", CLIENT)
for node, net, via in (("n1", "10.244.2.0/24", N2), ("n2", "10.244.1.0/24", N1)):
    lab.route(lab.nodes[node][0], net, via)
lab.pod("n1", "b", B)
lab.pod("n2", "c", C)
for name in "bc":
    W[name].call("serve", name=name, port=8080)
for ns in lab.nodes.values():
    lab.on(lab.br, TOOL, "receive", f"p{ns[0][-6:]}")
lab.services([service("far", "10.96.0.12", 30082, (C, "n2")), service("both", "10.96.0.10", 30080, (B, "n1"), (C, "n2"))])

tap.check("off: the way by TC", lambda: moved(lambda: both_ways(W, "cl", N1, 30082, ["c"], [N1]), 0))
mode("auto")
tap.check("auto: not on a virtual link", lambda: moved(lambda: both_ways(W, "cl", N1, 30082, ["c"], [N1]), 0))
for name in ("native", "generic"):
    mode(name)
    tap.check(f"{name}: checksums left to a device", lambda: both_ways(W, "cl", N1, 30082, ["c"], [N1]) or
              both_ways(W, "cl", N1, 30080, ["b", "c"]) or bulk())
for ns in (lab.tag + "cl", lab.tag + "b", lab.tag + "c"):
    ethtool(ns, "eth0", TX_CSUM_OFF, TSO_OFF, GSO_OFF)
for ns in lab.nodes.values():  # the far end's program took segmentation away already
    ethtool(ns[0], "eth0", TX_CSUM_OFF)
for name in ("native", "generic"):
    mode(name)
    tap.check(f"{name}: node port with a backend there", lambda: moved(lambda: both_ways(W, "cl", N1, 30082, ["c"], [N1]), 100))
    tap.check(f"{name}: node port with backends here and there", lambda: moved(lambda: both_ways(W, "cl", N1, 30080, ["b", "c"]), 30))
    tap.check(f"{name}: bulk both ways", lambda: moved(bulk, 1000))
    tap.check(f"{name}: others are not touched", lambda: moved(lambda: both_ways(W, "b", "10.96.0.12", 80, ["c"], [B]), 0))
    tap.check(f"{name}: program swaps under traffic", swaps)
mode("off")
tap.check("off again", lambda: moved(lambda: both_ways(W, "cl", N1, 30082, ["c"], [N1]), 0))
tap.end()
