#!/usr/bin/env bash
# `make run`: a 2-node cluster, the example, and a look at it from all sides. Leaves the cluster running.
set -eu
cd "$(dirname "$0")/.."
xebec=build/release/xebec
data=${XEBEC_DATA:-/var/lib/xebec/xebec}
export KUBECONFIG=$data/kubeconfig
net=/run/xebec/xebec/netns/net

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

if $xebec status | grep -q '^xebec .*running'; then
	say "A cluster runs already; using it"
else
	say "Starting a 2-node cluster"
	$xebec up --nodes 2 --data-dir "$data" --detach
fi

if ! command -v kubectl >/dev/null; then
	cat <<EOF

The cluster runs, but there is no kubectl on this machine to deploy the example with. Any version from 1.27 on will do:
  export KUBECONFIG=$KUBECONFIG
  kubectl apply -f tools/example.yaml
EOF
	exit 0
fi
kubectl=$(command -v kubectl)

say "Deploying tools/example.yaml"
$kubectl apply -f tools/example.yaml
$kubectl rollout status deployment/web --timeout=120s
$kubectl wait --for=condition=Ready pod/client --timeout=60s

say "Nodes and pods"
$kubectl get nodes -o wide
$kubectl get pods -o wide

ip=$($kubectl get service web -o 'jsonpath={.spec.clusterIP}')
node=$($kubectl get nodes -o 'jsonpath={.items[0].status.addresses[0].address}')
say "Service web: ClusterIP $ip:80, node port $node:30080"
$kubectl get service web

say "Ten requests from the pod 'client' to the ClusterIP; who answered:"
$kubectl exec client -- xtest get "$ip" 80 / 10 | sort | uniq -c

say "Ten requests from outside the nodes to the node port; who answered:"
for _ in 1 2 3 4 5 6 7 8 9 10; do
	nsenter --net=$net curl -s --max-time 5 "http://$node:30080/"
done | sort | uniq -c

say "The same, as the kernel of node-1 sees it (xebec lb)"
$xebec lb services --node node-1
$xebec lb backends --node node-1
$xebec lb connections --node node-1 | head -8

say "And raw (bpftool map dump pinned /sys/fs/bpf/xebec/node-1/svc4)"
bpftool map dump pinned /sys/fs/bpf/xebec/node-1/svc4 | head -24

say "The cluster keeps running. Try:"
cat <<EOF
  export KUBECONFIG=$KUBECONFIG
  kubectl scale deployment/web --replicas=5 && kubectl get endpointslices -w
  kubectl delete pod -l app=web --wait=false; kubectl get pods -w
  kubectl exec -it client -- sh
  kubectl port-forward service/web 8000:80
  $xebec lb services --node node-2
  sudo make down          # removes every trace
EOF
