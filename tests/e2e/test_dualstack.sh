#!/usr/bin/env bash
# A cluster with both families, its nodes joined by VXLAN: addresses of nodes, pods and services, and traffic by both.
. "$(dirname "$0")/../lib/cluster.sh"

start() { "$X" up --nodes 2 --name "$NAME" --data-dir "$DATA" --listen "127.0.0.1:$PORT" --kubeconfig "$KUBECONFIG" --dual-stack --routing vxlan --detach; }
check "up --dual-stack --routing vxlan" start || exit 1
check "a routing that is none is refused" says "is not auto, direct or vxlan" "$X" up --name other --routing x

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
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: docker.io/xebec/test:1
        args: [serve]
        env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: both}
spec:
  type: NodePort
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: six}
spec: {ipFamilies: [IPv6], selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: four}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: docker.io/xebec/test:1, command: [sleep, "100000"]}]
Y
get() { k get "$@"; }
both_in() { # both_in WANT FORMAT CMD...: the words of jsonpath's answer
	local want=$1
	shift
	local got
	got=$("$@")
	[[ $got =~ $want ]] || { echo "got '$got', want $want"; return 1; }
}
answers() { # answers WHERE ADDRESS PORT: both pods do
	local n
	n=$("$@" 2>&1 | grep '^web-' | sort -u | grep -c .)
	[ "$n" -eq 2 ] || { echo "$n of 2 pods answer"; "$@" | sort | uniq -c; return 1; }
}
from_pod() { k exec client -- xtest get "$1" "$2" / 24; }
curls() { # curls CMD ADDRESS PORT
	local host=$2 i
	[[ $2 == *:* ]] && host="[$2]"
	for ((i = 0; i < 24; i++)); do "$1" curl -sS --max-time 3 "http://$host:$3/"; done
}
from_outside() { curls in_net "$@"; }
node_one() { on_node 1 "$@"; }
from_node() { curls node_one "$@"; }

check "apply" k apply -f "$DATA/web.yaml"
check "rollout" k rollout status deployment/web --timeout=90s
check "the client pod is Ready" k wait --for=condition=Ready pod/client --timeout=60s
check "nodes have two addresses" both_in '^172.18.0.2 fd00:172:18::2$' get node "$NAME-node-1" -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}'
check "nodes have two pod ranges" both_in '^10.244.[0-9]+.0/24 fd00:10:244:[0-9a-f:]*:/64$' get node "$NAME-node-1" -o 'jsonpath={.spec.podCIDRs[*]}'
check "pods have two addresses" both_in '^10.244.[0-9.]+ fd00:10:244:' get pod client -o 'jsonpath={.status.podIPs[*].ip}'
check "so says the pod itself" both_in 'fd00:10:244:' k exec client -- ip -6 addr show dev eth0
check "a service with both families" both_in '^10.96.[0-9.]+ fd00:10:96::' get svc both -o 'jsonpath={.spec.clusterIPs[*]}'
check "a service by IPv6 alone" both_in '^\["fd00:10:96::[0-9a-f]+"\] \["IPv6"\] SingleStack$' get svc six -o 'jsonpath={.spec.clusterIPs} {.spec.ipFamilies} {.spec.ipFamilyPolicy}'
check "a service that does not ask is IPv4's" both_in '^\["IPv4"\] SingleStack$' get svc four -o 'jsonpath={.spec.ipFamilies} {.spec.ipFamilyPolicy}'
check "endpoint slices of each family" both_in '^IPv4 IPv6$' sh -c "$KUBECTL get endpointslices -l kubernetes.io/service-name=both -o 'jsonpath={range .items[*]}{.addressType}{\"\\n\"}{end}' | sort | xargs"

four=$(get svc both -o 'jsonpath={.spec.clusterIPs[0]}') six=$(get svc both -o 'jsonpath={.spec.clusterIPs[1]}')
only=$(get svc six -o 'jsonpath={.spec.clusterIP}')
check "the services are programmed" within 20 answers from_pod "$six" 80
for who in from_pod from_node; do
	check "$who: IPv4 service" answers $who "$four" 80
	check "$who: IPv6 service" answers $who "$six" 80
	check "$who: service with IPv6 alone" answers $who "$only" 80
done
check "from outside: node port by IPv4" answers from_outside 172.18.0.2 30080
check "from outside: node port by IPv6" answers from_outside fd00:172:18::3 30080
check "a pod is told both of its addresses" both_in '^10.244.[0-9.]+,fd00:10:244:' k exec client -- xtest get "$six" 80 '/env?name=WHO'
check "names resolve" both_in "^web-" k exec client -- xtest get both.default.svc.cluster.local 80 / 1
check "xebec lb lists both" both_in "\\[$six\\]:80" "$X" lb services
check "down to one family" k patch svc both --type merge -p '{"spec":{"ipFamilyPolicy":"SingleStack","ipFamilies":["IPv4"],"clusterIPs":["'"$four"'"]}}'
check "and up again" k patch svc both --type merge -p '{"spec":{"ipFamilyPolicy":"RequireDualStack"}}'
check "has two again" both_in "^$four fd00:10:96::" get svc both -o 'jsonpath={.spec.clusterIPs[*]}'
tap_end
