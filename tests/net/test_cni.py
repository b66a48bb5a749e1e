#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pods by CNI requests: host ports, bandwidth, CHECK, GC, and an agent that is killed while it works."""
import json, os, random, signal, subprocess, time
from netlab import Lab, Tap, Worker, SVC, PODS, TOOL

CNID = os.path.join(os.path.dirname(TOOL), "cnid")
root = "/sys/fs/cgroup" if os.path.exists("/sys/fs/cgroup/cgroup.procs") else "/sys/fs/cgroup/unified"
lab, tap = Lab("cni"), Tap()
W = lab.workers
N1, CLIENT = "172.31.97.2", "172.31.97.100"
group = f"{root}/{lab.tag}"


def cgroup_gone():
    agent.kill()
    for w in W.values():
        w.p.kill()
        w.p.wait()
    os.rmdir(group)


class Agent:
    p = None

    def start(self):
        ns, ip = lab.nodes["n1"]
        self.p = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{ns}", "env", f"XEBEC_CGROUP={group}", CNID, f"{lab.bpffs}/n1", ip, SVC,
             PODS, lab.dir + "/data", "10.244.1.0/24"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.p.stdout.readline():
            raise RuntimeError("agent did not start")

    def kill(self):
        if self.p:
            self.p.kill()
            self.p.wait()
        self.p = None

    def restart(self):
        self.kill()
        self.start()

    def write(self, command, container, ns, run=None, **conf):
        body = dict(command=command, container=container, ifname="eth0", netns=f"/run/netns/{ns}" if ns else "",
                    args=f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={container[:8]}",
                    config=dict(cniVersion="1.1.0", name="xebec", type="xebec-cni", runtimeConfig=run or {}, **conf))
        self.p.stdin.write(json.dumps(body) + "\n")
        self.p.stdin.flush()

    def call(self, *a, **kw):
        self.write(*a, **kw)
        line = self.p.stdout.readline()
        if not line:
            raise RuntimeError("agent died")
        r = json.loads(line)
        return r["result"] if r["rc"] == 0 else dict(r["result"], rc=r["rc"])


agent = Agent()
lab.net("172.31.97")
os.mkdir(group)
import atexit
atexit.register(cgroup_gone)
lab.cgroup = group
lab.node("n1", N1)
lab.host("cl", CLIENT)
agent.start()


def add(name, run=None):
    ns = lab.space(name)
    r = agent.call("ADD", name, ns, run)
    if "ips" not in r:
        raise RuntimeError(f"ADD: {r}")
    return ns, r, r["ips"][0]["address"].split("/")[0]


def serve(name, ns):
    W[name] = Worker(ns)
    W[name].call("serve", name=name, port=8080)


def pm(host, port=8080, proto="tcp", ip=""):
    return dict(hostPort=host, containerPort=port, protocol=proto, hostIP=ip)


def reach(who, addr, port, name, kinds=("tcp", "udp"), peer=None):
    for kind in kinds:
        r = W[who].call("ask", addr=addr, port=port, kind=kind, timeout=2)
        if r.get("error") or r["errors"] or list(r["names"]) != [name] or (peer and list(r["peers"]) != [peer]):
            return f"{who} -> {addr}:{port}/{kind}: {r}"


def gone(who, addr, port):
    r = W[who].call("ask", addr=addr, port=port, timeout=1)
    return None if r["errors"] else f"{addr}:{port} still answers: {r}"


both = dict(portMappings=[pm(8081), pm(8081, proto="udp")])
ns_p, result_p, ip_p = add("p-host-ports", both)
serve("p", ns_p)
ns_q, _, ip_q = add("q-one-address", dict(portMappings=[pm(443, ip=N1), pm(444, ip="127.0.0.1"), dict(containerPort=9)]))
serve("q", ns_q)


def host_ports():
    return (reach("cl", N1, 8081, "p", peer=CLIENT) or reach("n1", N1, 8081, "p") or
            reach("n1", "127.0.0.1", 8081, "p") or reach("q", N1, 8081, "p") or reach("p", N1, 8081, "p"))


