#!/usr/bin/env bash
# The first story of a user: a 2-node cluster, a deployment, a service, and everything kubectl does with them.
. "$(dirname "$0")/../lib/cluster.sh"

check "up starts two nodes and returns when they are Ready" cluster_start 2 || exit 1
n1=$NAME-node-1 n2=$NAME-node-2
check "status lists the cluster as running" says "^$NAME .*running" "$X" status
check "a second up with the same name is refused" says "runs already" "$X" up --name "$NAME" --data-dir "$DATA" --listen "127.0.0.1:$((PORT + 1))"

cat >"$DATA/web.yaml" <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: docker.io/xebec/test:1
        args: [serve]
        env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: REV, value: "1"}]
        ports: [{name: http, containerPort: 8080}, {name: udp, containerPort: 8081, protocol: UDP}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: docker.io/xebec/test:1, command: [sleep, "100000"]}]
Y

# distinct CMD...: how many different lines it prints, errors apart
distinct() { "$@" 2>&1 | grep -v error | sort -u | grep -c .; }
spread() { # spread WANT CMD...
	local want=$1 got
	shift
	got=$(distinct "$@")
	[ "$got" -eq "$want" ] || { echo "want $want different answers, got $got"; "$@"; return 1; }
}
outside() { # outside HOST PORT COUNT
	local i
	for ((i = 0; i < $3; i++)); do in_net curl -sS --max-time 3 "http://$1:$2/"; done
}
pods_left() { [ "$(k get pods -l app=web --no-headers 2>/dev/null | grep -c .)" -eq "$1" ]; } # those that end too
pods_ready() { [ "$(k get pods -l app=web --no-headers 2>/dev/null | grep -c '1/1 *Running')" -eq "$1" ]; }
endpoints_are() { [ "$(k get endpointslices -l kubernetes.io/service-name=web -o jsonpath='{range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]}{"\n"}{end}' | grep -c .)" -eq "$1" ]; }
ip_of() { k get node "$1" -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}'; }

check "apply a deployment and a pod" k apply -f "$DATA/web.yaml"
check "apply again changes nothing" says "deployment.apps/web unchanged" k apply -f "$DATA/web.yaml"
check "rollout status" k rollout status deployment/web --timeout=90s
check "the client pod is Ready" k wait --for=condition=Ready pod/client --timeout=60s
check "pods are on both nodes" spread 2 k get pods -l app=web -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}'
check "get pods looks as it should" says "NAME +READY +STATUS +RESTARTS +AGE" k get pods
check "get nodes: Ready, with version" says "$n1 +Ready .* v1\.36" k get nodes
check "expose as a NodePort service" k expose deployment web --type=NodePort --port=80 --target-port=8080
check "expose udp" k expose deployment web --name=web-udp --port=53 --target-port=8081 --protocol=UDP
vip=$(k get service web -o jsonpath='{.spec.clusterIP}')
uvip=$(k get service web-udp -o jsonpath='{.spec.clusterIP}')
np=$(k get service web -o jsonpath='{.spec.ports[0].nodePort}')
check "endpoints appear" within 20 endpoints_are 3
check "the Endpoints object too" says ":8080" k get endpoints web
check "requests from a pod to the ClusterIP reach every pod" within 20 spread 3 k exec client -- xtest get "$vip" 80 / 40
check "UDP too" within 10 spread 3 k exec client -- xtest udp "$uvip" 53 hello 40
check "requests to the node port of node 1 from outside" within 10 spread 3 outside "$(ip_of "$n1")" "$np" 30
check "and of node 2" within 10 spread 3 outside "$(ip_of "$n2")" "$np" 30
check "a node's own process reaches the ClusterIP" says "^web-" on_node 1 curl -sS --max-time 3 "http://$vip/"
check "no iptables or nftables rule anywhere" bash -c "! nsenter --net=/run/xebec/$NAME/netns/$n1 sh -c 'command -v iptables-save >/dev/null && iptables-save | grep -q KUBE'"
check "xebec lb services names the service" says "default/web" "$X" lb services --node "$n1"
check "xebec lb backends lists three for it" says "8080" "$X" lb backends --node "$n1"
check "xebec lb connections shows some" says "$vip" "$X" lb connections --node "$n1"
check "bpftool reads the pinned maps" says "10|0a" bpftool map dump pinned "/sys/fs/bpf/xebec/$n1/svc4"

