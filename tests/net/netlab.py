# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for tests: nodes, pods and a client on one bridge, with no way out. Workers are
processes inside a namespace that serve or make connections on command."""
import atexit, ipaddress, json, os, re, shutil, subprocess, sys, tempfile
from kubeproxy import ruleset

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOL = os.path.join(ROOT, "build/release/tests/net/dptool")
XEBEC = os.path.join(ROOT, "build/release/xebec")
# FAMILY=6: nodes and pods have both families, and every address a.b.c.d of a test stands for fd00::a.b.c.d.
V6 = os.environ.get("FAMILY") == "6"
HAIRPIN6 = "fdeb:ec00::1"


def both(text):
    """An address or network, with its counterpart when both families are there."""
    return f"{text},{six(text)}" if V6 else text


def six(text):
    """The IPv6 addresses and networks that a text means."""
    def one(m):
        return f"fd00::{m[1]}" + (f"/{int(m[2]) + 96}" if m[2] else "")
    return re.sub(r"\b(\d+\.\d+\.\d+\.\d+)(?:/(\d+))?", one, text)


def four(text):
    """The names that a test has for the IPv6 addresses in a text."""
    def one(m):
        return str(ipaddress.IPv4Address(int(ipaddress.IPv6Address(m[1])) & 0xffffffff))
    return re.sub(r"\[?(fd00::[0-9a-f:]*[0-9a-f])\]?", one, text).replace(HAIRPIN6, "169.254.42.1").replace("/v6\"", '"')


def nodad(addr):
    return ("nodad",) if ":" in addr else ()


def meant(text):
    return six(text) if V6 else text


def named(text):
    return four(text) if V6 else text


SVC, PODS = both("10.96.0.0/16"), both("10.244.0.0/16")


def sh(*cmd):
    subprocess.run(cmd, check=True, stdout=subprocess.DEVNULL)


def numbers():
    """Indices of the map `stat` by name: drop reasons and counters."""
    abi = os.path.join(ROOT, "include/xebec/abi")
    with open(os.path.join(abi, "drop.def")) as f:
        names = [line[5:line.index(",")] for line in f if line.startswith("DROP(")]
    out = {n: i + 1 for i, n in enumerate(names)}
    with open(os.path.join(abi, "stat.h")) as f:
        text = f.read()
    first = int(text.split("CNT_FIRST = ")[1].split(",")[0])
    rows = text.split("CNT_FIRST,\n")[1].split("CNT_MAX")[0].replace(" ", "").split(",")
    return out | {n.strip(): first + 1 + i for i, n in enumerate(rows) if n.strip()}


class Worker:
    """worker.py in a namespace; call(op, ...) returns its JSON answer."""

    def __init__(self, ns, cgroup=None):
        enter = f"echo $$ > {cgroup}/cgroup.procs; " if cgroup else ""
        self.p = subprocess.Popen(
            ["sh", "-c", enter + 'exec "$@"', "sh", "nsenter", f"--net=/run/netns/{ns}", sys.executable,
             os.path.join(HERE, "worker.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, op, **kw):
        if op == "serve" and V6:
            kw.setdefault("addr", "::")
        self.p.stdin.write(meant(json.dumps(dict(op=op, **kw))) + "\n")
        self.p.stdin.flush()

    def result(self):
        line = self.p.stdout.readline()
        if not line:
            raise RuntimeError("worker died")
        return json.loads(named(line))

    def call(self, op, **kw):
        self.send(op, **kw)
        return self.result()


class Lab:
    cgroup = None  # of the nodes' workers; the socket programs are attached there

    def __init__(self, name):
        self.tag = f"{name}{os.getpid() % 100000}"
        self.dir = tempfile.mkdtemp(prefix=f"xebec-{name}-")
        self.spaces, self.workers, self.nodes = [], {}, {}
        atexit.register(self.close)
        self.bpffs = os.path.join(self.dir, "bpf")
        os.mkdir(self.bpffs)
        sh("mount", "-t", "bpf", "bpffs", self.bpffs)
        self.br = self.space("br")
        self.on(self.br, "ip", "link", "add", "br0", "type", "bridge")
        self.on(self.br, "ip", "link", "set", "br0", "up")
        self.net("172.31.99")

    def net(self, prefix):
        for a in both(f"{prefix}.1/24").split(","):
            self.on(self.br, "ip", "addr", "replace", a, "dev", "br0", *nodad(a))

    def space(self, name):
        ns = f"{self.tag}{name}"
        sh("ip", "netns", "add", ns)
        self.spaces.append(ns)
        self.on(ns, "ip", "link", "set", "lo", "up")
        return ns

    def route(self, ns, net, via):
        self.on(ns, "ip", "route", "add", meant(net), "via", meant(via))

    def on(self, ns, *cmd):
        sh("nsenter", f"--net=/run/netns/{ns}", *cmd)

    def router(self, *addrs):
        """The bridge's namespace routes between its networks."""
        self.on(self.br, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0",
                "net.ipv4.conf.br0.send_redirects=0", "net.ipv6.conf.all.forwarding=1")
        for a in (x for addr in addrs for x in both(addr).split(",")):
            self.on(self.br, "ip", "addr", "add", a, "dev", "br0", *nodad(a))

    def plug(self, ns, ip):
        """Joins a namespace to the bridge as eth0."""
        port = f"p{ns[-6:]}"
        self.on(self.br, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns)
        self.on(self.br, "ip", "link", "set", port, "master", "br0", "up")
        for a in both(f"{ip}/24").split(","):
            self.on(ns, "ip", "addr", "add", a, "dev", "eth0", *nodad(a))
        self.on(ns, "ip", "link", "set", "eth0", "up")
        for a in both(ip.rsplit(".", 1)[0] + ".1").split(","):
            self.on(ns, "ip", "route", "add", "default", "via", a)

    def node(self, name, ip):
        ns = self.space(name)
        self.plug(ns, ip)
        self.nodes[name] = (ns, ip)
        self.tool(name, "up")
        self.workers[name] = Worker(ns, self.cgroup)

    def host_worker(self, name, ns):
        self.workers[name] = Worker(ns)

    def host(self, name, ip):
        ns = self.space(name)
        self.plug(ns, ip)
        self.workers[name] = Worker(ns)

    def tool(self, node, op, *args):
        ns, ip = self.nodes[node]
        env = ["env", f"XEBEC_CGROUP={self.cgroup}"] if self.cgroup else []
        self.on(ns, *env, TOOL, op, os.path.join(self.bpffs, node), both(ip), SVC, PODS, *args)

    def peer(self, node, ip, pods):
        self.tool(node, "peer", both(ip), both(pods))

    def pod(self, node, name, ip):
        ns = self.space(name)
        self.tool(node, "pod", name, f"/run/netns/{ns}", both(ip))
        self.workers[name] = Worker(ns)

    def services(self, objects):
        path = os.path.join(self.dir, "services.json")
        with open(path, "w") as f:
            f.write(meant(json.dumps(objects, separators=(",", ":"))))
        for n in self.nodes:
            self.tool(n, "set", n, path)

    def lb(self, what):
        return json.loads(named(subprocess.run([XEBEC, "lb", what, "-o", "json", "--pin-root", self.bpffs],
                                               capture_output=True, text=True, check=True).stdout))

    def table(self, what):
        return named(subprocess.run([XEBEC, "lb", what, "--pin-root", self.bpffs], capture_output=True, text=True, check=True).stdout)

    def counters(self, node):
        """Drops and events by number (include/xebec/abi/drop.def, stat.h)."""
        out = subprocess.run(["bpftool", "-j", "map", "dump", "pinned", f"{self.bpffs}/{node}/stat"],
                             capture_output=True, text=True, check=True).stdout
        rows = [e.get("formatted", e) for e in json.loads(out)]
        sums = {r["key"]: sum(v["value"]["pkts"] for v in r["values"]) for r in rows}
        return {k: v for k, v in sums.items() if v}

    def close(self):
        for w in self.workers.values():
            w.p.kill()
            w.p.wait()
        for ns in self.spaces:
            subprocess.run(["ip", "netns", "del", ns])
        subprocess.run(["umount", self.bpffs])
        shutil.rmtree(self.dir, ignore_errors=True)


