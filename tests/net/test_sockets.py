#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Service addresses for the node's own processes by cgroup programs: what an application sees, whom it reaches,
and whom the programs leave alone."""
import os, shutil
from netlab import Lab, Tap, V6, Worker

root = "/sys/fs/cgroup" if os.path.exists("/sys/fs/cgroup/cgroup.procs") else "/sys/fs/cgroup/unified"
lab, tap = Lab("sock6" if V6 else "sock"), Tap()
W = lab.workers
N1, N2 = "172.31.98.2", "172.31.98.3"
A, B, C = "10.244.1.10", "10.244.1.11", "10.244.2.10"
VIP, DNS, EMPTY, STICKY = "10.96.0.10", "10.96.0.53", "10.96.0.13", "10.96.0.14"
LOOPBACK, ANY = (("::1",), "::") if V6 else (("127.0.0.1", "127.9.9.9"), "0.0.0.0")
group = f"{root}/{lab.tag}"


def cgroup_gone():
    for w in W.values():
        w.p.kill()
        w.p.wait()
    os.rmdir(group)


def service(name, vip, node_port, *eps, **spec):
    ports = [dict(name="p", port=80, protocol="TCP"), dict(name="u", port=80, protocol="UDP")]
    for p in ports if node_port else []:
        p["nodePort"] = node_port
    slices = dict(ports=[dict(name="p", port=8080, protocol="TCP"), dict(name="u", port=8080, protocol="UDP")],
                  endpoints=[dict(addresses=[ip], nodeName=node, conditions=dict(ready=True)) for ip, node in eps])
    return dict(ns="default", name=name, slices=[slices],
                service=dict(spec=dict(clusterIPs=[vip], ports=ports, **spec),
                             metadata=dict(annotations=spec.pop("annotations", {}))))


def install(*dns):
    lab.services([service("both", VIP, 30080, (B, "n1"), (C, "n2")), service("empty", EMPTY, 30083),
                  service("sticky", STICKY, 30084, (B, "n1"), (C, "n2"), sessionAffinity="ClientIP"),
                  service("dns", DNS, 0, *(dns or ((B, "n1"), (C, "n2"))))])


lab.net("172.31.98")
os.mkdir(group)
import atexit
atexit.register(cgroup_gone)  # before the lab's own end: it runs first
lab.cgroup = group
lab.node("n1", N1)
lab.node("n2", N2)
for node, net, via in (("n1", "10.244.2.0/24", N2), ("n2", "10.244.1.0/24", N1)):
    lab.route(lab.nodes[node][0], net, via)
lab.pod("n1", "a", A)
lab.pod("n1", "b", B)
lab.pod("n2", "c", C)
W["out"] = Worker(lab.nodes["n1"][0])  # on the node, but not in its cgroup
for name in ("b", "c"):
    W[name].call("serve", name=name, port=8080)
install()


def packets(node="n1"):
    """Translated flows that tc programs know: none when sockets do the work."""
    return len(lab.lb("connections"))


def by_socket(kind):
    before = packets()
    seen = set()
    for _ in range(24):
        r = W["n1"].call("peer", addr=VIP, port=80, kind=kind)
        if r.get("peer") != [VIP, 80] or r.get("source", [VIP, 80]) != [VIP, 80]:
            return f"{r}"
        seen.add(r["name"])
    if seen != {"b", "c"}:
        return f"answered by {seen}"
    return None if packets() == before else "packets were translated"


def dgrams():
    r = W["n1"].call("dgrams", addr=DNS, port=80, n=10)
    if r["errors"] or len(set(r["names"])) != 1 or any(s != [DNS, 80] for s in r["sources"]):
        return f"{r}"  # one socket keeps its backend, and hears the service's address
    names = {W["n1"].call("dgrams", addr=DNS, port=80)["names"][0] for _ in range(24)}
    return None if names == {"b", "c"} else f"{names}"


def mapped():
    for kind in ("tcp", "udp"):
        r = W["n1"].call("peer", addr="::ffff:" + VIP, port=80, kind=kind)
        if r.get("peer") != ["::ffff:" + VIP, 80] or r.get("source", r["peer"]) != r["peer"]:
            return f"{r}"
    r = W["n1"].call("dgrams", addr="::ffff:" + DNS, port=80)
    return None if r["sources"] == [["::ffff:" + DNS, 80]] else f"{r}"


def node_ports():
    for addr in (N1, *LOOPBACK):
        for kind in ("tcp", "udp"):
            r = W["n1"].call("ask", addr=addr, port=30080, kind=kind, n=16)
            if r.get("error") or r["errors"] or set(r["names"]) != {"b", "c"}:
                return f"{addr} {kind}: {r}"


def refused():
    for addr, port in ((EMPTY, 80), (N1, 30083), (LOOPBACK[0], 30083)):
        r = W["n1"].call("ask", addr=addr, port=port, timeout=2)
        if r["errors"] != ["ConnectionRefusedError"] or r["took"] > 0.5:
            return f"{addr}: {r}"
    r = W["n1"].call("ask", addr=EMPTY, port=80, kind="udp", timeout=2)
    return None if r["errors"] == ["ConnectionRefusedError"] else f"{r}"


def affinity():
    """The same backend by socket and by packet: both go by the node's address."""
    names = {W[who].call("peer", addr=STICKY, port=80)["name"] for _ in range(8) for who in ("n1", "out")}
    return None if len(names) == 1 else f"{names}"


