#!/usr/bin/env python3
"""Figures of a whole local cluster: start-up, memory, pod start over the runtime's own time, latency through a ClusterIP."""
import base64
import http.client
import json
import os
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
XEBEC = os.path.join(ROOT, "build/release/xebec")
NAME, PORT = f"b{os.getpid()}", 30000 + os.getpid() % 2000
DATA = tempfile.mkdtemp(prefix="xebec-bench-")
NODE1 = f"{NAME}-node-1"


def figure(name, value, unit):
    print(f"{name} {value:.3f} {unit}", flush=True)


def run(*cmd):
    p = subprocess.run(cmd, capture_output=True, text=True, timeout=120)
    if p.returncode != 0:
        raise RuntimeError(f"{' '.join(cmd)}: status {p.returncode}: {p.stderr.strip()}")
    return p.stdout


class Api:
    """One keep-alive connection with the administrator's certificate."""

    def __init__(self):
        text = open(os.path.join(DATA, "kubeconfig")).read()
        files = {}
        for key in ("client-certificate-data", "client-key-data"):
            path = os.path.join(DATA, key)
            with open(path, "wb") as f:
                f.write(base64.b64decode(re.search(key + r": (\S+)", text).group(1)))
            files[key] = path
        self.ctx = ssl._create_unverified_context()
        self.ctx.load_cert_chain(files["client-certificate-data"], files["client-key-data"])
        self.conn = self.connect()

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", PORT, context=self.ctx, timeout=60)

    def call(self, method, path, body=None):
        self.conn.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        r = self.conn.getresponse()
        data = r.read()
        if r.status >= 300:
            raise RuntimeError(f"{method} {path}: {r.status} {data[:300]}")
        return json.loads(data)

    def watch(self, path):
        """Yields (time, event)."""
        conn = self.connect()
        conn.request("GET", path)
        r = conn.getresponse()
        while True:
            line = r.readline()
            if not line:
                return
            yield time.monotonic(), json.loads(line)


PODS = "/api/v1/namespaces/default/pods"


