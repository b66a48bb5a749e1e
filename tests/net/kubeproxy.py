# SPDX-License-Identifier: Apache-2.0
"""What kube-proxy does in its nftables mode, written anew from its documented behaviour: Services and
EndpointSlices in, the ruleset of one node out. Tests and benchmarks compare the data plane with it.

Two chains a service port: svc-N chooses among all endpoints, ext-N is for traffic to external addresses
and node ports. A chain an endpoint: mark for masquerade when it calls itself, remember affinity, DNAT."""
import ipaddress

MARK = "0x4000"
BASE = """table ip kube-proxy {{
chain mark-it {{ meta mark set meta mark or {mark}; }}
chain reject-it {{ reject; }}
chain drop-it {{ drop; }}
map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
map service-nodeports {{ type inet_proto . inet_service : verdict; }}
map no-endpoint-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
map no-endpoint-nodeports {{ type inet_proto . inet_service : verdict; }}
map firewall-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
set cluster-ips {{ type ipv4_addr; }}
chain services {{
 ip daddr . meta l4proto . th dport vmap @service-ips
 fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports
}}
chain endpoints-check {{
 ip daddr . meta l4proto . th dport vmap @no-endpoint-ips
 fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports
}}
chain cluster-ips-check {{
 ip daddr @cluster-ips reject
 ip daddr {svc} drop
}}
chain firewall-check {{ ip daddr . meta l4proto . th dport vmap @firewall-ips; }}
chain filter-prerouting-pre-dnat {{ type filter hook prerouting priority -110; ct state new jump firewall-check; }}
chain filter-output-pre-dnat {{ type filter hook output priority -110; ct state new jump firewall-check; }}
chain filter-input {{ type filter hook input priority -110; ct state new jump endpoints-check; }}
chain filter-forward {{ type filter hook forward priority -110; ct state new jump endpoints-check; ct state new jump cluster-ips-check; }}
chain filter-output {{ type filter hook output priority -90; ct state new jump endpoints-check; ct state new jump cluster-ips-check; }}
chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
chain nat-output {{ type nat hook output priority -100; jump services; }}
chain nat-postrouting {{
 type nat hook postrouting priority srcnat
 meta mark & {mark} == 0 return
 meta mark set meta mark xor {mark}
 masquerade fully-random
}}
}}
"""


def ready(ep):
    return ep.get("conditions", {}).get("ready", True)


def serving(ep):
    c = ep.get("conditions", {})
    return c.get("serving", c.get("ready", True))


def choose(eps):
    """Ready endpoints, or when there is none those that are going away but still serve (KEP-1669)."""
    some = [e for e in eps if ready(e)]
    return some or [e for e in eps if serving(e) and e.get("conditions", {}).get("terminating")]


def endpoints(obj, port, proto):
    """(address, port, node) of every endpoint of a service port that may be chosen at all."""
    for s in obj["slices"]:
        for p in s["ports"]:
            if p.get("name", "") == port.get("name", "") and p.get("protocol", "TCP") == proto:
                for e in s["endpoints"]:
                    yield dict(e, ip=e["addresses"][0], port=p["port"])