check "scale up" k scale deployment web --replicas=5
check "five Ready" within 40 pods_ready 5
check "five endpoints" within 20 endpoints_are 5
check "scale down" k scale deployment web --replicas=2
check "two left" within 40 pods_left 2
check "two Ready" within 40 pods_ready 2
victim=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
check "delete a pod" k delete pod "$victim" --timeout=60s
check "it is replaced" within 40 pods_ready 2
check "by another one" bash -c "! '$KUBECTL' get pod $victim"

check "set image and environment: a new revision" k set env deployment/web REV=2
check "rolls out" k rollout status deployment/web --timeout=90s
pod=$(k get pods -l app=web --field-selector=status.phase=Running -o jsonpath='{.items[0].metadata.name}')
check "the new pods have it" within 20 says '^2$' k exec deploy/web -- sh -c 'echo $REV'
check "a broken image does not take the service down" k set image deployment/web web=docker.io/xebec/absent:9
check "it shows as ErrImagePull or ImagePullBackOff" within 40 says "ErrImagePull|ImagePullBackOff" k get pods -l app=web
check "the service still answers" says "^web-" k exec client -- xtest get "$vip" 80 /
check "with an event that says why" within 20 says "Failed.*absent" k get events
check "rollout undo" k rollout undo deployment/web
check "back to the good revision" k rollout status deployment/web --timeout=90s
check "rollout history lists revisions" says "REVISION" k rollout history deployment/web
check "describe pod shows its events" within 10 says "Started +" k describe pod client
check "describe service" says "Endpoints:" k describe service web

pod=$(k get pods -l app=web --field-selector=status.phase=Running -o jsonpath='{.items[0].metadata.name}')
check "logs" within 10 says "serves http" k logs "$pod"
check "no previous log of a container that never restarted" says "previous terminated container" k logs client --previous
check "logs -l with prefix" says "serves http" k logs -l app=web --prefix
check "exec: output and environment" within 10 says "^web-" k exec deploy/web -- sh -c 'echo $WHO'
check "exec: exit code" says "exit code 3" k exec client -- sh -c 'exit 3'
check "exec: standard input" same "to and fro" bash -c "echo to and fro | '$KUBECTL' exec -i client -- cat"
check "cp into and out of a pod" bash -c "head -c 300000 /dev/urandom >'$DATA/f' && '$KUBECTL' cp '$DATA/f' client:/tmp/f && '$KUBECTL' cp client:/tmp/f '$DATA/g' && cmp '$DATA/f' '$DATA/g'"

forwarded() {
	local pf rc
	k port-forward "$1" "$((PORT + 5)):$2" >"$DATA/pf.log" 2>&1 &
	pf=$!
	within 10 curl -sS --max-time 3 "http://127.0.0.1:$((PORT + 5))/"
	rc=$?
	kill $pf
	wait $pf 2>/dev/null
	return $rc
}
check "port-forward to a pod" says "^web-" forwarded "pod/$pod" 8080
check "port-forward to a service" says "^web-" forwarded service/web 80
proxied() { k get --raw "/api/v1/namespaces/default/$1/proxy/"; }
proxied_each() { # every pod of web, on whichever node
	local p
	for p in $(k get pods -l app=web -o jsonpath='{.items[*].metadata.name}'); do
		[ "$(proxied "pods/$p:8080")" = "$p" ] || return 1
	done
}
check "proxy to each pod" proxied_each
check "proxy to a service" says "^web-" proxied services/web:80
check "proxy to a node" same ok k get --raw "/api/v1/nodes/$n1/proxy/healthz"

