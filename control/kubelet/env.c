/* SPDX-License-Identifier: Apache-2.0
 * Environment variables: services, envFrom, env with valueFrom, $(VAR) expansion, downward API. */
#include <ctype.h>
#include <errno.h>
#include "api/api.h"
#include "kubelet/env.h"
#include "xebec/base/tls.h"

int64_t quantity_milli(const json_t *q, int64_t dflt)
{
	int64_t v = 0;
	if (json_is_integer(q))
		return (int64_t)json_integer_value(q) * 1000;
	if (!json_is_string(q) || quantity_parse(str_of(json_string_value(q)), &v, NULL) < 0)
		return dflt;
	return v;
}

void env_expand(const char *in, const json_t *vars, struct buf *out)
{
	for (const char *p = in; *p; p++) {
		if (p[0] == '$' && p[1] == '$') {
			buf_addc(out, *p++);
			continue;
		}
		const char *end = p[0] == '$' && p[1] == '(' ? strchr(p, ')') : NULL;
		if (!end) {
			buf_addc(out, *p);
			continue;
		}
		AUTO_FREE char *name = strndup(p + 2, (size_t)(end - p - 2));
		const json_t *v = name ? json_object_get(vars, name) : NULL;
		if (json_is_string(v))
			buf_adds(out, json_string_value(v));
		else
			buf_add(out, p, (size_t)(end - p + 1));
		p = end;
	}
}

static void quote_into(struct buf *out, const char *s)
{
	buf_addc(out, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			buf_addf(out, "\\%c", c);
		else if (c == '\n')
			buf_adds(out, "\\n");
		else if (c == '\t')
			buf_adds(out, "\\t");
		else if (c == '\r')
			buf_adds(out, "\\r");
		else if (c < 0x20)
			buf_addf(out, "\\x%02x", c);
		else
			buf_addc(out, (char)c);
	}
	buf_addc(out, '"');
}