class Rules:
    def __init__(self, node, svc_cidr, pod_cidr):
        self.node, self.pods, self.n = node, pod_cidr, 0
        self.text = [BASE.format(mark=MARK, svc=svc_cidr)]
        self.maps = {}
        self.out = []

    def add(self, where, key, value=None):
        self.maps.setdefault(where, []).append(f"{key} : {value}" if value else key)

    def chain(self, name, rules):
        self.out.append(f" chain {name} {{\n" + "".join(f"  {r}\n" for r in rules) + " }")

    def spread(self, eps, ids, affinity):
        """Rules that send a connection to one of the endpoints, the one of before first."""
        rules = [f"ip saddr @aff-{ids[id(e)]} goto ep-{ids[id(e)]}" for e in eps] if affinity else []
        table = ", ".join(f"{i} : goto ep-{ids[id(e)]}" for i, e in enumerate(eps))
        return rules + [f"numgen random mod {len(eps)} vmap {{ {table} }}"]

    def endpoint_chains(self, eps, ids, proto, timeout):
        for e in eps:
            i = ids[id(e)]
            rules = [f"ip saddr {e['ip']} jump mark-it"]
            if timeout:
                self.out.append(f" set aff-{i} {{ type ipv4_addr; flags dynamic,timeout; timeout {timeout}s; }}")
                rules.append(f"update @aff-{i} {{ ip saddr }}")
            self.chain(f"ep-{i}", rules + [f"meta l4proto {proto} dnat to {e['ip']}:{e['port']}"])

    def service_port(self, obj, port):
        spec, proto = obj["service"]["spec"], port.get("protocol", "TCP")
        self.n += 1
        n, low = self.n, proto.lower()
        timeout = spec.get("sessionAffinity") == "ClientIP" and spec.get("sessionAffinityConfig", {}).get(
            "clientIP", {}).get("timeoutSeconds", 10800)
        eps = list(endpoints(obj, port, proto))
        anywhere, here = choose(eps), choose([e for e in eps if e.get("nodeName") == self.node])
        usable = anywhere + [e for e in here if e not in anywhere]
        ids = {id(e): f"{n}-{i}" for i, e in enumerate(usable)}
        self.endpoint_chains(usable, ids, low, timeout)
        cluster = spec.get("internalTrafficPolicy") != "Local"
        external = spec.get("externalTrafficPolicy") != "Local"
        # clients from outside must get their answers back through this node
        mark = [f"ip daddr {ip} ip saddr != {self.pods} jump mark-it" for ip in spec.get("clusterIPs", [])]
        if anywhere:
            self.chain(f"svc-{n}", mark + self.spread(anywhere, ids, timeout))
        inside = here if not cluster else anywhere
        if not cluster and here:
            self.chain(f"svl-{n}", mark + self.spread(here, ids, timeout))
        if anywhere:
            self.chain(f"ext-{n}", ["jump mark-it", f"goto svc-{n}"] if external else
                       [f"ip saddr {self.pods} goto svc-{n}", "fib saddr type local jump mark-it", f"fib saddr type local goto svc-{n}"] +
                       (self.spread(here, ids, timeout) if here else []))
        # what to do where nothing can be chosen
        none_inside = None if inside else "goto drop-it" if anywhere else "goto reject-it"
        outside = anywhere if external else here
        none_outside = None if outside else "goto drop-it" if anywhere else "goto reject-it"
        for ip in spec.get("clusterIPs", []):
            self.add("cluster-ips", ip)
            self.front(f"{ip} . {low} . {port['port']}", "ips", f"goto {'svc' if cluster else 'svl'}-{n}" if inside else None, none_inside)
        lb = [i["ip"] for i in obj["service"].get("status", {}).get("loadBalancer", {}).get("ingress", [])]
        for ip in spec.get("externalIPs", []) + lb:
            self.front(f"{ip} . {low} . {port['port']}", "ips", f"goto ext-{n}" if anywhere else None, none_outside)
        if port.get("nodePort"):
            self.front(f"{low} . {port['nodePort']}", "nodeports", f"goto ext-{n}" if anywhere else None, none_outside)
        if spec.get("loadBalancerSourceRanges") and lb:
            self.chain(f"fw-{n}", [f"ip saddr {{ {', '.join(spec['loadBalancerSourceRanges'])} }} return", "drop"])
            for ip in lb:
                self.add("firewall-ips", f"{ip} . {low} . {port['port']}", f"goto fw-{n}")

    def front(self, key, kind, to, none):
        if to:
            self.add(f"service-{kind}", key, to)
        if none:
            self.add(f"no-endpoint-{kind}", key, none)

    def render(self):
        sets = []
        for name, rows in self.maps.items():
            rows = list(dict.fromkeys(rows))
            sets += [f"add element ip kube-proxy {name} {{ {', '.join(rows[i:i + 500])} }}" for i in range(0, len(rows), 500)]
        return "\n".join(self.text + ["table ip kube-proxy {"] + self.out + ["}"] + sets) + "\n"


def ruleset(objects, node, svc_cidr, pod_cidr):
    """The text for `nft -f` on a node."""
    ipaddress.ip_network(svc_cidr)
    r = Rules(node, svc_cidr, pod_cidr)
    for o in objects:
        for p in o["service"]["spec"].get("ports", []):
            r.service_port(o, p)
    return "add table ip kube-proxy\ndelete table ip kube-proxy\n" + r.render()
