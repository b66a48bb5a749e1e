#!/usr/bin/env python3
"""The proxy subresource of pods, services and nodes against a local server that plays the pod."""
import base64, hashlib, http.client, json, os, re, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
XEBEC = os.path.join(ROOT, "build", "release", "xebec")
NS = f"xebec-proxy-{os.getpid()}"
n = bad = 0


def check(name, ok, why=""):
    global n, bad
    n += 1
    bad += not ok
    print(f"{'ok' if ok else 'not ok'} {n} - {name}" + ("" if ok else f"\n# {why}"), flush=True)


class Pod(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
            return
        path = self.path.split("?")[0]
        if path == "/page":
            out, kind = b'<html><a href="/rewriteme">x</a><img src=/i.png><a href="rel">y</a><a href="//o/z">', "text/html"
        elif path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/elsewhere?a=b")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        else:
            out, kind = json.dumps({"method": self.command, "path": self.path, "body": body.decode(), "headers": {k.lower(): v for k, v in self.headers.items()}}).encode(), "application/json"
        self.send_response(207 if path == "/status207" else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(out)

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                         + base64.b64encode(hashlib.sha1(key.encode()).digest()) + b"\r\n\r\n")
        self.wfile.flush()
        self.wfile.write(b"echo:" + self.rfile.read(5))
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = answer

    def log_message(self, *a):
        pass


class Api:
    def __init__(self, data, port):
        self.port, self.ctx = port, ssl._create_unverified_context()
        self.ctx.load_cert_chain(data + "/pki/admin.crt", data + "/pki/admin.key")

    def call(self, method, path, body=None, headers=None):
        c = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.ctx, timeout=20)
        if isinstance(body, dict):
            body = json.dumps(body)
        c.request(method, path, body, headers or ({"Content-Type": "application/json"} if body else {}))
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, r.headers, data

    def make(self, path, body):
        status, _, data = self.call("POST", path, body)
        assert status == 201, data


def start(data):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    p = subprocess.Popen([XEBEC, "server", "--data-dir", data, "--listen", f"127.0.0.1:{port}"], stderr=open(data + "/log", "w"))
    end = time.monotonic() + 20
    while time.monotonic() < end and p.poll() is None:
        try:
            api = Api(data, port)
            if api.call("GET", "/readyz")[0] == 200:
                return p, api
        except OSError:
            time.sleep(0.05)
    sys.exit("not ok 1 - the server did not become ready\n" + open(data + "/log").read())