def left_alone():
    """A process of the node outside of the cgroup gets there by packets; a pod's namespace is not the node's."""
    before = packets()
    for who in ("out", "a"):
        r = W[who].call("ask", addr=VIP, port=80, n=8)
        if r["errors"]:
            return f"{who}: {r}"
    if packets() == before:
        return "no packet was translated"
    r = W["a"].call("bind", addr=ANY, port=30080)
    return f"a pod may bind what it likes: {r}" if r else None


def binds():
    for kind, addr in (("tcp", ANY), ("udp", N1), ("tcp", LOOPBACK[0]), ("tcp", "::"), ("udp", "::")):
        r = W["n1"].call("bind", addr=addr, port=30080, kind=kind)
        if r != dict(error="EADDRINUSE"):
            return f"{kind} {addr}: {r}"
    for port in (30099, 8080, 0):
        r = W["n1"].call("bind", addr=ANY, port=port)
        if r:
            return f"{port}: {r}"


def vanished():
    """Connected datagram sockets to a backend that left: an error at once, and the next connect works."""
    got = {}
    for i in range(16):
        got[i] = W["n1"].call("udp_hold", key=f"u{i}", addr=DNS, port=80)["name"]
    if set(got.values()) != {"b", "c"}:
        return f"{got}"
    keep = W["n1"].call("dgrams", addr=DNS, port=80, keep="k")["names"]
    tcp = {i: W["n1"].call("hold", key=f"t{i}", addr=DNS, port=80)["name"] for i in range(12)}
    install((C, "n2"))
    for i, was in got.items():
        r = W["n1"].call("udp_again", key=f"u{i}")
        # the kernel disconnects it: reading says ECONNABORTED, sending that there is no address
        if r.get("error") not in ("ECONNABORTED", "EDESTADDRREQ") if was == "b" else r != dict(name="c"):
            return f"socket to {was}: {r}"
    r = W["n1"].call("dgrams", addr=DNS, port=80, n=3, keep="k")
    if r["names"] != ["c"] * 3 or r["sources"] != [[DNS, 80]] * 3:
        return f"unconnected, was {keep}: {r}"
    for i, was in tcp.items():  # connections finish
        r = W["n1"].call("again", key=f"t{i}")
        if r.get("name") != was:
            return f"connection to {was}: {r}"
    r = W["n1"].call("peer", addr=DNS, port=80, kind="udp")
    return None if r["name"] == "c" else f"{r}"


def restart():
    """A new agent: sockets that were connected under the old one are still known."""
    before = {i: W["n1"].call("udp_hold", key=f"r{i}", addr=VIP, port=80)["name"] for i in range(8)}
    for _ in range(5):
        lab.tool("n1", "up")
    for i, was in before.items():
        r = W["n1"].call("udp_again", key=f"r{i}")
        if r.get("name") != was:
            return f"{was}: {r}"
    links = os.listdir(f"{lab.bpffs}/n1/links")
    if sum(x.startswith("sk_") for x in links) != 10:
        return f"{links}"
    return by_socket("udp")


def other_cgroup():
    """The cgroup was made anew (another start of the cluster): the links follow."""
    os.mkdir(group + ".new")
    try:
        lab.cgroup = group + ".new"
        lab.tool("n1", "up")
        w = W["new"] = Worker(lab.nodes["n1"][0], lab.cgroup)
        r = w.call("peer", addr=VIP, port=80)
        if r.get("peer") != [VIP, 80]:
            return f"{r}"
        before = packets()
        w.call("ask", addr=VIP, port=80)
        if packets() != before:
            return "not by socket"
        r = W["n1"].call("ask", addr=VIP, port=80)
        return None if not r["errors"] and packets() > before else f"the old cgroup is still served: {r}"
    finally:
        W["new"].p.kill()
        W["new"].p.wait()
        for line in open(group + ".new/cgroup.procs").readlines():
            print("# left", line)
        os.rmdir(group + ".new")


tap.check("connect: TCP, no packet translated", lambda: by_socket("tcp"))
tap.check("connect: UDP, no packet translated", lambda: by_socket("udp"))
tap.check("sendto: one backend a socket, answers from the service's address", dgrams)
if not V6:
    tap.check("IPv4 addresses of IPv6 sockets", mapped)
tap.check("node ports on the node's addresses and on loopback", node_ports)
tap.check("no endpoints: refused at once", refused)
tap.check("affinity: the same backend by socket and by packet", affinity)
tap.check("other cgroups and pods are left alone", left_alone)
tap.check("node ports cannot be taken by processes of the node", binds)
tap.check("vanished backend: datagram sockets end, connections finish", vanished)
tap.check("restarts of the agent keep what sockets know", restart)
tap.check("a new cgroup", other_cgroup)
tap.end()