def pod(name, node=None, args=None):
    spec = {"containers": [{"name": "c", "image": "docker.io/xebec/test:1", "args": args or ["serve"]}],
            "terminationGracePeriodSeconds": 0}
    if node:
        spec["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def wait_running(api, name):
    while True:
        p = api.call("GET", f"{PODS}/{name}")
        if p["status"].get("phase") == "Running" and p["status"].get("podIP"):
            return p
        time.sleep(0.02)


def runtime_samples():
    """The runtime's own time, sample by sample: tests/bench/cri_floor prints RunPodSandbox+Create+Start in ms."""
    prog = os.path.join(ROOT, "build/release/tests/bench/cri_floor")
    for _ in range(5):
        try:
            out = run("nsenter", f"--net=/run/xebec/{NAME}/netns/{NODE1}", prog, f"unix:///run/xebec/{NAME}/{NODE1}/containerd.sock", "1")
            return [float(x) for x in out.split()]
        except RuntimeError as e:  # the kubelet, which owns this runtime, may take the foreign sandbox away
            print(f"# {e}", flush=True)
    return []


def pod_start(api):
    """Create call -> Running seen by a watch, interleaved with the same three calls made straight to the runtime."""
    rv = api.call("GET", PODS)["metadata"]["resourceVersion"]
    events = api.watch(f"{PODS}?watch=1&resourceVersion={rv}")
    ours, floor = [], []
    for i in range(15):
        name = f"start-{i}"
        t0 = time.monotonic()
        api.call("POST", PODS, pod(name, NODE1))
        for t, ev in events:
            o = ev["object"]
            if o["metadata"]["name"] == name and o.get("status", {}).get("phase") == "Running":
                ours.append((t - t0) * 1e3)
                break
        api.call("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
        for _, ev in events:  # its end must not fall into the next measurement
            if ev["type"] == "DELETED" and ev["object"]["metadata"]["name"] == name:
                break
        time.sleep(0.3)
        floor += runtime_samples()
    figure("pod_start_p50", statistics.median(ours), "ms")
    figure("pod_start_p99", max(ours), "ms")
    figure("runtime_floor_p50", statistics.median(floor), "ms")
    figure("pod_start_p50_over_runtime", statistics.median(ours) - statistics.median(floor), "ms")


def ns_exec(ns, *cmd):
    return run("nsenter", f"--net={ns}", *cmd)


def plain_path(client_ns, server_ns):
    """A second link from each pod to its node, with kernel routing and no program on it: the same processes over a plain path."""
    node = f"/run/xebec/{NAME}/netns/{NODE1}"
    for i, ns in enumerate((client_ns, server_ns), 1):
        ns_exec(node, "ip", "link", "add", f"plain{i}", "type", "veth", "peer", "name", "eth1", "netns", ns.split("/")[2])
        ns_exec(node, "ip", "addr", "add", f"10.99.{i}.1/24", "dev", f"plain{i}")
        ns_exec(node, "ip", "link", "set", f"plain{i}", "up")
        ns_exec(ns, "ip", "addr", "add", f"10.99.{i}.2/24", "dev", "eth1")
        ns_exec(ns, "ip", "link", "set", "eth1", "up")
        ns_exec(ns, "ip", "route", "add", f"10.99.{3 - i}.0/24", "via", f"10.99.{i}.1")
    return "10.99.2.2"


def pod_netns(status):
    cid = status["status"]["containerStatuses"][0]["containerID"].split("//")[1]
    pid = next(p for p in os.listdir("/proc") if p.isdigit() and cid in cgroup_of(p))
    return f"/proc/{pid}/ns/net"


def latency(api):
    """1-byte request/response between two pods of a node: median over interleaved rounds of ClusterIP / plain kernel routing."""
    xtest = os.path.join(DATA, "xtest")
    run("gcc", "-O2", "-static", "-pthread", "-w", "-o", xtest, os.path.join(ROOT, "tools/images/xtest.c"))
    api.call("POST", PODS, pod("rr-server", NODE1))
    api.call("POST", PODS, pod("rr-client", NODE1, ["trap"]))
    svc = api.call("POST", "/api/v1/namespaces/default/services",
                   {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "rr"},
                    "spec": {"selector": {"app": "rr-server"}, "ports": [{"port": 8080}]}})
    server, client = wait_running(api, "rr-server"), wait_running(api, "rr-client")
    ns = pod_netns(client)
    to = {"plain": plain_path(ns, pod_netns(server)), "pod": server["status"]["podIP"], "vip": svc["spec"]["clusterIP"]}
    rows = {k: [] for k in to}
    time.sleep(1)
    for _ in range(11):
        for k, ip in to.items():
            rows[k].append(float(ns_exec(ns, xtest, "rr", ip, "8080", "0.4").split()[0]))
    for k, name in (("plain", "rr_plain_routing"), ("pod", "rr_pod_to_pod"), ("vip", "rr_pod_to_clusterip")):
        figure(name, statistics.median(rows[k]), "us")
    figure("rr_clusterip_over_direct", statistics.median(v / p for v, p in zip(rows["vip"], rows["plain"])), "x")


def cgroup_of(pid):
    try:
        with open(f"/proc/{pid}/cgroup") as f:
            return f.read()
    except OSError:
        return ""


def server_rss():
    for p in os.listdir("/proc"):
        if not p.isdigit():
            continue
        try:
            cmd = open(f"/proc/{p}/cmdline").read().replace("\0", " ")
            if f"server --data-dir {DATA}" in cmd:
                rss = re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{p}/status").read())
                return int(rss.group(1)) / 1024
        except OSError:
            pass
    raise RuntimeError("no server process")


def main():
    try:
        t0 = time.monotonic()
        run(XEBEC, "up", "--nodes", "2", "--name", NAME, "--data-dir", DATA, "--listen", f"127.0.0.1:{PORT}",
            "--kubeconfig", os.path.join(DATA, "kubeconfig"), "--detach")
        figure("up_2_nodes_ready", time.monotonic() - t0, "s")
        time.sleep(5)
        figure("server_rss_idle", server_rss(), "MiB")
        api = Api()
        for part in (latency, pod_start):
            if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
                part(api)
    finally:
        subprocess.run([XEBEC, "down", "--name", NAME], capture_output=True, check=False)
        shutil.rmtree(DATA, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
