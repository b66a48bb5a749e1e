#!/usr/bin/env python3
"""Replays recorded answers of a Kubernetes API server against `xebec server` alone: one TAP line an area.

An area of MUST has to pass but for the scenarios named here; the others only report their count. Skipped
without the recordings or without a built server."""
import os, re, shutil, signal, socket, ssl, subprocess, sys, tempfile, time, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(ROOT, "..", "shared", "reference", "golden")
XEBEC = os.path.join(ROOT, "build", "release", "xebec")
MUST = {"apply", "crd", "defaults", "defaults-cluster", "discovery", "patch", "reads", "subresources", "tables", "validation", "writes", "deletes", "services"}
# crd: the sequence `cel` needs a rule of the Common Expression Language
ALLOWED = {"crd": 1}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(data):
    port = free_port()
    p = subprocess.Popen([XEBEC, "server", "--data-dir", data, "--listen", f"127.0.0.1:{port}"],
                         stderr=open(os.path.join(data, "log"), "w"))
    url, ctx, end = f"https://127.0.0.1:{port}", ssl._create_unverified_context(), time.monotonic() + 20
    while time.monotonic() < end and p.poll() is None:
        try:
            if urllib.request.urlopen(url + "/readyz", context=ctx, timeout=2).status == 200 and os.path.exists(data + "/admin.kubeconfig"):
                return p, url
        except OSError:
            time.sleep(0.05)
    p.kill()
    sys.exit("not ok 1 - the server did not become ready\n" + open(data + "/log").read())


def replay(script, url, data, target):
    out = subprocess.run([sys.executable, script, "--server", url, "--cert", data + "/pki/admin.crt", "--key", data + "/pki/admin.key", target],
                         capture_output=True, text=True, timeout=300).stdout
    m = re.search(r"(\d+) passed, (\d+) failed", out)
    fails = [l for l in out.splitlines() if l.startswith("FAIL")]
    return int(m.group(1)) if m else 0, int(m.group(2)) if m else 999, fails


def main():
    if not os.path.isdir(GOLDEN) or not os.access(XEBEC, os.X_OK):
        print("ok 1 - recorded answers # SKIP the recordings or the server are not here\n1..1")
        return 0
    data, n, bad = tempfile.mkdtemp(prefix="xebec-golden-"), 0, 0
    p, url = start(data)
    try:
        areas = [(f[:-5], os.path.join(GOLDEN, "replay.py"), os.path.join(GOLDEN, f)) for f in sorted(os.listdir(GOLDEN)) if f.endswith(".json")]
        areas += [(d, os.path.join(GOLDEN, "scenarios", "replay.py"), os.path.join(GOLDEN, "scenarios", d)) for d in ("deletes", "services")]
        for name, script, target in areas:
            passed, failed, fails = replay(script, url, data, target)
            must = name in MUST
            ok = not must or len(fails) <= ALLOWED.get(name, 0) and failed < 999
            n, bad = n + 1, bad + (not ok)
            print(f"{'ok' if ok else 'not ok'} {n} - {name}: {passed} of {passed + failed}" + ("" if must else " # TODO"))
            for l in fails:
                print("# " + l)
        alive = p.poll() is None
        p.send_signal(signal.SIGTERM)
        status = p.wait(20)
        n += 1
        clean = alive and status == 0
        bad += not clean
        print(f"{'ok' if clean else 'not ok'} {n} - the server lives to the end and stops cleanly (status {status})")
    finally:
        if p.poll() is None:
            p.kill()
        shutil.rmtree(data, ignore_errors=True)
    print(f"1..{n}")
    return bad > 0


sys.exit(main())
