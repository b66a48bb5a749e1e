#!/usr/bin/env bash
# kill -9 of every part: nothing acknowledged is lost, traffic goes on, everything heals.
. "$(dirname "$0")/../lib/cluster.sh"

check "cluster" cluster_start 2 || exit 1
n1=$NAME-node-1
cat >"$DATA/web.yaml" <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: docker.io/xebec/test:1
        args: [serve]
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
        livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 2}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
Y
check "deployment and service" k apply -f "$DATA/web.yaml"
check "rolled out" k rollout status deployment/web --timeout=90s
np=$(k get service web -o jsonpath='{.spec.ports[0].nodePort}')
ip=$(k get node "$n1" -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}')
check "the service answers" within 20 in_net curl -sSf --max-time 2 "http://$ip:$np/"

# A request every 20 ms in the background; failures go to $DATA/lost.
traffic_start() {
	: >"$DATA/lost" && : >"$DATA/sent" && : >"$DATA/run"
	in_net bash -c "while [ -e '$DATA/run' ]; do
		curl -sf --max-time 2 -o /dev/null http://$ip:$np/ || echo \$? >>'$DATA/lost'
		echo >>'$DATA/sent'; sleep 0.02
	done" &
	traffic=$!
}
traffic_lost_none() {
	rm -f "$DATA/run"
	wait $traffic 2>/dev/null
	local lost sent
	lost=$(wc -l <"$DATA/lost") sent=$(wc -l <"$DATA/sent")
	[ "$lost" -eq 0 ] && [ "$sent" -gt 5 ] && return 0
	echo "$lost of $sent requests failed"
	return 1
}
killed() { # killed PATTERN: kill -9 and wait until another process has taken its place
	local pid
	pid=$(pgrep -f -- "$1" | head -1)
	[ -n "$pid" ] || { echo "no process matches $1"; return 1; }
	kill -9 "$pid"
	within 15 another "$1" "$pid"
}
another() { local now; now=$(pgrep -f -- "$1" | head -1); [ -n "$now" ] && [ "$now" != "$2" ]; }
api_up() { k get --raw /readyz; }
uids() { k get pods -l app=web -o jsonpath='{range .items[*]}{.metadata.uid}{" "}{.status.containerStatuses[0].containerID}{" "}{.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort; }

before=$(uids)
traffic_start
for i in $(seq 20); do k create configmap "before-$i" --from-literal=n=$i >>"$DATA/acked" 2>/dev/null; done
check "kill -9 of the server: it comes back" killed "server --data-dir $DATA"
check "the API answers again" within 20 api_up
check "every acknowledged write is there" same "$(wc -l <"$DATA/acked")" bash -c "'$KUBECTL' get configmaps -o name | grep -c before-"
check "writes work" k create configmap after --from-literal=a=b
check "traffic never stopped" traffic_lost_none
check "nodes stay Ready" says "$n1 +Ready" k get nodes
traffic_start
check "kill -9 of a node agent: it comes back" killed "node --name $n1 "
check "and adopts its pods: same containers, no restart" within 20 same "$before" uids
check "new pods start on the node again" bash -c "'$KUBECTL' run probe --image=docker.io/xebec/test:1 --overrides='{\"spec\":{\"nodeName\":\"$n1\"}}' && '$KUBECTL' wait --for=condition=Ready pod/probe --timeout=60s"
check "traffic never stopped" traffic_lost_none
traffic_start
check "kill -9 of containerd: it comes back" killed "containerd -c /run/xebec/$NAME/$n1/"
check "pods are kept" same "$before" uids
check "exec works again" within 20 k exec deploy/web -- true
check "traffic never stopped" traffic_lost_none

pod=$(k get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
id=$(k get pod "$pod" -o jsonpath='{.status.containerStatuses[0].containerID}')
id=${id#containerd://}
container_pid() { grep -lr "$1" /proc/[0-9]*/cgroup 2>/dev/null | head -1 | cut -d/ -f3; }
restarted() { [ "$(k get pod "$1" -o jsonpath='{.status.containerStatuses[0].restartCount}')" -ge "$2" ]; }
check "kill -9 of a container" kill -9 "$(container_pid "$id")"
check "it is restarted" within 30 restarted "$pod" 1
check "and Ready again" k wait --for=condition=Ready "pod/$pod" --timeout=60s
check "a failing liveness probe restarts it" bash -c "'$KUBECTL' exec $pod -- xtest get 127.0.0.1 8080 /fail"
check "restarted again" within 60 restarted "$pod" 2
check "the previous container's log" within 20 says "serves http" k logs "$pod" --previous

check "bad request: malformed JSON is a 400 Status" says '"reason":"BadRequest"|400' curl -sk --cert <(k config view --raw -o jsonpath='{.users[0].user.client-certificate-data}' | base64 -d) --key <(k config view --raw -o jsonpath='{.users[0].user.client-key-data}' | base64 -d) -H 'Content-Type: application/json' -d '{"kind":' "https://127.0.0.1:$PORT/api/v1/namespaces/default/pods"
check "unknown path: 404 Status" says "NotFound|404|could not find" k get --raw /apis/none/v1/things
check "a wrong token: 401" says '"code":401' curl -sk -H 'Authorization: Bearer x.y.z' "https://127.0.0.1:$PORT/api/v1/pods"
check "no credentials: the anonymous user may do nothing" says '"code":403' curl -sk "https://127.0.0.1:$PORT/api/v1/pods"

sup=$(pgrep -f -- "up --nodes 2 --name $NAME" | head -1)
check "kill -9 of the supervisor" kill -9 "$sup"
check "the cluster goes on" api_up
check "status says broken" within 5 says "^$NAME .*broken" "$X" status
check "up again removes what is left and continues with the same objects" cluster_start 2
check "the deployment is there and gets whole" k rollout status deployment/web --timeout=90s
check "and answers" within 20 in_net curl -sSf --max-time 2 "http://$ip:$np/"
sup=$(pgrep -f -- "up --nodes 2 --name $NAME" | head -1)
check "kill -9 of the supervisor once more" kill -9 "$sup"
check "down cleans up after it" "$X" down --name "$NAME" --data-dir "$DATA"
no_process() { ! pgrep -af "$DATA"; }
check "no process is left" no_process
check "no namespace, mount, pin is left" bash -c "[ ! -e /run/xebec/$NAME ] && [ ! -e /sys/fs/bpf/xebec/$n1 ] && ! grep -q '/run/xebec/$NAME' /proc/mounts"
tap_end
