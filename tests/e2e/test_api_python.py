#!/usr/bin/python3
"""The Python client of Debian (python3-kubernetes) against `xebec server` alone: objects, patches, watches, the dynamic client."""
import os, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
XEBEC = os.path.join(ROOT, "build", "release", "xebec")
try:
    from kubernetes import client, config, dynamic, watch
    from kubernetes.client.exceptions import ApiException
except ImportError:
    print("# python3-kubernetes is not installed: its test did not run\nok 1 - python client # SKIP no python3-kubernetes\n1..1")
    sys.exit(0)
n = bad = 0


def check(name, ok, why=""):
    global n, bad
    n += 1
    bad += not ok
    print(f"{'ok' if ok else 'not ok'} {n} - {name}" + ("" if ok else f"\n# {why}"), flush=True)


def refused(status, fn, *args, **kw):
    try:
        fn(*args, **kw)
    except ApiException as e:
        return e.status == status
    return False


def start(data):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    p = subprocess.Popen([XEBEC, "server", "--data-dir", data, "--listen", f"127.0.0.1:{port}"], stderr=open(data + "/log", "w"))
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            config.load_kube_config(data + "/admin.kubeconfig")
            client.CoreV1Api().read_namespace("default")
            return p
        except Exception:
            time.sleep(0.05)
    p.kill()
    raise SystemExit("not ok 1 - the server starts")


def configmap(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"of": "test"}), data=data)


def objects(v1):
    v1.create_namespace({"metadata": {"name": "py"}})
    made = v1.create_namespaced_config_map("py", configmap("a", x="1"))
    check("create", made.metadata.uid and made.data == {"x": "1"}, made)
    check("a second of the name is a conflict", refused(409, v1.create_namespaced_config_map, "py", configmap("a")))
    made.data["x"] = "2"
    check("replace", v1.replace_namespaced_config_map("a", "py", made).data == {"x": "2"})
    check("a stale replace is a conflict", refused(409, v1.replace_namespaced_config_map, "a", "py", made))
    got = v1.patch_namespaced_config_map("a", "py", {"data": {"y": "3"}})
    check("strategic merge patch", got.data == {"x": "2", "y": "3"}, got)
    got = v1.patch_namespaced_config_map("a", "py", [{"op": "remove", "path": "/data/x"}])
    check("JSON patch", got.data == {"y": "3"}, got)
    check("list by label", v1.list_namespaced_config_map("py", label_selector="a=b").items == [])
    check("an absent object is not found", refused(404, v1.read_namespaced_config_map, "none", "py"))
    d = client.AppsV1Api().create_namespaced_deployment("py", {"metadata": {"name": "d"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    check("defaults of a deployment", d.spec.strategy.rolling_update.max_surge == "25%", d.spec.strategy)
    s = client.AppsV1Api().patch_namespaced_deployment_scale("d", "py", {"spec": {"replicas": 2}})
    check("scale", s.spec.replicas == 2, s)


def watches(v1):
    rv = v1.list_namespaced_config_map("py").metadata.resource_version
    for name in ("w1", "w2"):
        v1.create_namespaced_config_map("py", configmap(name, t="w"))
    w = watch.Watch()
    seen = []
    for e in w.stream(v1.list_namespaced_config_map, "py", label_selector="of=test", resource_version=rv, timeout_seconds=10):
        seen.append((e["type"], e["object"].metadata.name))
        if len(seen) == 2:
            break
    check("watch from a list", seen == [("ADDED", "w1"), ("ADDED", "w2")], seen)
    v1.delete_namespaced_config_map("w1", "py")
    for e in watch.Watch().stream(v1.list_namespaced_config_map, "py", label_selector="of=test", resource_version=w.resource_version, timeout_seconds=10):
        break
    check("a watch resumed tells what came since", (e["type"], e["object"].metadata.name) == ("DELETED", "w1"), e)


def dynamics():
    c = dynamic.DynamicClient(client.ApiClient(), cache_file=os.path.join(os.environ["HOME"], "cache"))
    maps = c.resources.get(api_version="v1", kind="ConfigMap")
    made = maps.create(namespace="py", body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dyn"}, "data": {"k": "v"}})
    check("dynamic client: create", made.data.k == "v", made)
    got = maps.patch(name="dyn", namespace="py", body={"data": {"k": None, "l": "m"}}, content_type="application/merge-patch+json")
    check("dynamic client: merge patch", got.to_dict()["data"] == {"l": "m"}, got)
    check("dynamic client: list", "dyn" in [o.metadata.name for o in maps.get(namespace="py").items])
    maps.delete(name="dyn", namespace="py")
    check("dynamic client: delete", refused(404, client.CoreV1Api().read_namespaced_config_map, "dyn", "py"))


def main():
    if not os.path.exists(XEBEC):
        print("ok 1 - python client # SKIP no server\n1..1")
        return 0
    data = tempfile.mkdtemp()
    os.environ["HOME"] = data
    p = start(data)
    try:
        v1 = client.CoreV1Api()
        objects(v1)
        watches(v1)
        dynamics()
    except ApiException as e:
        check("nothing else was refused", False, e)
    finally:
        p.send_signal(signal.SIGKILL)
        p.wait()
        shutil.rmtree(data, ignore_errors=True)
    print(f"1..{n}")
    return bad != 0


sys.exit(main())
