#!/usr/bin/env bash
# Fails on an include that goes upwards or sideways. Rows: a folder, then the folders it may include (itself is implied).
set -u
cd "$(dirname "$0")/.." || exit 1
rows='
bpf            : include/xebec/abi
control/base   : include/xebec/base
control/api    : include/xebec/base
control/store  : include/xebec/base
control/client : include/xebec/base include/xebec/client
control/apiserver   : include/xebec/base control/api control/store
control/controllers : include/xebec/base include/xebec/client control/api
control/scheduler   : include/xebec/base include/xebec/client control/api
control/kubelet     : include/xebec/base include/xebec/client control/api
dataplane           : include/xebec/base include/xebec/client include/xebec/abi bpf
control/cluster     : include/xebec/base include/xebec/client control/api
control/roles       : include/xebec control dataplane
'
bad=0
while IFS=: read -r dir allowed; do
	dir=${dir// /}
	[ -n "$dir" ] && [ -d "$dir" ] || continue
	while IFS=: read -r file line inc; do
		inc=$(sed -n 's/^#include "\(.*\)".*/\1/p' <<<"$inc")
		for root in include control "" "$(dirname "$file")"; do
			p=${root:+$root/}$inc
			[ -f "$p" ] && break
			p=
		done
		[ -n "$p" ] || continue # generated
		case "$p" in "$dir"/*) continue ;; esac
		ok=
		for a in $allowed; do case "$p" in "$a"/*) ok=1 ;; esac; done
		[ -n "$ok" ] || { echo "$file:$line: $dir may not include $p"; bad=1; }
	done < <(grep -rnE '^#include "' --include='*.[ch]' "$dir")
done <<<"$rows"
exit $bad
