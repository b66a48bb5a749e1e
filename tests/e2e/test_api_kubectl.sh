#!/usr/bin/env bash
# Real kubectl, every version found, against `xebec server` alone: no node, no container.
. "$(dirname "$0")/../lib/tap.sh"
cd "$(dirname "$0")/../.." || exit 1
X=$PWD/build/release/xebec
dirs="$(dirname "$(readlink -f "$(command -v kubectl)")" 2>/dev/null)"
mapfile -t versions < <(for d in $dirs; do ls "$d"/kubectl.1.* 2>/dev/null; done | sort -u)
[ ${#versions[@]} -gt 0 ] || mapfile -t versions < <(command -v kubectl)
if [ ${#versions[@]} -eq 0 ] || [ ! -x "$X" ]; then
	skip "kubectl against the API server" "no kubectl or no server"
	tap_end
	exit
fi

D=$(mktemp -d)
port=$((20000 + RANDOM % 20000))
"$X" server --data-dir "$D" --listen 127.0.0.1:$port 2>"$D/log" &
server=$!
cleanup() {
	kill $server 2>/dev/null
	wait $server 2>/dev/null
	rm -rf "$D"
}
trap cleanup EXIT
export KUBECONFIG=$D/admin.kubeconfig HOME=$D
within 20 test -s "$KUBECONFIG" >/dev/null
k() { timeout 30 "$K" -n "$ns" "$@"; }
status_is() { same "$1" k get "${@:2}"; }

deployment() {
	cat <<Y
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: $1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: c, image: "$2", ports: [{containerPort: 80}]}]
Y
}
bad_field() { deployment 1 a:1 | sed 's/replicas:/replicaz:/' | k apply -f - 2>&1 | grep -q 'unknown field "spec.replicaz"'; }
apply_deployment() { deployment "$@" | k apply -f -; }
diff_says() { deployment "$1" "$2" | k diff -f - | grep -q "$3"; }
explain_says() { k explain pods.spec.containers.livenessProbe | grep -q 'httpGet'; }
conflict() { # a stale object is refused
	local old
	old=$(k get cm settings -o json) || return 1
	k patch cm settings -p '{"data":{"b":"9"}}' >/dev/null || return 1
	echo "$old" | k replace -f - 2>&1 | grep -q 'object has been modified'
}
watch_sees() { # a watch started before the change tells it
	k get cm -w -o name >"$D/watch" 2>/dev/null &
	local w=$!
	within 10 grep -q configmap/settings "$D/watch" || return 1
	k create cm late --from-literal=x=1 >/dev/null || return 1
	within 10 grep -q configmap/late "$D/watch"
	local rc=$?
	kill $w 2>/dev/null
	return $rc
}
server_apply_conflict() {
	deployment 7 a:2 | k apply --server-side --field-manager=other -f - 2>&1 | grep -qi 'conflict'
}
pages() { [ "$(k get cm --chunk-size=1 -o name | wc -l)" -ge 2 ]; }
definition() { # one custom kind for a version of kubectl: $1 its group
	cat <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.$1}
spec:
  group: $1
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, description: When it runs.}
              replicas: {type: integer, maximum: 9, default: 1}
          status:
            type: object
            properties:
              replicas: {type: integer}
              conditions: {type: array, items: {type: object, properties: {type: {type: string}, status: {type: string}}}}
Y
}
apply_definition() { definition "$1" | k apply -f -; }
crontab() { printf 'apiVersion: %s/v1\nkind: CronTab\nmetadata: {name: one}\nspec: {cronSpec: "* * *"%s}\n' "$1" "$2"; }
apply_crontab() { crontab "$@" | k apply -f - 2>&1; }
served() { k get "crontabs.$1" >/dev/null 2>&1; }
gone() { ! k get "$@" 2>/dev/null; }

