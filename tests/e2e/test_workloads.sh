#!/usr/bin/env bash
# A DaemonSet lands on both nodes, rolls, and kubectl rollout history and undo work.
. "$(dirname "$0")/../lib/cluster.sh"

check "cluster" cluster_start 2 || exit 1
cat >"$DATA/ds.yaml" <<Y
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: agent, image: "docker.io/xebec/test:1", args: [serve], env: [{name: V, value: "1"}]}
Y
nodes_of() { k get pods -l app=agent -o jsonpath='{.items[*].spec.nodeName}' | tr ' ' '\n' | sort | tr '\n' ' '; }
versions() { k get pods -l app=agent -o jsonpath='{.items[*].spec.containers[0].env[0].value}'; }
check "daemonset" k apply -f "$DATA/ds.yaml"
check "rolled out" k rollout status ds/agent --timeout=40s
check "one pod a node" same "$NAME-node-1 $NAME-node-2 " nodes_of
check "new template" k set env ds/agent V=2
check "rolls" k rollout status ds/agent --timeout=40s
check "everywhere" within 10 same "2 2" versions
check "history" says '^2 ' k rollout history ds/agent
check "undo" k rollout undo ds/agent
check "rolls back" k rollout status ds/agent --timeout=40s
check "the old template" within 10 same "1 1" versions
check "undo is revision 3" says '^3 ' k rollout history ds/agent
check "deleted" k delete ds agent --timeout=20s
check "no pod is left" within 20 same "" versions
tap_end