def fixtures(api, ip, port):
    base = "/api/v1/namespaces/default"
    end = time.monotonic() + 10
    while api.call("GET", base + "/serviceaccounts/default")[0] != 200 and time.monotonic() < end:
        time.sleep(0.05)
    for name, addr in (("p", ip), ("closed", ip), ("loop", "127.0.0.1")):
        api.make(base + "/pods", {"metadata": {"name": name}, "spec": {"schedulerName": "nobody", "containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": port if name == "p" else 1}]}]}})
        s, _, d = api.call("PATCH", f"{base}/pods/{name}/status", json.dumps({"status": {"podIP": addr, "podIPs": [{"ip": addr}]}}),
                           {"Content-Type": "application/merge-patch+json"})
        assert s == 200, d
    api.make(base + "/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80}, {"name": "none", "port": 81}]}})
    api.make(base + "/services", {"metadata": {"name": "empty"}, "spec": {"ports": [{"port": 80}]}})
    api.make("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
        "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4",
        "ports": [{"name": "web", "port": port}],
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": False}}, {"addresses": [ip], "conditions": {"ready": True}}]})


def checks(api, port):
    pod, svc = "/api/v1/namespaces/default/pods/p", "/api/v1/namespaces/default/services/"
    for m in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        s, _, d = api.call(m, pod + "/proxy/some/%7Bpath%7D/?dryRun=x&q=1", "hello" if m in ("POST", "PUT", "PATCH") else None, {"X-Mine": "1", "Authorization": "Basic eDp5"})
        got = json.loads(d) if s == 200 else {}
        ok = got.get("method") == m and got["path"] == "/some/%7Bpath%7D/?dryRun=x&q=1" and got["headers"].get("x-mine") == "1" and "authorization" not in got["headers"]
        check(f"pod: {m} reaches it as it was sent", ok and (got["body"] == "hello") == (m in ("POST", "PUT", "PATCH")), (s, d))
    s, h, d = api.call("HEAD", pod + "/proxy/x")
    check("pod: HEAD has the length and no body", s == 200 and d == b"" and int(h["Content-Length"]) > 0, (s, d))
    got = json.loads(api.call("GET", pod + "/proxy/x")[2])["headers"]
    check("it is told for whom", got.get("x-forwarded-for") == "127.0.0.1" and got.get("x-forwarded-uri") == pod + "/proxy/x", got)
    s, h, d = api.call("GET", pod + "/proxy?a=b")
    check("the root ends in a slash", s == 301 and h["Location"] == pod + "/proxy/?a=b", (s, h["Location"]))
    check("a status of its own", api.call("GET", pod + "/proxy/status207")[0] == 207)
    d = api.call("GET", pod + "/proxy/page")[2].decode()
    want = f'<html><a href="{pod}/proxy/rewriteme">x</a><img src={pod}/proxy/i.png><a href="rel">y</a><a href="//o/z">'
    check("links of a page lead through the proxy", d == want, d)
    s, h, d = api.call("GET", pod + "/proxy/moved")
    check("so do redirections", s == 302 and h["Location"] == pod + "/proxy/elsewhere?a=b", h["Location"])
    for form in (f"p:{port}", f"http:p:{port}", f":p:{port}"):
        check(f"pod {form.replace(str(port), 'PORT')}", api.call("GET", f"/api/v1/namespaces/default/pods/{form}/proxy/x")[0] == 200)
    for form in ("s:web", "s:80", "http:s:web", "http:s:80"):
        check(f"service {form}", api.call("GET", f"{svc}{form}/proxy/x")[0] == 200)
    wrong = (("pods/closed", 503, "ServiceUnavailable"), ("pods/loop", 400, "BadRequest"), ("pods/nope", 404, "NotFound"), ("pods/ftp:p:1", 400, "BadRequest"),
             ("pods/a:b:c:d", 400, "BadRequest"), ("services/empty", 503, "ServiceUnavailable"), ("services/s:82", 503, "ServiceUnavailable"),
             ("services/s:none", 503, "ServiceUnavailable"), ("services/nope", 404, "NotFound"))
    for path, code, reason in wrong:
        s, _, d = api.call("GET", f"/api/v1/namespaces/default/{path}/proxy/")
        check(f"{path}: {code} {reason}", s == code and json.loads(d)["reason"] == reason, (s, d))
    s, _, d = api.call("GET", "/api/v1/nodes/nope/proxy/healthz")
    check("nodes/nope: 404", s == 404, d)
    c = api.ctx.wrap_socket(socket.create_connection(("127.0.0.1", api.port), 10))
    c.sendall(f"GET {pod}/proxy/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += c.recv(4096)
    c.sendall(b"hello")
    tail = head.split(b"\r\n\r\n", 1)[1]
    while len(tail) < 10:
        more = c.recv(4096)
        if not more:
            break
        tail += more
    c.close()
    check("an upgrade becomes a tunnel", head.startswith(b"HTTP/1.1 101") and tail == b"echo:hello", (head, tail))


def inside():
    """In a network namespace of its own, where 10.99.0.1 is a pod's address."""
    ip = "10.99.0.1"
    for cmd in ("ip link set lo up", f"ip addr add {ip}/32 dev lo"):
        subprocess.run(cmd.split(), check=True)
    pod = ThreadingHTTPServer((ip, 0), Pod)
    threading.Thread(target=pod.serve_forever, daemon=True).start()
    data = tempfile.mkdtemp(prefix="xebec-proxy-")
    p, api = start(data)
    try:
        fixtures(api, ip, pod.server_port)
        checks(api, pod.server_port)
        p.send_signal(signal.SIGTERM)
        check("the server stops cleanly", p.wait(20) == 0)
    finally:
        if p.poll() is None:
            p.kill()
        shutil.rmtree(data, ignore_errors=True)
    print(f"1..{n}")
    return bad > 0


if not os.access(XEBEC, os.X_OK) or os.geteuid() != 0:
    print("ok 1 - the proxy subresource # SKIP no server, or not root\n1..1")
elif "--inside" in sys.argv:
    sys.exit(inside())
else:
    sys.exit(subprocess.run(["unshare", "--net", sys.executable, os.path.abspath(__file__), "--inside"], timeout=200).returncode)
