#!/usr/bin/env bash
# What a pod's specification can say, on one real node: containers, probes, volumes, termination, failures.
. "$(dirname "$0")/../lib/cluster.sh"

check "cluster" cluster_start 1 || exit 1
node=$NAME-node-1
img=docker.io/xebec/test:1

# pod NAME <<spec: a pod bound to the node; the specification is indented by two
pod() {
	{
		printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s, labels: {app: %s}, annotations: {note: "hello"}}\n' "$1" "$1"
		printf 'spec:\n  nodeName: %s\n  terminationGracePeriodSeconds: %s\n' "$node" "${2:-1}"
		cat
	} | k apply -f -
}
field() { k get pod "$1" -o "jsonpath=$2"; }
phase() { same "$2" field "$1" '{.status.phase}'; }
event() { says "$2" k get events --field-selector "involvedObject.name=$1"; }
sh_in() { # POD COMMAND
	local p=$1
	shift
	k exec "$p" -- sh -c "$*"
}

k create configmap conf --from-literal=color=red --from-literal=size=10 >/dev/null
k create secret generic sec --from-literal=pass=s3cret >/dev/null

check "create: many kinds of pods" pod env <<Y
  containers:
  - name: c
    image: $img
    command: [sh, -c, 'sleep 1000; echo "\$0"']
    args: ["\$(COLOR)"]
    workingDir: /tmp
    env:
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: PLAIN, value: "a \$(NODE) \$\$(NODE)"}
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: conf, key: color}}}
    - {name: PASS, valueFrom: {secretKeyRef: {name: sec, key: pass}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    - {name: AFTER, value: "\$(COLOR)-\$(NONE)"}
    envFrom: [{prefix: C_, configMapRef: {name: conf}}]
    resources: {limits: {cpu: 200m, memory: 32Mi}}
    securityContext: {runAsUser: 1000, runAsGroup: 2000, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
    volumeMounts: [{name: t, mountPath: /tmp}]
  volumes: [{name: t, emptyDir: {}}]
Y
pod vols <<Y >/dev/null
  securityContext: {fsGroup: 4000}
  containers:
  - name: c
    image: $img
    command: [sleep, "1000"]
    volumeMounts:
    - {name: disk, mountPath: /disk}
    - {name: mem, mountPath: /mem}
    - {name: conf, mountPath: /conf}
    - {name: sec, mountPath: /sec, readOnly: true}
    - {name: down, mountPath: /down}
    - {name: all, mountPath: /all}
    - {name: disk, mountPath: /sub, subPath: a/b}
    - {name: conf, mountPath: /one/color, subPath: color}
    - {name: host, mountPath: /host}
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: conf, configMap: {name: conf, items: [{key: color, path: dir/colour, mode: 0400}, {key: color, path: color}]}}
  - {name: sec, secret: {secretName: sec, defaultMode: 0400}}
  - {name: down, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: all, projected: {sources: [{configMap: {name: conf}}, {secret: {name: sec}}, {serviceAccountToken: {path: token, audience: me, expirationSeconds: 600}}, {configMap: {name: nope, optional: true}}]}}
  - {name: host, hostPath: {path: $DATA/hostdir, type: DirectoryOrCreate}}
Y
pod init <<Y >/dev/null
  initContainers:
  - {name: one, image: $img, command: [sh, -c, "echo one > /w/log"], volumeMounts: [{name: w, mountPath: /w}]}
  - {name: side, image: $img, restartPolicy: Always, command: [sh, -c, "echo side >> /w/log; exec sleep 1000"], startupProbe: {exec: {command: [grep, -q, side, /w/log]}, periodSeconds: 1}, volumeMounts: [{name: w, mountPath: /w}]}
  - {name: two, image: $img, command: [sh, -c, "sleep 0.5; echo two >> /w/log"], volumeMounts: [{name: w, mountPath: /w}]}
  containers:
  - {name: a, image: $img, command: [sh, -c, "cat /w/log; exec sleep 1000"], volumeMounts: [{name: w, mountPath: /w}]}
  - {name: b, image: $img, command: [sleep, "1000"]}
  volumes: [{name: w, emptyDir: {}}]
Y
pod once <<Y >/dev/null
  restartPolicy: Never
  containers:
  - {name: ok, image: $img, command: [sh, -c, "echo out; echo err >&2; echo the end > /dev/termination-log"]}
Y
pod fails <<Y >/dev/null
  restartPolicy: Never
  containers:
  - {name: bad, image: $img, command: [sh, -c, "echo why; exit 7"], terminationMessagePolicy: FallbackToLogsOnError}
Y
pod crash <<Y >/dev/null
  containers:
  - {name: c, image: $img, command: [sh, -c, "echo run; exit 1"]}
Y
pod noimage <<Y >/dev/null
  containers:
  - {name: c, image: "127.0.0.1:9/none:1"}
Y
pod never <<Y >/dev/null
  containers:
  - {name: c, image: "docker.io/xebec/absent:1", imagePullPolicy: Never}
Y
pod noconf <<Y >/dev/null
  containers:
  - {name: c, image: $img, command: [sleep, "1000"], env: [{name: X, valueFrom: {configMapKeyRef: {name: later, key: x}}}]}
Y
pod novol <<Y >/dev/null
  containers:
  - {name: c, image: $img, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, secret: {secretName: later}}]
Y
pod badcmd <<Y >/dev/null
  containers:
  - {name: c, image: $img, command: [/no/such/program]}
Y
pod nonroot <<Y >/dev/null
  containers:
  - {name: c, image: $img, command: [sleep, "1"], securityContext: {runAsNonRoot: true}}
Y
pod probes <<Y >/dev/null
  containers:
  - name: c
    image: $img
    args: [serve]
    readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
    livenessProbe: {httpGet: {path: /healthz, port: web}, periodSeconds: 1, failureThreshold: 2}
    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
    ports: [{name: web, containerPort: 8080}]
    volumeMounts: [{name: t, mountPath: /tmp}]
  volumes: [{name: t, emptyDir: {}}]
Y
pod hooks 10 <<Y >/dev/null
  containers:
  - name: c
    image: $img
    command: [sh, -c, "trap 'echo term >> /h/log; exit 0' TERM; while :; do sleep 0.1; done"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo post > /h/log"]}}
      preStop: {exec: {command: [sh, -c, "echo pre >> /h/log"]}}
    volumeMounts: [{name: h, mountPath: /h}]
  volumes: [{name: h, hostPath: {path: $DATA/hooks, type: DirectoryOrCreate}}]
Y
pod hostnet <<Y >/dev/null
  hostNetwork: true
  hostPID: true
  containers:
  - {name: c, image: $img, command: [sleep, "1000"]}
Y
pod oom <<Y >/dev/null
  restartPolicy: Never
  containers:
  - {name: c, image: $img, args: [alloc, "64"], resources: {limits: {memory: 16Mi}}}
Y
pod deadline <<Y >/dev/null
  activeDeadlineSeconds: 2
  containers:
  - {name: c, image: $img, command: [sleep, "1000"]}
Y

for p in env vols init hostnet; do check "$p runs" within 20 phase $p Running; done
check "env values" same "a $node \$($(echo NODE)) red s3cret 200 red-\$(NONE) 10" sh_in env 'echo "$PLAIN $COLOR $PASS $CPU $AFTER $C_size"'
check "user, group, work dir" same "1000 2000 /tmp" sh_in env 'echo $(id -u) $(id -g) $(pwd)'
check "read-only root" says "Read-only" sh_in env 'echo > /x'
check "no capabilities, seccomp, no new privileges" same "0000000000000000 2 1" sh_in env 'echo $(grep -E "^CapBnd" /proc/self/status | cut -f2) $(grep -E "^Seccomp:" /proc/self/status | cut -f2) $(grep NoNewPrivs /proc/self/status | cut -f2)'
check "service account is mounted" same "default ca.crt namespace service-ca.crt token" sh_in env 'cd /var/run/secrets/kubernetes.io/serviceaccount; echo $(cat namespace) *'
check "quality of service" same Guaranteed field env '{.status.qosClass}'
check "memory limit" same 33554432 sh_in env 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes'
check "emptyDir and subPath" same "x" sh_in vols 'echo x > /sub/f; cat /disk/a/b/f'
check "emptyDir in memory" says "tmpfs.* /mem|/mem tmpfs" sh_in vols 'grep " /mem " /proc/mounts'
check "configMap items and modes" same "red 440" sh_in vols 'echo $(cat /conf/dir/colour) $(stat -L -c %a /conf/dir/colour)'
check "configMap subPath" same red sh_in vols 'cat /one/color'
check "secret" same "s3cret 440" sh_in vols 'echo $(cat /sec/pass) $(stat -L -c %a /sec/pass)'
check "downward labels" same 'app="vols"' sh_in vols 'cat /down/labels'
check "projected" same "color pass size token" sh_in vols 'cd /all; echo *'
check "fsGroup" same "4000" sh_in vols 'stat -c %g /disk'
check "hostPath" test -d "$DATA/hostdir"
k create configmap conf --from-literal=color=blue --from-literal=size=10 --dry-run=client -o yaml | k apply -f - >/dev/null 2>&1
check "a configMap's change reaches the pod" within 3 same blue sh_in vols 'cat /conf/color'
k label pod vols extra=1 >/dev/null
check "a label's change reaches the pod" within 3 says 'extra="1"' sh_in vols 'cat /down/labels'
check "init order, sidecar" same "one side two" k exec init -c a -- sh -c 'echo $(cat /w/log)'
check "logs of a container" says two k logs init -c a
check "two containers ready" same "true true" field init '{.status.containerStatuses[*].ready}'
check "host network" same "$(field hostnet '{.status.hostIP}')" field hostnet '{.status.podIP}'
check "once succeeds" within 10 phase once Succeeded
check "termination message" same "the end" field once '{.status.containerStatuses[0].state.terminated.message}'
check "logs of both streams" same "err out" echo $(k logs once | sort) # each has a pipe of its own: their order is the runtime's
check "fails fails" within 10 phase fails Failed
check "exit code" same 7 field fails '{.status.containerStatuses[0].state.terminated.exitCode}'
check "message from the log" same why field fails '{.status.containerStatuses[0].state.terminated.message}'
check "crash loop" within 20 same CrashLoopBackOff field crash '{.status.containerStatuses[0].state.waiting.reason}'
check "previous log" same run k logs crash --previous
check "BackOff event" within 5 event crash BackOff
check "ErrImagePull, then ImagePullBackOff" within 20 same ImagePullBackOff field noimage '{.status.containerStatuses[0].state.waiting.reason}'
check "events of a failed pull" says "Pulling.*|Failed to pull" k get events --field-selector involvedObject.name=noimage
check "ErrImageNeverPull" within 5 same ErrImageNeverPull field never '{.status.containerStatuses[0].state.waiting.reason}'
check "missing configMap in env" within 5 same CreateContainerConfigError field noconf '{.status.containerStatuses[0].state.waiting.reason}'
check "missing secret volume" within 5 event novol 'FailedMount.*secret "later" not found'
k create configmap later --from-literal=x=1 >/dev/null
k create secret generic later --from-literal=x=1 >/dev/null
check "... and runs when it appears" within 8 phase noconf Running
check "... and so does the volume's pod" within 8 phase novol Running
check "bad command" within 10 says "no such file|not found" k get pod badcmd -o yaml
check "runAsNonRoot refuses root" within 5 says "image will run as root" field nonroot '{.status.containerStatuses[0].state.waiting.message}'
check "started, not ready" within 10 same "true false" field probes '{.status.containerStatuses[0].started} {.status.containerStatuses[0].ready}'
check "condition says why" same ContainersNotReady field probes '{.status.conditions[?(@.type=="Ready")].reason}'
sh_in probes 'touch /tmp/ready'
check "ready when the probe passes" within 5 same true field probes '{.status.containerStatuses[0].ready}'
sh_in probes 'wget -qO- http://127.0.0.1:8080/fail' >/dev/null 2>&1
check "liveness restarts" within 15 same 1 field probes '{.status.containerStatuses[0].restartCount}'
check "Unhealthy and Killing events" within 5 event probes "failed liveness probe"
check "OOMKilled" within 15 same OOMKilled field oom '{.status.containerStatuses[0].state.terminated.reason}'
check "active deadline" within 15 same "Failed DeadlineExceeded" field deadline '{.status.phase} {.status.reason}'
check "hooks pod runs" within 10 phase hooks Running
check "deleting hooks" k delete pod hooks --timeout=20s
check "postStart, preStop, SIGTERM in order" same "post pre term" echo $(cat "$DATA/hooks/log")

# A container killed behind our back, and the kubelet killed at work.
cid=$(field hostnet '{.status.containerStatuses[0].containerID}')
before=$(field vols '{.status.containerStatuses[0].containerID}')
pkill -9 -f "xebec node --name $node"
check "node comes back" within 20 says "Ready" k get node "$node"
sleep 2
check "adopted, not restarted" same "$before 0" field vols '{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}'
check "the same host network pod" same "$cid" field hostnet '{.status.containerStatuses[0].containerID}'
check "volume still follows its configMap" k patch configmap conf --type=merge -p '{"data":{"color":"green"}}'
check "... in the adopted pod" within 5 same green sh_in vols 'cat /conf/color'
k exec hostnet -- sh -c 'kill -9 $(pgrep -f "sleep 1000" | head -1)' >/dev/null 2>&1

# bound claims: a local volume with fsGroup, and one that names a volume of somebody else.
mkdir -p "$DATA/local/d" && echo kept >"$DATA/local/d/f" && chmod 600 "$DATA/local/d/f"
claim() { # NAME VOLUME
	k apply -f - <<Y >/dev/null
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec: {accessModes: [ReadWriteOnce], storageClassName: "", volumeName: $2, resources: {requests: {storage: 1Mi}}}
Y
	k patch pvc "$1" --subresource=status --type=merge -p '{"status":{"phase":"Bound"}}' >/dev/null
}
claim mine pv-mine
claim thief pv-mine
k apply -f - <<Y >/dev/null
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-mine}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Mi}
  storageClassName: ""
  claimRef: {namespace: default, name: mine, uid: $(k get pvc mine -o 'jsonpath={.metadata.uid}')}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$node]}]}]}}
  local: {path: $DATA/local}
