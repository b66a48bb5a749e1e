#!/usr/bin/env bash
# Makes the container images of a local cluster, as OCI tars, from static binaries: tools/images.sh OUTDIR
#   docker.io/local/pause:1   the sandbox container
#   docker.io/xebec/test:1    xtest + busybox: example and tests
set -eu
out=$1
here=$(dirname "$0")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$out"

sha() { sha256sum "$1" | cut -d' ' -f1; }

# put FILE: moves FILE into the blob store, prints "digest size"
put() {
	local d s
	d=$(sha "$1") s=$(stat -c %s "$1")
	mv "$1" "$tmp/oci/blobs/sha256/$d"
	echo "$d $s"
}

# image NAME ROOTFS CONFIG-JSON FILE
image() {
	local name=$1 root=$2 config=$3 file=$4 diff ld ls cd cs md ms
	rm -rf "$tmp/oci"
	mkdir -p "$tmp/oci/blobs/sha256"
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$root" -cf "$tmp/layer" .
	diff=$(sha "$tmp/layer")
	read -r ld ls < <(put "$tmp/layer")
	printf '{"architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
		"$config" "$diff" >"$tmp/config"
	read -r cd cs < <(put "$tmp/config")
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d}]}' \
		"$cd" "$cs" "$ld" "$ls" >"$tmp/manifest"
	read -r md ms < <(put "$tmp/manifest")
	printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%d,"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"},"platform":{"architecture":"amd64","os":"linux"}}]}' \
		"$md" "$ms" "$name" "${name##*:}" >"$tmp/oci/index.json"
	echo '{"imageLayoutVersion":"1.0.0"}' >"$tmp/oci/oci-layout"
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$tmp/oci" -cf "$out/$file.tmp" .
	mv "$out/$file.tmp" "$out/$file"
}

mkdir -p "$tmp/pause"
${CC:-gcc} -Os -static -s -o "$tmp/pause/pause" "$here/images/pause.c"
image docker.io/local/pause:1 "$tmp/pause" '{"Entrypoint":["/pause"]}' pause.tar

mkdir -p "$tmp/test/bin" "$tmp/test/tmp" "$tmp/test/etc"
${CC:-gcc} -Os -static -s -pthread -w -o "$tmp/test/bin/xtest" "$here/images/xtest.c"
cp "$(command -v busybox)" "$tmp/test/bin/busybox"
for a in $("$tmp/test/bin/busybox" --list | grep -vx busybox); do ln -sf busybox "$tmp/test/bin/$a"; done
chmod 1777 "$tmp/test/tmp"
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$tmp/test/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$tmp/test/etc/group"
image docker.io/xebec/test:1 "$tmp/test" '{"Entrypoint":["/bin/xtest"],"Cmd":["serve"],"Env":["PATH=/bin"],"WorkingDir":"/"}' test.tar
