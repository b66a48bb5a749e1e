# SPDX-License-Identifier: Apache-2.0
"""Service objects of the network tests, and what a client should have seen."""


def slice_of(*eps, port=8080):
    return dict(ports=[dict(name="p", port=port, protocol=k) for k in ("TCP",)] +
                [dict(name="u", port=port, protocol="UDP")],
                endpoints=[dict(addresses=[ip], nodeName=node, conditions=dict(ready=True)) for ip, node in eps])


def service(name, vip, node_port, *eps, port=8080, **spec):
    ports = [dict(name="p", port=80, protocol="TCP"), dict(name="u", port=80, protocol="UDP")]
    if node_port:
        for p in ports:
            p["nodePort"] = node_port
    return dict(ns="default", name=name, slices=[slice_of(*eps, port=port)],
                service=dict(spec=dict(clusterIPs=[vip], ports=ports, **spec)))


def expect(r, names, n=None, peers=None):
    if r.get("error") or r["errors"]:
        return f"{r}"
    if set(r["names"]) != set(names):
        return f"answered by {r['names']}, wanted {names}"
    if peers and set(r["peers"]) != set(peers):
        return f"seen as {r['peers']}, wanted {peers}"
    return None


def both_ways(workers, who, addr, port, names, peers=None, n=24):
    """By TCP and by UDP."""
    for kind in ("tcp", "udp"):
        bad = expect(workers[who].call("ask", addr=addr, port=port, kind=kind, n=n), names, peers=peers)
        if bad:
            return f"{kind}: {bad}"
    return None