Y
pod claims <<Y >/dev/null
  securityContext: {runAsUser: 1000, fsGroup: 4000}
  containers:
  - {name: c, image: $img, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, persistentVolumeClaim: {claimName: mine}}]
Y
pod stolen <<Y >/dev/null
  containers:
  - {name: c, image: $img, command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, persistentVolumeClaim: {claimName: thief}}]
Y
check "a claim's local volume is mounted" within 10 phase claims Running
check "... its files are the fsGroup's, and writable" same "kept 4000 660" sh_in claims 'echo new > /v/g; echo $(cat /v/d/f) $(stat -c "%g %a" /v/d/f)'
check "a claim can not take another's volume" within 8 event stolen 'FailedMount.*not bound to persistentvolumeclaim'

check "delete them all" k delete pods --all --timeout=60s
check "a claim's files stay" same "kept new" echo $(cat "$DATA/local/d/f" "$DATA/local/g")
check "no sandbox is left" within 10 same "" sh -c "ctr -a /run/xebec/$NAME/$node/containerd.sock -n k8s.io containers ls -q"
check "no volume is left" within 10 same "" ls "$DATA/$node/kubelet/pods"
check "no mount is left" sh -c "! grep -q $DATA/$node/kubelet/pods /proc/mounts"
check "no cgroup is left" within 5 same "" sh -c "find /sys/fs/cgroup/memory/xebec/$NAME -name 'pod*' -type d"
tap_end
