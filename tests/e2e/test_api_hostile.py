#!/usr/bin/env python3
"""Hostile and broken clients against `xebec server` alone: what is answered, that nothing leaks, that a crash loses nothing."""
import json, os, re, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
XEBEC = os.path.join(ROOT, "build", "release", "xebec")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
n = bad = 0


def check(name, ok, why=""):
    global n, bad
    n += 1
    bad += not ok
    print(f"{'ok' if ok else 'not ok'} {n} - {name}" + ("" if ok else f"\n# {why}"), flush=True)


class Server:
    def __init__(self, data):
        self.data = data
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.start()

    def start(self):
        self.log = open(os.path.join(self.data, "log"), "a")
        self.p = subprocess.Popen([XEBEC, "server", "--data-dir", self.data, "--listen", f"127.0.0.1:{self.port}"], stderr=self.log)
        end = time.monotonic() + 20
        while time.monotonic() < end and self.p.poll() is None:
            try:
                self.ctx = ssl._create_unverified_context()
                self.ctx.load_cert_chain(self.data + "/pki/admin.crt", self.data + "/pki/admin.key")
                if self.get("/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit("not ok 1 - the server starts")

    def kill(self):
        self.p.send_signal(signal.SIGKILL)
        self.p.wait()

    def connect(self, alpn="http/1.1"):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        ctx = ssl._create_unverified_context()
        ctx.load_cert_chain(self.data + "/pki/admin.crt", self.data + "/pki/admin.key")
        ctx.set_alpn_protocols([alpn])
        return ctx.wrap_socket(s)

    def get(self, path, body=None, method=None):
        r = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data=body, method=method, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(r, context=self.ctx, timeout=10) as a:
                return a.status, a.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    def raw(self, request, until=None):
        """the bytes answered until the server closes, or until `until` occurs"""
        out = b""
        with self.connect() as s:
            try:
                s.sendall(request)
                while until is None or out.count(until) < 1:
                    part = s.recv(65536)
                    if not part:
                        break
                    out += part
            except (ConnectionError, ssl.SSLError, socket.timeout) as e:
                out += b"!" + type(e).__name__.encode()
        return out

    def fds(self):
        return len(os.listdir(f"/proc/{self.p.pid}/fd"))

    def rss(self):
        return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{self.p.pid}/status").read())[1])


def code(answer):
    m = re.match(rb"HTTP/1\.1 (\d+)", answer)
    return int(m[1]) if m else 0


def http1(v):
    host, end = b"Host: x\r\n", b"Connection: close\r\n\r\n"
    cm = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"h-"}}'
    at = b"/api/v1/namespaces/default/configmaps"
    for name, request, want in [
        ("HEAD of an object has no body", b"HEAD /api/v1/namespaces/default HTTP/1.1\r\n" + host + end, {200, 405}),
        ("OPTIONS is refused", b"OPTIONS /api/v1/pods HTTP/1.1\r\n" + host + end, {405}),
        ("an unknown method is refused", b"BREW /api/v1/pods HTTP/1.1\r\n" + host + end, {405, 501}),
        ("an absolute URI is understood", b"GET https://x/healthz HTTP/1.1\r\n" + host + end, {200}),
        ("a huge URL is refused", b"GET /" + b"a" * 2000000 + b" HTTP/1.1\r\n" + host + end, {414, 431}),
        ("a huge header is refused", b"GET / HTTP/1.1\r\nX: " + b"a" * 2000000 + b"\r\n" + host + end, {431}),
        ("many headers are refused", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100000 + host + end, {431}),
        ("two lengths are refused", b"POST " + at + b" HTTP/1.1\r\n" + host + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", {400}),
        ("a length beside chunks is refused", b"POST " + at + b" HTTP/1.1\r\n" + host + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        ("a bad chunk size is refused", b"POST " + at + b" HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
        ("a negative length is refused", b"POST " + at + b" HTTP/1.1\r\n" + host + b"Content-Length: -1\r\n\r\n", {400}),
        ("no protocol is refused", b"\x00\x01\x02\x03\r\n\r\n", {400}),
        ("a chunked body is read", b"POST " + at + b" HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
         + b"".join(b"1\r\n%c\r\n" % c for c in cm) + b"0\r\n\r\n", {201}),
        ("garbage after the object is refused", b"POST " + at + b" HTTP/1.1\r\n" + host + b"Content-Length: %d\r\n" % (len(cm) + 2) + end + cm + b"}}", {400}),
    ]:
        a = v.raw(request)
        check(f"HTTP/1.1: {name}", code(a) in want, a[:300])
    a = v.raw(b"POST " + at + b" HTTP/1.1\r\n" + host + b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(cm) + end, b"\r\n\r\n")
    check("HTTP/1.1: Expect: 100-continue is invited", code(a) == 100, a[:300])
    a = v.raw((b"GET /version HTTP/1.1\r\n" + host + b"\r\n") * 19 + b"GET /version HTTP/1.1\r\n" + host + end)
    check("HTTP/1.1: pipelined requests are all answered", a.count(b"HTTP/1.1 200") == 20, a.count(b"HTTP/1.1 200"))


def frame(kind, flags, stream, body=b""):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def http2(v):
    get = b"\x82\x87\x04\x08/version\x41\x01x"  # GET https /version x
    for name, frames in [
        ("a reset flood", b"".join(frame(1, 5, i, get) + frame(3, 0, i, b"\0\0\0\x08") for i in range(1, 20001, 2))),
        ("a CONTINUATION flood", frame(1, 1, 1, get) + frame(9, 0, 1, b"\x00\x01a\x7f\x80\x01" + b"b" * 255) * 20000),
        ("a PING flood", frame(6, 0, 0, b"12345678") * 50000),
        ("a SETTINGS flood", frame(4, 0, 0) * 50000),
        ("half-open streams", b"".join(frame(1, 4, i, get) for i in range(1, 4001, 2))),
        ("empty DATA frames", frame(1, 4, 1, get) + frame(0, 0, 1) * 50000),
        ("a frame longer than allowed", b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 100000),
    ]:
        before = v.rss()
        s = v.connect("h2")
        negotiated = s.selected_alpn_protocol() == "h2"
        s.settimeout(3)
        sender = threading.Thread(target=flood, args=(s, PREFACE + frames), daemon=True)
        sender.start()
        sender.join(3)
        t0 = time.monotonic()
        ok = v.get("/readyz")[0] == 200
        took, grown = time.monotonic() - t0, v.rss() - before
        s.close()
        check(f"HTTP/2: {name} hurts nobody else", ok and negotiated and took < 2 and grown < 32768, f"ok {ok}, {took:.1f} s, {grown} KiB more")


def flood(s, data):
    try:
        for i in range(0, len(data), 65536):
            s.sendall(data[i:i + 65536])
    except (OSError, ValueError):
        pass


def aborted(v, total):
    """connections cut at every stage of their life"""
    cm = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"
    watch = b"GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    for i in range(total):
        kind = i % 100
        if kind >= 4:  # TCP only, or bytes that are not TLS
            s = socket.create_connection(("127.0.0.1", v.port), timeout=10)
            if kind & 1:
                s.sendall(b"GET / HTTP/1.1\r\n\r\n" if kind & 2 else b"\x16\x03\x01\x02\x00\x01")
        else:
            s = v.connect()
            s.sendall([cm, watch, b"GET / HT", watch + watch][kind])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()


def leaks(v):
    aborted(v, 500)
    settle(v, 0)
    fds, rss = v.fds(), v.rss()
    aborted(v, 10000)
    now = settle(v, fds)
    check("10,000 aborted connections leave no descriptor", now <= fds + 4, f"{fds} before, {now} after")
    check("10,000 aborted connections leave no memory", v.rss() < rss + 16384, f"{rss} KiB before, {v.rss()} after")


def settle(v, want):
    end = time.monotonic() + 10
    low = v.fds()
    while low > want + 4 and time.monotonic() < end:
        time.sleep(0.1)
        if want == 0 and v.fds() == low:
            break
        low = v.fds()
    return low


def crash(v):
    """kill -9 in the middle of writes: what was acknowledged is there, and a watch resumes where it was"""
    at, acknowledged = "/api/v1/namespaces/default/configmaps", []
    start = int(json.loads(v.get(at)[1])["metadata"]["resourceVersion"])

    def writer(w):
        for i in range(100000):
            name = f"crash-{w}-{i}"
            try:
                if v.get(at, json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}).encode(), "POST")[0] != 201:
                    return
            except OSError:
                return
            acknowledged.append(name)

    threads = [threading.Thread(target=writer, args=(w,)) for w in range(4)]
    for t in threads:
        t.start()
    end = time.monotonic() + 10
    while len(acknowledged) < 200 and time.monotonic() < end:
        time.sleep(0.01)
    v.kill()
    for t in threads:
        t.join()
    v.start()
    have = {o["metadata"]["name"] for o in json.loads(v.get(at)[1])["items"]}
    lost = [a for a in acknowledged if a not in have]
    check("kill -9 loses no acknowledged write", len(acknowledged) >= 200 and not lost, f"{len(acknowledged)} acknowledged, lost {lost[:5]}")
    old = v.get(f"{at}?watch=1&resourceVersion={start}&timeoutSeconds=1")
    check("a watch from before the crash resumes or is told 410 Expired", resumed(old, acknowledged), old[1][:300])
    seen = [json.loads(x) for x in v.get(f"{at}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1")[1].splitlines()]
    names = [e["object"]["metadata"].get("name") for e in seen if e["type"] == "ADDED"]
    check("a new watch tells each object once", have <= set(names) and len(names) == len(set(names)), f"{len(names)} told, {len(have)} there")
    now = json.loads(v.get(at)[1])["metadata"]["resourceVersion"]
    v.get(at, b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"after"}}', "POST")
    seen = [json.loads(x) for x in v.get(f"{at}?watch=1&resourceVersion={now}&timeoutSeconds=1")[1].splitlines()]
    check("a watch from after the crash tells what came then", ("ADDED", "after") in [(e["type"], e["object"]["metadata"]["name"]) for e in seen], seen)


def resumed(answer, acknowledged):
    events = [json.loads(x) for x in answer[1].splitlines()]
    last = events[-1] if events else {}
    if last.get("object", {}).get("code") == 410:
        return answer[0] == 200 and last["type"] == "ERROR" and last["object"]["reason"] == "Expired"
    return set(acknowledged) <= {e["object"]["metadata"]["name"] for e in events}


def main():
    if not os.path.exists(XEBEC):
        print("ok 1 - hostile clients # SKIP no server\n1..1")
        return 0
    data = tempfile.mkdtemp()
    v = Server(data)
    try:
        for part in (http1, http2, leaks, crash):
            t0 = time.monotonic()
            part(v)
            print(f"# {part.__name__}: {time.monotonic() - t0:.1f} s", flush=True)
        check("the server is the one that was started", v.p.poll() is None)
    finally:
        v.kill()
        shutil.rmtree(data, ignore_errors=True)
    print(f"1..{n}")
    return bad != 0


sys.exit(main())