def host_ip():
    return (reach("cl", N1, 443, "q", ["tcp"]) or reach("n1", "127.0.0.1", 444, "q", ["tcp"]) or
            gone("cl", N1, 444) or gone("n1", "127.0.0.1", 443))


def restarted():
    key = W["cl"].call("hold", key="h", addr=N1, port=8081)
    agent.restart()
    r = W["cl"].call("again", key="h")
    if r.get("name") != "p":
        return f"{key} {r}"
    return host_ports() or host_ip()


def listed():
    names = {r["service"]: r["frontends"] for r in lab.lb("services")}
    want = "default/p-host-p.p-host-ports:8081/TCP"
    return None if want in names and f"{N1}:8081" in names[want] else f"{names}"


def check_of(name, ns, result, run):
    return agent.call("CHECK", name, ns, run, prevResult=result)


def checks():
    r = check_of("p-host-ports", ns_p, result_p, both)
    if r:
        return f"a sound pod: {r}"
    wrong = dict(result_p, ips=[dict(address="10.244.1.99/32")])
    for what, r in (("other address", check_of("p-host-ports", ns_p, wrong, both)),
                    ("other ports", check_of("p-host-ports", ns_p, result_p, {})),
                    ("unknown", check_of("nobody", ns_p, result_p, both))):
        if not r.get("rc"):
            return f"{what} not noticed"
    ns, result, ip = add("r-damaged")
    for damage, repair in ((["addr", "del", f"{ip}/32", "dev", "eth0"], ["addr", "add", f"{ip}/32", "dev", "eth0"]),
                           (["route", "del", "default"], None)):
        lab.on(ns, "ip", *damage)
        if not check_of("r-damaged", ns, result, {}).get("rc"):
            return f"{damage} not noticed"
        if repair:
            lab.on(ns, "ip", *repair)
            lab.on(ns, "ip", "route", "replace", "169.254.1.1", "dev", "eth0", "proto", "88")
            lab.on(ns, "ip", "route", "replace", "default", "via", "169.254.1.1", "dev", "eth0", "onlink", "proto", "88")
            if check_of("r-damaged", ns, result, {}):
                return "repaired, still refused"
    agent.call("DEL", "r-damaged", ns)


def leases():
    return sorted(open(f"{lab.dir}/data/ipam/{f}").read().split()[0] for f in os.listdir(lab.dir + "/data/ipam"))


def port_files():
    return sorted(os.listdir(lab.dir + "/data/hostports"))


def links():
    ns = lab.nodes["n1"][0]
    out = subprocess.run(["nsenter", f"--net=/run/netns/{ns}", "ip", "-o", "link"], capture_output=True, text=True)
    return sum(": lxc" in x for x in out.stdout.splitlines())


def gc():
    add("s-stale", dict(portMappings=[pm(8082)]))
    before = links()
    r = agent.call("GC", "", None, **{"cni.dev/valid-attachments": [
        dict(containerID=c, ifname="eth0") for c in ("p-host-ports", "q-one-address")] +
        [dict(containerID="s-stale", ifname="eth1")]})
    if r or leases() != ["p-host-ports", "q-one-address"] or links() != before - 1:
        return f"{r} {leases()} {before} {links()}"
    if port_files() != ["p-host-ports.json", "q-one-address.json"]:
        return f"{port_files()}"
    if not agent.call("GC", "", None).get("rc"):
        return "GC without a list of what is valid"
    return agent.call("STATUS", "", None) or None


def deleted():
    agent.call("DEL", "p-host-ports", ns_p, both)
    bad = gone("cl", N1, 8081) or gone("n1", "127.0.0.1", 8081) or reach("cl", N1, 443, "q", ["tcp"])
    if bad or port_files() != ["q-one-address.json"]:
        return bad or f"{port_files()}"
    return agent.call("DEL", "p-host-ports", ns_p, both) or None  # again: succeeds