for v in 1.27 1.30 1.33; do
	bin=$(kubectls | awk -v v=$v '$1 == v {print $2}')
	[ -n "$bin" ] || { skip "kubectl $v" "not on this machine"; continue; }
	old=$KUBECTL KUBECTL=$bin
	check "kubectl $v: get" says "^client +1/1" k get pods
	check "kubectl $v: create deployment" k create deployment "d${v/./-}" --image=docker.io/xebec/test:1
	check "kubectl $v: rollout status" k rollout status "deployment/d${v/./-}" --timeout=60s
	check "kubectl $v: apply" says "configured|unchanged" k apply -f "$DATA/web.yaml"
	check "kubectl $v: exec" same hi k exec client -- echo hi
	check "kubectl $v: logs" says "serves http" k logs "deployment/d${v/./-}"
	check "kubectl $v: port-forward" says "^web-" forwarded service/web 80
	check "kubectl $v: delete" k delete deployment "d${v/./-}" --timeout=60s
	KUBECTL=$old
done

check "cordon" k cordon "$n2"
check "shows SchedulingDisabled" says "SchedulingDisabled" k get node "$n2"
check "drain" k drain "$n2" --ignore-daemonsets --delete-emptydir-data --force --timeout=90s
on_n2() { [ "$(k get pods -A --field-selector="spec.nodeName=$n2" --no-headers 2>/dev/null | grep -c .)" -eq 0 ]; }
check "nothing runs on the drained node" within 30 on_n2
check "and the deployment is whole elsewhere" within 60 pods_ready 3
check "uncordon" k uncordon "$n2"

check "a pod that fits nowhere stays Pending with the reason in an event" bash -c "'$KUBECTL' run big --image=docker.io/xebec/test:1 --overrides='{\"spec\":{\"containers\":[{\"name\":\"big\",\"image\":\"docker.io/xebec/test:1\",\"resources\":{\"requests\":{\"cpu\":\"1000\"}}}]}}'"
check "FailedScheduling: Insufficient cpu" within 20 says "FailedScheduling.*Insufficient cpu" k get events

check "invalid object: the field is named, nothing stored" says "spec.ports" bash -c "'$KUBECTL' create service clusterip bad --tcp=99999999:1 || '$KUBECTL' create -f - <<<'{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"bad\"},\"spec\":{\"ports\":[{\"port\":99999999}]}}'"
check "discovery with a slash at the end" says '"APIResourceList"' k get --raw /api/v1/
check "no such service" says "NotFound" k get service bad

check "a namespace gets its defaults" bash -c "'$KUBECTL' create namespace shop && for i in \$(seq 50); do '$KUBECTL' -n shop get sa/default cm/kube-root-ca.crt && exit 0; sleep 0.1; done; exit 1"
check "something in it" k -n shop create deployment d --image=docker.io/xebec/test:1
check "delete the namespace with its contents" k delete namespace shop --timeout=90s
check "it is gone" says "NotFound" k get namespace shop
check "metrics of the server" says "apiserver_request_total" k get --raw /metrics
check "metrics of a node" says "xebec_.*publish" on_node 1 curl -sS "http://127.0.0.1:10249/metrics"

check "down" "$X" down --name "$NAME" --data-dir "$DATA"
traces() {
	local bad=0
	[ -e "/run/xebec/$NAME" ] && echo "/run/xebec/$NAME" && bad=1
	[ -e "/sys/fs/bpf/xebec/$n1" ] && echo "pins" && bad=1
	[ -n "$(find /sys/fs/cgroup -maxdepth 3 -type d -path "*xebec/$NAME" 2>/dev/null)" ] && echo cgroups && bad=1
	grep -q "$DATA\|/run/xebec/$NAME" /proc/mounts && echo mounts && bad=1
	pgrep -f "$DATA" && echo processes && bad=1
	return $bad
}
check "and leaves no trace" traces
tap_end
