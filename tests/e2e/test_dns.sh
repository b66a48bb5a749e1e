#!/usr/bin/env bash
# Names in a cluster: services, headless ones, pods by host name, aliases, reverse names, other servers, a killed agent.
. "$(dirname "$0")/../lib/cluster.sh"
dnsq=$root/tests/lib/dnsq.py

check "up starts two nodes" cluster_start 2 || exit 1
n1=$NAME-node-1
cat >"$DATA/dns.yaml" <<Y
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: $n1
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: docker.io/xebec/test:1, command: [sleep, "100000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: own}
spec:
  terminationGracePeriodSeconds: 0
  dnsPolicy: None
  dnsConfig: {nameservers: [10.96.0.10], searches: [shop.example], options: [{name: ndots, value: "2"}]}
  containers: [{name: c, image: docker.io/xebec/test:1, command: [sleep, "100000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: hostnet}
spec:
  nodeName: $n1
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: docker.io/xebec/test:1, command: [sleep, "100000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, labels: {app: db}}
spec:
  hostname: db-0
  subdomain: db
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: docker.io/xebec/test:1, args: [serve], ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: db}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
Y
check "pods and services" k apply -f "$DATA/dns.yaml"
check "pods are Ready" k wait --for=condition=Ready pod/client pod/own pod/hostnet pod/db-0 --timeout=60s
vip=$(k get service web -o jsonpath='{.spec.clusterIP}')
ip=$(k get pod db-0 -o jsonpath='{.status.podIP}')

# q NAME [TYPE]: asked by a process of node 1
q() { on_node 1 "$dnsq" 10.96.0.10 "$@"; }
# qp OPTION... SERVER NAME: the same with options
qp() { on_node 1 "$dnsq" "$@"; }
slices() { [ "$(k -n kube-system get endpointslices -l kubernetes.io/service-name=kube-dns --no-headers | grep -c .)" -eq "$1" ]; }

check "every node keeps its slice of kube-dns" within 20 slices 2
check "a pod's resolv.conf" says "^search default.svc.cluster.local svc.cluster.local cluster.local" k exec client -- cat /etc/resolv.conf
check "dnsPolicy None: its own" says "search shop.example" k exec own -- cat /etc/resolv.conf
check "a pod resolves a service" within 10 says "Address.* $vip" k exec client -- nslookup web.default.svc.cluster.local
check "and by its short name, through libc" says "^db-0" k exec client -- xtest get web 80 /
check "a hostNetwork pod too" within 10 says "Address.* $vip" k exec hostnet -- nslookup web.default.svc.cluster.local
check "a process of the node" says "answer .* A $vip" q web.default.svc.cluster.local
check "by TCP" says "answer .* A $vip" qp --tcp 10.96.0.10 web.default.svc.cluster.local
check "headless: the pod" within 10 says "answer .* A $ip" q db.default.svc.cluster.local
check "a pod by hostname and subdomain" says "answer .* A $ip" q db-0.db.default.svc.cluster.local
check "SRV of a service" says "SRV 0 100 80 web.default" q _http._tcp.web.default.svc.cluster.local SRV
check "SRV of a headless service" says "SRV 0 100 8080 db-0.db.default" q _http._tcp.db.default.svc.cluster.local SRV
check "ExternalName: alias and address" says "answer web.default.* A $vip" q alias.default.svc.cluster.local
rev() { awk -F. '{print $4"."$3"."$2"."$1".in-addr.arpa"}' <<<"$1"; }
check "PTR of a ClusterIP" says "PTR web.default.svc" q "$(rev "$vip")" PTR
check "PTR of a pod behind a headless service" says "PTR db-0.db.default" q "$(rev "$ip")" PTR
check "no such name" says "^NXDOMAIN aa" q nope.default.svc.cluster.local
check "no such record" says "^NOERROR aa" q web.default.svc.cluster.local AAAA
check "the specification's version" says "TXT 1.1.0" q dns-version.cluster.local TXT

# another server, in the cluster's bridge namespace, that knows one name
cat >"$DATA/upstream.py" <<'P'
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    q, who = s.recvfrom(4096)
    end = 12
    while q[end]:
        end += 1 + q[end]
    end += 5
    good = b"\x07outside" in q.lower()
    head = q[:2] + struct.pack(">HHHHH", 0x8180 if good else 0x8183, 1, int(good), 0, 0)
    a = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7]) if good else b""
    s.sendto(head + q[12:end] + a, who)
P
check "without a way out: an error at once" says "^SERVFAIL" timeout 2 nsenter --net="/run/xebec/$NAME/netns/$n1" "$dnsq" 10.96.0.10 outside.example
in_net python3 "$DATA/upstream.py" 172.18.0.1 >"$DATA/upstream.log" &
up=$!
check "another server runs" within 10 grep -q ready "$DATA/upstream.log"
echo "nameserver 172.18.0.1" >"$DATA/resolv.conf"
node_pid() { pgrep -f "xebec node --name $n1 " | head -1; }
check "resolv.conf of the nodes names it" nsenter --mount -t "$(node_pid)" mount --bind "$DATA/resolv.conf" /etc/resolv.conf
check "names outside are asked there" within 10 says "answer outside.example. A 192.0.2.7" q outside.example
check "from a pod as well" within 10 says "192.0.2.7" k exec client -- nslookup outside.example
pkill -f "$DATA/upstream.py" # the shell around it ends with it
wait $up 2>/dev/null
check "and remembered" says "A 192.0.2.7" q outside.example

old=$(node_pid)
kill -9 "$old"
check "kill -9 of the agent: it answers again" within 20 says "answer .* A $vip" q web.default.svc.cluster.local
check "from pods too" within 10 says "Address.* $vip" k exec client -- nslookup web.default.svc.cluster.local
check "figures of the name service" within 10 says 'xebec_dns_responses_total\{rcode="NOERROR"\} [1-9]' on_node 1 curl -sS http://127.0.0.1:10249/metrics
tap_end