def refused():
    ns = lab.space("bad")
    for run in (dict(portMappings=[pm(70000)]), dict(portMappings=[pm(80, proto="icmp")]), dict(portMappings=[pm(80, ip="x")])):
        r = agent.call("ADD", "bad", ns, run)
        if r.get("code") != 7 or "bad" in leases():
            return f"{run}: {r} {leases()}"


def rate(name, into):
    """Bits a second between the node and a pod, over TCP, about a second of it at the rate asked for."""
    size, t = 2 << 20, time.monotonic()
    if into:
        r = W[name].call("ask", addr=N1, port=9100, size=size, timeout=20)
    else:
        r = W["n1"].call("ask", addr=ips[name], port=8080, size=size, timeout=20)
    if r.get("error") or r["errors"] or r["got"] != size:
        raise RuntimeError(f"{r}")
    return size * 8 / (time.monotonic() - t)


ips = {}


def bandwidth():
    limit = dict(bandwidth=dict(ingressRate=16_000_000, ingressBurst=4294967295, egressRate=16_000_000, egressBurst=4294967295))
    ns, _, ips["w"] = add("w-shaped", limit)
    serve("w", ns)
    W["n1"].call("serve", name="n1", port=9100)
    for what, into in (("egress", False), ("ingress", True)):
        got = rate("w", into)
        # the bucket's own content goes at once; a machine that is busy may be slower than asked
        if got > 32_000_000:
            return f"{what}: {got / 1e6:.0f} Mbit/s of 16 asked for"
    agent.call("DEL", "w-shaped", ns)


def killed():
    """kill -9 at any moment of ADD and DEL: what the runtime asks again is done, and nothing stays behind."""
    rng, before = random.Random(7), (leases(), links())
    spaces = [lab.space(f"k{i}") for i in range(6)]
    for turn in range(40):
        i = turn % len(spaces)
        name, run = f"k{i}-killed", dict(portMappings=[pm(9000 + i)])
        agent.write("ADD" if turn % 3 else "DEL", name, spaces[i], run)
        time.sleep(rng.random() * 0.012)
        agent.restart()
        r = agent.call("ADD", name, spaces[i], run)
        if "ips" not in r:
            return f"turn {turn}: {r}"
        if check_of(name, spaces[i], r, run):
            return f"turn {turn}: CHECK"
        if turn % 2:
            agent.call("DEL", name, spaces[i], run)
    for i, ns in enumerate(spaces):
        agent.call("DEL", f"k{i}-killed", ns)
    after = (leases(), links())
    if port_files() != ["q-one-address.json"]:
        return f"{port_files()}"
    rows = [r["service"] for r in lab.lb("services") if "killed" in r["service"]]
    return None if after == before and not rows else f"{before} {after} {rows}"


def exhausted():
    """Leases without a link are given up when the range is full, and no others."""
    held = leases()
    for i in range(2, 255):
        path = f"{lab.dir}/data/ipam/10.244.1.{i}"
        if not os.path.exists(path):
            with open(path, "w") as f:
                f.write(f"forgotten{i} eth0\n")
    agent.restart()
    ns, _, ip = add("t-last")
    agent.call("DEL", "t-last", ns)
    return None if leases() == held else f"{held} {leases()[:5]}"


tap.check("host ports: from outside with the client's address, node, loopback, pods, itself", host_ports)
tap.check("host ports on one address", host_ip)
tap.check("host ports are listed", listed)
tap.check("a restart keeps host ports and their connections", restarted)
tap.check("CHECK notices what is wrong", checks)
tap.check("GC keeps what is valid", gc)
tap.check("DEL takes host ports away", deleted)
tap.check("bad mappings are refused and leave nothing", refused)
tap.check("bandwidth both ways", bandwidth)
tap.check("killed in ADD and DEL", killed)
tap.check("an exhausted range gives up leases without a link", exhausted)
tap.end()