for K in "${versions[@]}"; do
	v=${K##*kubectl.}
	ns=t-${v//./-}
	check "$v: create namespace" "$K" create namespace "$ns"
	within 10 k get sa default >/dev/null
	check "$v: version names 1.36" says 'v1\.36' k version
	check "$v: create configmap" k create configmap settings --from-literal=a=1 --from-literal=b=2
	check "$v: create secret" k create secret generic key --from-literal=p=q
	check "$v: get prints the columns" says 'NAME +DATA +AGE' k get cm
	check "$v: get -o jsonpath" same 1 k get cm settings -o 'jsonpath={.data.a}'
	check "$v: field selector" same configmap/settings k get cm --field-selector metadata.name=settings -o name
	check "$v: pages follow their token" pages
	check "$v: label, and select by it" k label cm settings tier=x
	check "$v: label selector" same configmap/settings k get cm -l tier=x -o name
	check "$v: annotate" k annotate cm settings note=y
	check "$v: patch merge" k patch cm settings --type merge -p '{"data":{"a":null,"c":"3"}}'
	check "$v: merge took the key away" same '{"b":"2","c":"3"}' k get cm settings -o 'jsonpath={.data}'
	check "$v: patch json" k patch cm settings --type json -p '[{"op":"replace","path":"/data/c","value":"4"}]'
	check "$v: a stale replace is a conflict" conflict
	check "$v: watch" watch_sees
	check "$v: create deployment (typed body)" k create deployment typed --image=a:1 --replicas=1
	check "$v: apply creates" says created apply_deployment 2 a:1
	check "$v: apply again changes nothing" says unchanged apply_deployment 2 a:1
	check "$v: apply changes" says configured apply_deployment 2 a:2
	check "$v: diff" diff_says 5 a:2 'replicas: 5'
	check "$v: an unknown field is named" bad_field
	check "$v: server-side apply of another manager conflicts" server_apply_conflict
	check "$v: the controllers make pods" within 10 same 2 k get rs -l app=web -o 'jsonpath={.items[?(@.spec.replicas==2)].status.replicas}'
	check "$v: scale" k scale deployment web --replicas=3
	check "$v: scaled" same 3 k get deployment web -o 'jsonpath={.spec.replicas}'
	check "$v: set image" k set image deployment web c=a:3
	check "$v: rollout history" says 'REVISION' k rollout history deployment web
	check "$v: expose" k expose deployment web --port=80
	check "$v: the service has an address" says '^10\.96\.' k get svc web -o 'jsonpath={.spec.clusterIP}'
	check "$v: create service nodeport" k create service nodeport np --tcp=80
	check "$v: autoscale" k autoscale deployment web --max=4
	check "$v: wait for a condition" k wait --for=jsonpath='{.spec.replicas}'=3 deployment/web --timeout=5s
	check "$v: create token" says '^ey' k create token default
	check "$v: auth can-i" same yes k auth can-i create pods
	check "$v: explain" explain_says
	check "$v: api-resources" says '^deployments +deploy' k api-resources
	check "$v: get all" says 'deployment.apps/web' k get all
	check "$v: describe" says 'StrategyType' k describe deployment web
	check "$v: events" k get events
	check "$v: dry run stores nothing" k create cm dry --from-literal=x=1 --dry-run=server
	check "$v: nothing was stored" gone cm dry
	g=$ns.example.com
	check "$v: apply a definition" says created apply_definition "$g"
	check "$v: it is established" k wait --for=condition=Established "crd/crontabs.$g" --timeout=10s
	check "$v: its kind is served" within 10 served "$g"
	check "$v: apply a custom resource" says created apply_crontab "$g" ''
	check "$v: applied again it is unchanged" says unchanged apply_crontab "$g" ''
	check "$v: a default was set" same 1 k get "crontabs.$g" one -o 'jsonpath={.spec.replicas}'
	check "$v: its schema is enforced" says 'less than or equal to 9' apply_crontab "$g" ', replicas: 10'
	check "$v: an unknown field of it is named" says 'unknown field "spec.zz"' apply_crontab "$g" ', zz: 10'
	check "$v: its columns are printed" says 'NAME +SPEC +READY' k get "crontabs.$g"
	check "$v: explain it" says 'When it runs' k explain crontab.spec.cronSpec --api-version="$g/v1"
	check "$v: scale it" k scale "crontabs.$g/one" --replicas=3
	check "$v: edit it" env KUBE_EDITOR='sed -i s/replicas:.*/replicas:\ 4/' timeout 30 "$K" -n "$ns" edit "crontabs.$g" one
	check "$v: it was edited" same 4 k get "crontabs.$g" one -o 'jsonpath={.spec.replicas}'
	check "$v: patch it" k patch "crontabs.$g" one --type merge -p '{"metadata":{"labels":{"a":"b"}}}'
	check "$v: server-side apply it" says applied eval 'crontab "$g" "" | k apply --server-side --force-conflicts -f - 2>&1'
	check "$v: delete the definition with its objects" k delete crd "crontabs.$g" --timeout=20s
	check "$v: its kind has gone" eval '! served "$g"'
	check "$v: delete waits until it is gone" k delete deployment web typed
	check "$v: not found is said" says 'NotFound' k get deployment web
	check "$v: delete by label" k delete cm -l tier=x
	check "$v: delete namespace with everything in it" k delete namespace "$ns" --timeout=25s
done
check "the server is still there" kill -0 $server
rss=$(awk '/VmRSS/{print $2}' /proc/$server/status)
echo "# resident: $rss KiB"
tap_end
