#!/usr/bin/env bash
# `xebec up` itself: two clusters side by side, the foreground, Ctrl-C, starting again on kept data, bad options.
. "$(dirname "$0")/../lib/cluster.sh"
other=${NAME}b oport=$((PORT + 1)) odata=$DATA/other

up_bad() { "$X" up "$@" </dev/null; }
check "bad node count" says "want a number" up_bad --nodes 0
check "bad name" says "cluster name" up_bad --name 'a/b'
check "unknown option: usage" says "usage: xebec up" up_bad --frobnicate
check "bad listen address" says "failed: --listen" up_bad --name "$NAME" --data-dir "$DATA" --listen "127.0.0.1:99999"
check "nothing is left of a start that failed" bash -c "[ ! -e /run/xebec/$NAME ] || ls /run/xebec/$NAME"
check "down of what is not there succeeds" "$X" down --name "$NAME-none"

check "first cluster" cluster_start 1
check "its port is taken" says "Address already in use" up_bad --name "$other" --data-dir "$odata" --listen "127.0.0.1:$PORT"
check "and nothing is left of that" test ! -e "/run/xebec/$other" -a ! -e "/run/xebec/$other.failed"
check "second cluster beside it, with a run directory of its own" "$X" up --name "$other" --run-dir "/run/$other.d" --data-dir "$odata" --listen "127.0.0.1:$oport" --kubeconfig "$DATA/other.kubeconfig" --detach
check "each has its own node" says "^$NAME-node-1 +Ready" k get nodes
check "each has its own node (2)" says "^$other-node-1 +Ready" k --kubeconfig "$DATA/other.kubeconfig" get nodes
check "a pod in the first" k run p --image=docker.io/xebec/test:1
check "and in the second" k --kubeconfig "$DATA/other.kubeconfig" run p --image=docker.io/xebec/test:1
check "runs" k wait --for=condition=Ready pod/p --timeout=60s
check "runs (2)" k --kubeconfig "$DATA/other.kubeconfig" wait --for=condition=Ready pod/p --timeout=60s
check "status finds both" says "^$other .*running" "$X" status
check "down of the second, by its name alone" "$X" down --name "$other"
check "its run directory is gone" test ! -e "/run/$other.d" -a ! -L "/run/xebec/$other"
check "the first does not notice" k exec p -- true
check "down, keeping the data" "$X" down --name "$NAME" --keep-data

# not inside check: a subshell would take the process with it
"$X" up --name "$NAME" --data-dir "$DATA" --listen "127.0.0.1:$PORT" --kubeconfig "$KUBECONFIG" >"$DATA/up.out" 2>&1 &
fg=$!
check "in the foreground, on the kept data" within 30 grep -q "node.* Ready" "$DATA/up.out"
check "the pod of before runs again" k wait --for=condition=Ready pod/p --timeout=60s
interrupted() {
	kill -INT $fg
	within 15 gone $fg
}
gone() { ! kill -0 "$1" 2>/dev/null; }
check "Ctrl-C ends it" interrupted
check "no namespace, mount or pin is left" bash -c "[ ! -e /run/xebec/$NAME ] && [ ! -e /sys/fs/bpf/xebec/$NAME-node-1 ] && ! grep -q '$DATA' /proc/mounts"
no_process() { ! pgrep -af "data-dir $DATA"; }
check "no process is left" within 5 no_process
check "the data is kept" test -d "$DATA/server/store"
check "down removes it too" "$X" down --name "$NAME" --data-dir "$DATA"
check "and it is gone" test ! -e "$DATA/server"
tap_end