class NftLab(Lab):
    """The same with plain kernel routing and kube-proxy's rules instead of Xebec."""

    def node(self, name, ip):
        ns = self.space(name)
        self.plug(ns, ip)
        self.nodes[name] = (ns, ip)
        self.on(ns, "sh", "-c", "cd /proc/sys/net/ipv4; echo 1 >ip_forward; echo 0 >icmp_ratelimit; "
                "for c in all default; do echo 0 >conf/$c/rp_filter; echo 0 >conf/$c/send_redirects; done")
        # real nodes have a default route: without one their own sockets could not even try
        self.on(ns, "ip", "route", "add", SVC, "via", "172.31.99.1")
        self.workers[name] = Worker(ns)

    def pod(self, node, name, ip):
        ns, host = self.space(name), self.nodes[node][0]
        self.on(host, "ip", "link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", ns)
        self.on(host, "ip", "link", "set", f"v{name}", "address", "02:00:00:00:00:01")
        self.on(host, "ip", "link", "set", f"v{name}", "up")
        self.on(host, "ip", "route", "add", ip, "dev", f"v{name}")
        self.on(ns, "ip", "addr", "add", f"{ip}/32", "dev", "eth0")
        self.on(ns, "ip", "link", "set", "eth0", "up")
        self.on(ns, "ip", "route", "add", "169.254.1.1", "dev", "eth0")
        self.on(ns, "ip", "neigh", "add", "169.254.1.1", "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent")
        self.on(ns, "ip", "route", "add", "default", "via", "169.254.1.1")
        self.workers[name] = Worker(ns)

    def services(self, objects):
        for name, (ns, _) in self.nodes.items():
            path = os.path.join(self.dir, f"{name}.nft")
            with open(path, "w") as f:
                f.write(ruleset(objects, name, SVC, PODS))
            self.on(ns, "nft", "-f", path)


class Tap:
    def __init__(self):
        self.n, self.bad = 0, 0

    def check(self, name, fn):
        self.n += 1
        try:
            why = fn()
        except Exception as e:  # a failing step is a failing test, not the end of the run
            why = f"{type(e).__name__}: {e}"
        self.bad += why is not None
        print(f"{'not ok' if why else 'ok'} {self.n} - {name}" + (f"\n# {why}" if why else ""), flush=True)

    def end(self):
        print(f"1..{self.n}")
        sys.exit(1 if self.bad else 0)
