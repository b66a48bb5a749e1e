#!/usr/bin/env bash
# Installs the Debian 12 packages that building, running and testing need; does nothing when all are there.
set -eu
build="gcc make pkg-config clang llvm bpftool libbpf-dev libelf-dev zlib1g-dev libyaml-dev libjansson-dev libmnl-dev libnghttp2-dev libssl-dev libpcre2-dev"
run="containerd runc iproute2 util-linux busybox-static"
test="nftables libcmocka-dev python3 python3-kubernetes clang-format git curl procps"
# Any kubectl will do; Debian's own where there is none.
command -v kubectl >/dev/null || test="$test kubernetes-client"
missing=
for p in $build $run $test; do
	dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# A package must not start a service of its own here: every node runs a private containerd.
policy=/usr/sbin/policy-rc.d
[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && trap 'rm -f $policy' EXIT; }
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
