#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`xebec dataplane` alone in kube-proxy's place: pods are connected by somebody else (plain veths and routes), the API
is a server in a namespace of its own that dies, changes and comes back."""
import json, os, signal, subprocess, time
from netlab import Lab, Tap, XEBEC

lab, tap = Lab("kp"), Tap()
W = lab.workers
SERVER, N1, N2, CLIENT = "172.31.99.1", "172.31.99.2", "172.31.99.3", "172.31.99.100"
A, B, C = "10.244.1.10", "10.244.1.11", "10.244.2.10"
DATA = os.path.join(lab.dir, "server")
procs = {}


def run(ns, *cmd, **kw):
    return subprocess.run(["nsenter", f"--net=/run/netns/{ns}", *cmd], capture_output=True, text=True, **kw)


def start(name, ns, *cmd):
    log = open(os.path.join(lab.dir, f"{name}.log"), "a")
    procs[name] = subprocess.Popen(["nsenter", f"--net=/run/netns/{ns}", *cmd], stdout=log, stderr=log)


def stop(name, sig=signal.SIGTERM):
    p = procs.pop(name)
    p.send_signal(sig)
    p.wait()


def until(fn, want=None, seconds=20):
    """Until fn() says what is wanted (None: nothing wrong); the last answer."""
    end = time.monotonic() + seconds
    while (got := fn()) != want and time.monotonic() < end:
        time.sleep(0.05)
    return got


def kubectl(*args, stdin=None, server=None):
    more = ["--server", server] if server else []
    r = run(lab.br, "kubectl", "--kubeconfig", f"{DATA}/admin.kubeconfig", *more, *args, input=stdin)
    if r.returncode:
        raise RuntimeError(r.stderr.strip())
    return r.stdout


def apply(*objects, server=None):
    kubectl("apply", "-f", "-", stdin=json.dumps(dict(apiVersion="v1", kind="List", items=list(objects))), server=server)


def server_up(port=6443):
    start("server", lab.br, XEBEC, "server", "--data-dir", DATA, "--listen", f"{SERVER}:{port}")
    url = f"https://{SERVER}:{port}"

    def ready():
        try:
            return kubectl("get", "--raw", "/readyz", server=url).strip()
        except (RuntimeError, OSError):
            return "no"
    if until(ready, "ok") != "ok":
        raise RuntimeError("the server does not come up")


def pod(node, name, ip):
    ns, host = lab.space(name), lab.nodes[node][0]
    veth = f"veth{name}"
    lab.on(host, "ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", ns)
    lab.on(host, "ip", "addr", "add", "169.254.7.1/32", "dev", veth)
    lab.on(host, "ip", "link", "set", veth, "up")
    lab.on(host, "ip", "route", "add", f"{ip}/32", "dev", veth)
    lab.on(ns, "ip", "addr", "add", f"{ip}/32", "dev", "eth0")
    lab.on(ns, "ip", "link", "set", "eth0", "up")
    lab.on(ns, "ip", "route", "add", "169.254.7.1/32", "dev", "eth0")
    lab.on(ns, "ip", "route", "add", "default", "via", "169.254.7.1")
    lab.host_worker(name, ns)


def dataplane(node, *more):
    ns = lab.nodes[node][0]
    start(f"dp-{node}", ns, XEBEC, "dataplane", "--kubeconfig", f"{DATA}/admin.kubeconfig", "--node-name", node,
          "--pin-dir", os.path.join(lab.bpffs, node), "--host-cgroup", "none", *more)


def get(node, port, path="/"):
    """(status, body) of a GET at the node's own loopback."""
    r = run(lab.nodes[node][0], "curl", "-s", "-m", "3", "-w", "\n%{http_code}", f"http://127.0.0.1:{port}{path}")
    body, _, code = r.stdout.rpartition("\n")
    return int(code or 0), body


def service(name, ip, eps, spec=None, port=8080):
    base = dict(ports=[dict(name="p", port=80), dict(name="u", port=80, protocol="UDP")], clusterIP=ip)
    base.update(spec or {})
    return [dict(apiVersion="v1", kind="Service", metadata=dict(name=name, namespace="default"), spec=base),
            slice_of(name, eps, port)]


def slice_of(name, eps, port=8080):
    return dict(apiVersion="discovery.k8s.io/v1", kind="EndpointSlice", addressType="IPv4",
                metadata=dict(name=f"{name}-x", namespace="default", labels={"kubernetes.io/service-name": name}),
                ports=[dict(name="p", port=port, protocol="TCP"), dict(name="u", port=port, protocol="UDP")],
                endpoints=[dict(addresses=[ip], nodeName=n, conditions=dict(ready=True)) for ip, n in eps])