static int cmp_key(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* key="value" lines, sorted, as the downward API writes labels and annotations. */
static void map_lines(const json_t *map, struct buf *out)
{
	size_t n = json_object_size(map), i = 0;
	AUTO_FREE const char **keys = calloc(n + 1, sizeof(*keys));
	const char *k;
	json_t *v;
	if (!keys)
		return;
	json_object_foreach ((json_t *)map, k, v)
		keys[i++] = k;
	qsort(keys, n, sizeof(*keys), cmp_key);
	for (i = 0; i < n; i++) {
		buf_addf(out, "%s%s=", i ? "\n" : "", keys[i]);
		const char *s = json_string_value(json_object_get(map, keys[i]));
		quote_into(out, s ? s : "");
	}
}

/* "metadata.labels['key']" -> the member; false when the path has no subscript. */
static bool map_member(const struct env_ctx *c, const char *path, struct buf *out)
{
	const char *open = strstr(path, "['"), *close = open ? strstr(open, "']") : NULL;
	if (!open || !close)
		return false;
	AUTO_FREE char *map = strndup(path, (size_t)(open - path));
	AUTO_FREE char *key = strndup(open + 2, (size_t)(close - open - 2));
	if (!map || !key)
		return false;
	const json_t *v = json_object_get(json_at(c->pod, map), key);
	if (json_is_string(v))
		buf_adds(out, json_string_value(v));
	return true;
}

int field_ref(const struct env_ctx *c, const char *path, struct buf *out, struct err *e)
{
	static const char *const plain[] = {
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.serviceAccountName"};
	if (strncmp(path, "metadata.labels[", 16) == 0 ||
		strncmp(path, "metadata.annotations[", 21) == 0)
		if (map_member(c, path, out))
			return 0;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (strcmp(path, plain[i]) == 0) {
			buf_adds(out, json_str(c->pod, path, ""));
			return 0;
		}
	if (strcmp(path, "metadata.labels") == 0 || strcmp(path, "metadata.annotations") == 0)
		map_lines(json_at(c->pod, path), out);
	else if (strcmp(path, "spec.nodeName") == 0)
		buf_adds(out, c->node_name);
	else if (strcmp(path, "status.podIP") == 0)
		buf_adds(out, c->pod_ip ? c->pod_ip : "");
	else if (strcmp(path, "status.podIPs") == 0)
		buf_adds(out, c->pod_ips ? c->pod_ips : c->pod_ip ? c->pod_ip : "");
	else if (strcmp(path, "status.hostIP") == 0)
		buf_adds(out, c->host_ip ? c->host_ip : "");
	else if (strcmp(path, "status.hostIPs") == 0)
		buf_adds(out, c->host_ips ? c->host_ips : c->host_ip ? c->host_ip : "");
	else
		return err_set(e, EINVAL, NULL, "unsupported fieldPath: %s", path);
	return 0;
}

static const json_t *container_named(const json_t *pod, const char *name)
{
	static const char *const lists[] = {
		"spec.containers", "spec.initContainers", "spec.ephemeralContainers"};
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_t *c;
		json_array_foreach (json_at(pod, lists[l]), i, c) {
			if (strcmp(json_str(c, "name", ""), name) == 0)
				return c;
		}
	}
	return NULL;
}

int resource_ref(const struct env_ctx *c, const json_t *container, const json_t *ref,
	struct buf *out, struct err *e)
{
	const char *name = json_str(ref, "containerName", NULL);
	const char *res = json_str(ref, "resource", "");
	if (name && *name)
		container = container_named(c->pod, name);
	if (!container)
		return err_set(e, ENOENT, NULL, "container %s not found", name ? name : "");
	const char *dot = strchr(res, '.');
	if (!dot || (strncmp(res, "limits.", 7) != 0 && strncmp(res, "requests.", 9) != 0))
		return err_set(e, EINVAL, NULL, "unsupported container resource: %s", res);
	const char *what = dot + 1;
	bool cpu = strcmp(what, "cpu") == 0, limit = res[0] == 'l';
	int64_t whole = cpu ? c->node_cpu_milli : c->node_memory * 1000;
	if (!cpu && strcmp(what, "memory") != 0)
		whole = 0;
	const json_t *set = json_at(container, limit ? "resources.limits" : "resources.requests");
	int64_t v = quantity_milli(json_object_get(set, what), limit ? whole : 0);
	int64_t div = quantity_milli(json_object_get(ref, "divisor"), 1000);
	if (div <= 0)
		div = 1000;
	buf_addf(out, "%lld", (long long)((v + div - 1) / div));
	return 0;
}

/* "redis-master" -> "REDIS_MASTER" */
static char *env_name(const char *s)
{
	char *o = strdup(s);
	for (char *p = o; p && *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return o;
}

static void set_var(json_t *vars, const char *name, const char *suffix, const char *value)
{
	AUTO_BUF struct buf k = {0};
	buf_addf(&k, "%s%s", name, suffix);
	if (!k.err)
		(void)json_object_set_new(vars, k.p, json_string(value));
}

/* Variables of one port in the old Docker-links form: NAME_PORT_80_TCP and its parts. */
static void service_port_vars(
	json_t *vars, const char *up, const char *ip, const json_t *port, bool first)
{
	AUTO_BUF struct buf url = {0}, key = {0};
	AUTO_FREE char *proto = env_name(json_str(port, "protocol", "TCP"));
	char num[24];
	if (!proto)
		return;
	(void)snprintf(num, sizeof(num), "%lld", (long long)json_i64(port, "port", 0));
	buf_addf(&key, "%s_PORT_%s_%s", up, num, proto);
	for (char *p = proto; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	buf_addf(&url, "%s://%s:%s", proto, ip, num);
	if (url.err || key.err)
		return;
	if (first)
		set_var(vars, up, "_PORT", url.p);
	set_var(vars, key.p, "", url.p);
	set_var(vars, key.p, "_PROTO", proto);
	set_var(vars, key.p, "_PORT", num);
	set_var(vars, key.p, "_ADDR", ip);
}

static void service_vars(const json_t *svc, json_t *vars)
{
	const char *ip = json_str(svc, "spec.clusterIP", "");
	const json_t *ports = json_at(svc, "spec.ports");
	AUTO_FREE char *up = env_name(json_str(svc, "metadata.name", ""));
	size_t i;
	json_t *port;
	if (!up || !*ip || strcmp(ip, "None") == 0 || json_array_size(ports) == 0)
		return;
	set_var(vars, up, "_SERVICE_HOST", ip);
	json_array_foreach (ports, i, port) {
		char num[24];
		const char *pname = json_str(port, "name", "");
		(void)snprintf(num, sizeof(num), "%lld", (long long)json_i64(port, "port", 0));
		if (i == 0)
			set_var(vars, up, "_SERVICE_PORT", num);
		if (*pname) {
			AUTO_FREE char *pu = env_name(pname);
			AUTO_BUF struct buf key = {0};
			buf_addf(&key, "_SERVICE_PORT_%s", pu ? pu : "");
			if (!key.err)
				set_var(vars, up, key.p, num);
		}
	}
	json_array_foreach (ports, i, port)
		service_port_vars(vars, up, ip, port, i == 0);
}

static int secret_value(const char *b64, struct buf *out)
{
	return base64_decode(str_of(b64), out);
}

/* envFrom: every key of an object. Secrets are decoded. */
static int from_object(const struct env_ctx *c, const json_t *src, json_t *vars, struct err *e)
{
	bool sec = json_is_object(json_object_get(src, "secretRef"));
	const json_t *ref = json_object_get(src, sec ? "secretRef" : "configMapRef");
	const char *name = json_str(ref, "name", ""), *prefix = json_str(src, "prefix", ""), *k;
	json_t *v;
	const json_t *obj = sec ? c->secret(c->arg, name) : c->configmap(c->arg, name);
	if (!ref)
		return 0;
	if (!obj && json_flag(ref, "optional", false))
		return 0;
	if (!obj)
		return err_set(
			e, ENOENT, NULL, "%s \"%s\" not found", sec ? "secret" : "configmap", name);
	json_object_foreach (json_object_get(obj, "data"), k, v) {
		AUTO_BUF struct buf val = {0};
		if (strchr(k, '=') || (sec && secret_value(json_string_value(v), &val) < 0))
			continue;
		if (!sec)
			buf_adds(&val, json_string_value(v));
		set_var(vars, prefix, k, val.p ? val.p : "");
	}
	return 0;
}

static int key_ref(const struct env_ctx *c, const json_t *ref, bool sec, struct buf *out,
	bool *skip, struct err *e)
{
	const char *name = json_str(ref, "name", ""), *key = json_str(ref, "key", "");
	const json_t *obj = sec ? c->secret(c->arg, name) : c->configmap(c->arg, name);
	const char *what = sec ? "secret" : "configmap";
	const json_t *v = json_object_get(json_object_get(obj, "data"), key);
	if (!json_is_string(v)) {
		*skip = json_flag(ref, "optional", false);
		if (*skip)
			return 0;
		if (!obj)
			return err_set(e, ENOENT, NULL, "%s \"%s\" not found", what, name);
		return err_set(e, ENOENT, NULL, "couldn't find key %s in %s %s/%s", key,
			sec ? "Secret" : "ConfigMap", json_str(c->pod, "metadata.namespace", ""),
			name);
	}
	if (sec)
		return secret_value(json_string_value(v), out);
	buf_adds(out, json_string_value(v));
	return 0;
}

static int value_from(const struct env_ctx *c, const json_t *container, const json_t *from,
	struct buf *out, bool *skip, struct err *e)
{
	const json_t *r;
	if ((r = json_object_get(from, "fieldRef")))
		return field_ref(c, json_str(r, "fieldPath", ""), out, e);
	if ((r = json_object_get(from, "resourceFieldRef")))
		return resource_ref(c, container, r, out, e);
	if ((r = json_object_get(from, "configMapKeyRef")))
		return key_ref(c, r, false, out, skip, e);
	if ((r = json_object_get(from, "secretKeyRef")))
		return key_ref(c, r, true, out, skip, e);
	return err_set(e, EINVAL, NULL, "environment variable with an unknown source");
}

static int add_env(const struct env_ctx *c, const json_t *container, const json_t *ev,
	json_t *known, json_t *vars, struct err *e)
{
	const json_t *from = json_object_get(ev, "valueFrom");
	const char *name = json_str(ev, "name", "");
	AUTO_BUF struct buf val = {0};
	bool skip = false;
	if (json_is_object(from)) {
		int r = value_from(c, container, from, &val, &skip, e);
		if (r < 0)
			return r;
	} else
		env_expand(json_str(ev, "value", ""), known, &val);
	if (skip)
		return 0;
	(void)json_object_set_new(vars, name, json_string(val.p ? val.p : ""));
	(void)json_object_set_new(known, name, json_string(val.p ? val.p : ""));
	return 0;
}

int env_build(const struct env_ctx *c, const json_t *container, json_t **ret, struct err *e)
{
	AUTO_JSON json_t *vars = json_object(), *out = json_array(), *known = NULL;
	const char *k;
	size_t i;
	json_t *v;
	/* An empty value must not lose its place: members keep their order when set again. */
	json_array_foreach (c->services, i, v)
		service_vars(v, vars);
	json_array_foreach (json_object_get(container, "envFrom"), i, v) {
		int r = from_object(c, v, vars, e);
		if (r < 0)
			return r;
	}
	known = json_copy(vars);
	json_array_foreach (json_object_get(container, "env"), i, v) {
		int r = add_env(c, container, v, known, vars, e);
		if (r < 0)
			return r;
	}
	json_object_foreach (vars, k, v)
		(void)json_array_append_new(out, json_pack("{s:s, s:O}", "key", k, "value", v));
	*ret = STEAL(out);
	return 0;
}
