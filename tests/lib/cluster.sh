# A throw-away local cluster for end-to-end tests. Sets X (xebec), NAME, DATA, KUBECONFIG, k (kubectl), and removes all at exit.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/tests/lib/tap.sh"
X=$root/build/release/xebec
NAME=${NAME:-t$$}
PORT=${PORT:-$((20000 + $$ % 10000))}
DATA=$(mktemp -d /tmp/xebec-e2e-XXXXXX)
export KUBECONFIG=$DATA/kubeconfig
HOME=$DATA # no cache or configuration of the user

cluster_end() {
	local rc=$?
	if [ "$tap_bad" -gt 0 ]; then
		for f in /run/xebec/"$NAME"/*.log /run/xebec/"$NAME".failed/*.log; do
			[ -s "$f" ] && { echo "# --- $f"; tail -25 "$f" | sed 's/^/# /'; }
		done
	fi
	"$X" down --name "$NAME" >/dev/null 2>&1
	rm -rf "$DATA" "/run/xebec/$NAME.failed"
	exit $rc
}
trap cluster_end EXIT
trap 'exit 130' INT TERM

# cluster_start [NODES]
cluster_start() {
	"$X" up --nodes "${1:-2}" --name "$NAME" --data-dir "$DATA" --listen "127.0.0.1:$PORT" --kubeconfig "$KUBECONFIG" --detach
}

# Every kubectl there is, "version path" lines: the one on PATH and versioned ones beside where it really lies.
kubectls() {
	local p dir
	p=$(command -v kubectl) || return 0
	dir=$(dirname "$(readlink -f "$p")")
	for f in "$dir"/kubectl.1.*; do [ -x "$f" ] && echo "${f##*kubectl.} $f"; done
	[ -x "$dir/kubectl.1.33" ] || echo "path $p"
}

# The newest kubectl, or the one given by KUBECTL.
k() { "$KUBECTL" --request-timeout=30s "$@"; }
KUBECTL=${KUBECTL:-$(kubectls | sort -V | tail -1 | cut -d' ' -f2)}
if [ -z "$KUBECTL" ]; then
	skip "end-to-end tests" "no kubectl on this machine"
	trap - EXIT
	rm -rf "$DATA"
	exit 0
fi

# in_net CMD...: run it outside the cluster's nodes, on their network (the bridge namespace)
in_net() { nsenter --net="/run/xebec/$NAME/netns/net" "$@"; }
# on_node N CMD...
on_node() {
	local n=$1
	shift
	nsenter --net="/run/xebec/$NAME/netns/$NAME-node-$n" "$@"
}
pid_of() { pgrep -f "$1" | head -1; }