def expect(who, addr, names, peers=None, port=80, n=16):
    for kind in ("tcp", "udp"):
        r = W[who].call("ask", addr=addr, port=port, kind=kind, n=n, timeout=2)
        if r.get("error") or r["errors"] or set(r["names"]) != set(names):
            return f"{kind}: {r}, wanted {names}"
        if peers and set(r["peers"]) != set(peers):
            return f"{kind}: seen as {r['peers']}, wanted {peers}"


def refused(who, addr):
    r = W[who].call("ask", addr=addr, port=80, timeout=2)
    return None if r["errors"] == ["ConnectionRefusedError"] else f"{r}"


def setup():
    for name, ip in (("n1", N1), ("n2", N2)):
        ns = lab.space(name)
        lab.plug(ns, ip)
        lab.nodes[name] = (ns, ip)
        lab.host_worker(name, ns)
        run(ns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    lab.host("client", CLIENT)
    lab.on(lab.nodes["n1"][0], "ip", "route", "add", "10.244.2.0/24", "via", N2)
    lab.on(lab.nodes["n2"][0], "ip", "route", "add", "10.244.1.0/24", "via", N1)
    for node, name, ip in (("n1", "a", A), ("n1", "b", B), ("n2", "c", C)):
        pod(node, name, ip)
        W[name].call("serve", name=name, port=8080)
    server_up()
    stop("server")
    dataplane("n1")  # before there is an API: it waits
    server_up()
    for n, ip in (("n1", N1), ("n2", N2)):
        apply(dict(apiVersion="v1", kind="Node", metadata=dict(name=n)))
        kubectl("patch", "node", n, "--subresource=status", "--type=merge", "-p",
                json.dumps(dict(status=dict(addresses=[dict(type="InternalIP", address=ip)]))))
    apply(*service("both", "10.96.0.20", [(B, "n1"), (C, "n2")]),
          *service("none", "10.96.0.21", []),
          *service("np", "10.96.0.22", [(C, "n2")], dict(type="NodePort", ports=[
              dict(name="p", port=80, nodePort=30080), dict(name="u", port=80, protocol="UDP", nodePort=30080)])),
          *service("lb", "10.96.0.23", [(B, "n1")], dict(type="LoadBalancer", externalTrafficPolicy="Local",
                                                         healthCheckNodePort=30999)))
    dataplane("n2", "--node-ip", N2)


def healthy():
    for n in ("n1", "n2"):
        code, body = until(lambda: get(n, 10256, "/healthz")[0], 200), get(n, 10256, "/healthz")[1]
        if code != 200 or json.loads(body)["nodeEligible"] is not True or not json.loads(body)["lastUpdated"]:
            return f"{n}: {code} {body}"
        if get(n, 10256, "/livez")[0] != 200:
            return f"{n}: livez"


def metrics():
    text = get("n1", 10249, "/metrics")[1]
    for name in ("kubeproxy_sync_proxy_rules_last_timestamp_seconds ", "kubeproxy_sync_proxy_rules_duration_seconds_count ",
                 "kubeproxy_network_programming_duration_seconds_bucket", "xebec_dataplane_publish_latency_seconds_count",
                 'xebec_service_connections_total{service="default/both:p/TCP"} ',
                 f'xebec_backend_bytes_in_total{{service="default/both:p/TCP",backend="{C}:8080"}} '):
        if name not in text:
            return f"no {name}"


def listing():
    def lb(*args):
        return json.loads(subprocess.run([XEBEC, "lb", *args, "-o", "json", "--node", "n1", "--pin-root", lab.bpffs],
                                         capture_output=True, text=True, check=True).stdout)
    rows = lb("services", "--service", "both")
    if {r["service"] for r in rows} != {"default/both:p/TCP", "default/both:u/UDP"}:
        return f"{rows}"
    want = kubectl("get", "service", "both", "-o", "jsonpath={.metadata.resourceVersion}")
    if any(r["resourceVersion"] != int(want) or r["endpoints"] != 2 or r["connections"] < 1 for r in rows):
        return f"{rows}, resourceVersion {want}"
    return None if lb("backends", "--namespace", "none") == [] else "another namespace"


def health_ports():
    one, two = until(lambda: get("n1", 30999)[0], 200), until(lambda: get("n2", 30999)[0], 503)
    says = json.loads(get("n1", 30999)[1])
    if (one, two) != (200, 503) or says["localEndpoints"] != 1 or says["service"] != dict(namespace="default", name="lb"):
        return f"{one} {two} {says}"
    apply(slice_of("lb", [(C, "n2")]))
    return until(lambda: (get("n1", 30999)[0], get("n2", 30999)[0]), (503, 200)) != (503, 200) or None


def api_gone():
    """Services work without the API; what changed meanwhile arrives when it is back."""
    stop("server", signal.SIGKILL)
    bad = expect("a", "10.96.0.20", ["b", "c"])
    if bad:
        return f"without API: {bad}"
    server_up(7443)  # where nobody of the nodes looks
    other = f"https://{SERVER}:7443"
    apply(slice_of("both", [(C, "n2")]), *service("new", "10.96.0.24", [(B, "n1")]), server=other)
    kubectl("delete", "service", "np", server=other)
    kubectl("delete", "endpointslice", "np-x", server=other)
    stop("server")
    server_up()
    bad = until(lambda: expect("a", "10.96.0.24", ["b"]))
    return bad or until(lambda: expect("a", "10.96.0.20", ["c"])) or until(lambda: refused("a", "10.96.0.22"))


def restart():
    key = W["a"].call("hold", key="k", addr="10.96.0.24", port=80)
    stop("dp-n1", signal.SIGKILL)
    if bad := expect("a", "10.96.0.24", ["b"]):
        return f"without agent: {bad}"
    dataplane("n1")
    if until(lambda: get("n1", 10256, "/healthz")[0], 200) != 200:
        return "not healthy again"
    again = W["a"].call("again", key="k")
    return None if again.get("name") == key["name"] == "b" else f"{key} {again}"


def node_leaves():
    kubectl("taint", "node", "n2", "ToBeDeletedByClusterAutoscaler=1:NoSchedule")
    got = until(lambda: (get("n2", 10256, "/healthz")[0], get("n2", 10256, "/livez")[0]), (503, 200))
    return None if got == (503, 200) else f"{got}"


def cleanup():
    stop("dp-n1")
    ns = lab.nodes["n1"][0]
    r = run(ns, XEBEC, "dataplane", "--cleanup", "--pin-dir", os.path.join(lab.bpffs, "n1"))
    links = run(ns, "ip", "link").stdout
    if r.returncode or "xebec0" in links or os.path.exists(os.path.join(lab.bpffs, "n1")):
        return f"{r.stderr} {links}"
    routes = run(ns, "ip", "route").stdout
    return "a route is left" if "10.96." in routes else expect("b", C, ["c"], port=8080)


def wrong_options():
    """Refused before anything is asked or loaded, and named."""
    for option, value in (("--max-services", "abc"), ("--max-backends", "0"), ("--nodeport-addresses", "x"), ("--nonsense", "1")):
        r = run(lab.nodes["n1"][0], XEBEC, "dataplane", "--kubeconfig", "/nowhere", option, value)
        if r.returncode == 0 or option not in r.stderr:
            return f"{option} {value}: {r}"


try:
    setup()
    tap.check("wrong options are refused by name", wrong_options)
    tap.check("healthy when all is programmed, on 10256", healthy)
    tap.check("pods of another plugin reach services, seen as themselves",
              lambda: until(lambda: expect("a", "10.96.0.20", ["b", "c"], [A])))
    tap.check("a pod reaches itself through a service", lambda: expect("b", "10.96.0.20", ["b", "c"]))
    tap.check("the node itself", lambda: expect("n1", "10.96.0.20", ["b", "c"]))
    tap.check("no endpoints: refused", lambda: refused("a", "10.96.0.21"))
    tap.check("node port, from outside, by another node", lambda: expect("client", N1, ["c"], port=30080))
    tap.check("node port, from a pod", lambda: expect("a", N2, ["c"], port=30080))
    lab.on(lab.nodes["n1"][0], "ip", "addr", "add", "172.31.99.50/24", "dev", "eth0")
    tap.check("node port on an address that the node gets later",
              lambda: until(lambda: expect("client", "172.31.99.50", ["c"], port=30080)))
    tap.check("kube-proxy's metrics on 10249", metrics)
    tap.check("xebec lb: by service, with the resourceVersion programmed", listing)
    tap.check("health check ports follow the endpoints", health_ports)
    tap.check("the API goes, changes, comes back", api_gone)
    tap.check("agent killed and started again: connection kept", restart)
    tap.check("a node that leaves is not eligible, but lives", node_leaves)
    tap.check("cleanup leaves nothing", cleanup)
finally:
    if tap.bad:
        for name in ("server", "dp-n1", "dp-n2"):
            with open(os.path.join(lab.dir, f"{name}.log")) as f:
                print("".join(f"# {name}: {line}" for line in f.readlines()[-15:]))
    for name in list(procs):
        stop(name, signal.SIGKILL)
tap.end()
