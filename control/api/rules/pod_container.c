/* SPDX-License-Identifier: Apache-2.0
 * Containers: names, images, ports, mounts, resources, security. */
#include "api/rules/pod.h"

static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
static const char *const pull_policies[] = {"Always", "IfNotPresent", "Never", NULL};
static const char *const message_policies[] = {"File", "FallbackToLogsOnError", NULL};

static void check_port(const struct pod_scope *s, const struct fpath *p, const json_t *port)
{
	const json_t *cp = jget(port, "containerPort"), *hp = jget(port, "hostPort");
	if (!cp || json_integer_value(cp) == 0)
		v_required(s->c, P_NAME(p, "containerPort"), "");
	else
		(void)v_port(s->c, P_NAME(p, "containerPort"), cp);
	if (hp && json_integer_value(hp))
		(void)v_port(s->c, P_NAME(p, "hostPort"), hp);
	if (s->host_network && hp && json_integer_value(hp) &&
		json_integer_value(hp) != json_integer_value(cp))
		v_invalid(s->c, P_NAME(p, "containerPort"), cp,
			"must match `hostPort` when `hostNetwork` is true");
	(void)v_enum_required(s->c, P_NAME(p, "protocol"), jget(port, "protocol"), protocols);
}

static void check_ports(const struct pod_scope *s, const struct fpath *p, const json_t *list)
{
	AUTO_JSON json_t *names = json_object();
	for (size_t i = 0; i < json_array_size(list) && !causes_full(s->c); i++) {
		const json_t *port = json_array_get(list, i);
		const struct fpath *np = P_NAME(P_INDEX(p, i), "name");
		const char *name = jstr(port, "name");
		if (*name && v_format(s->c, np, name, fmt_port_name) && v_seen(names, name, i) < i)
			v_duplicate(s->c, np, jget(port, "name"));
		check_port(s, P_INDEX(p, i), port);
	}
}

static bool climbs(const char *path)
{
	struct str s = str_of(path);
	while (s.n)
		if (str_eqz(str_cut(&s, '/'), ".."))
			return true;
	return false;
}

static void check_sub_path(struct causes *c, const struct fpath *p, const json_t *m)
{
	const char *sub = jstr(m, "subPath"), *expr = jstr(m, "subPathExpr");
	if (*sub == '/')
		v_invalid_str(c, P_NAME(p, "subPath"), sub, "must be a relative path");
	if (climbs(sub))
		v_invalid_str(c, P_NAME(p, "subPath"), sub, "must not contain '..'");
	if (*expr == '/')
		v_invalid_str(c, P_NAME(p, "subPathExpr"), expr, "must be a relative path");
	if (climbs(expr))
		v_invalid_str(c, P_NAME(p, "subPathExpr"), expr, "must not contain '..'");
	if (*sub && *expr)
		v_invalid_str(c, P_NAME(p, "subPathExpr"), expr,
			"subPathExpr and subPath are mutually exclusive");
}

static void check_mounts(const struct pod_scope *s, const struct fpath *p, const json_t *list)
{
	static const char *const propagation[] = {"None", "HostToContainer", "Bidirectional", NULL};
	AUTO_JSON json_t *paths = json_object();
	for (size_t i = 0; i < json_array_size(list) && !causes_full(s->c); i++) {
		const json_t *m = json_array_get(list, i);
		const struct fpath *mp = P_INDEX(p, i);
		const char *name = jstr(m, "name"), *path = jstr(m, "mountPath");
		if (!*name)
			v_required(s->c, P_NAME(mp, "name"), "");
		else if (!json_object_get(s->volumes, name)) {
			AUTO_BUF struct buf f = {0};
			fpath_write(P_NAME(mp, "name"), &f);
			cause_add(s->c, "FieldValueNotFound", f.p, "Not found: \"%s\"", name);
		}
		if (!*path)
			v_required(s->c, P_NAME(mp, "mountPath"), "");
		else if (v_seen(paths, path, i) < i)
			v_invalid_str(s->c, P_NAME(mp, "mountPath"), path, "must be unique");
		check_sub_path(s->c, mp, m);
		(void)v_enum(s->c, P_NAME(mp, "mountPropagation"), jget(m, "mountPropagation"),
			propagation);
	}
}

static bool native_resource(const char *name)
{
	return !strchr(name, '/') || strncmp(name, "kubernetes.io/", 14) == 0;
}

static void check_amount(
	struct causes *c, const struct fpath *p, const char *name, const json_t *v, int64_t *ret)
{
	static const char *const standard[] = {"cpu", "memory", "ephemeral-storage", NULL};
	const struct fpath *kp = P_KEY(p, name);
	bool known = strncmp(name, "hugepages-", 10) == 0;
	*ret = 0;
	(void)v_format(c, kp, name, fmt_qualified_name);
	for (size_t i = 0; standard[i]; i++)
		known |= strcmp(standard[i], name) == 0;
	if (native_resource(name) && !known && !strchr(name, '/'))
		v_invalid_str(c, kp, name, "must be a standard resource for containers");
	if (jquantity(v, ret) < 0)
		v_invalid(c, kp, v, "must be a quantity");
	else if (*ret < 0)
		v_invalid(c, kp, v, MSG_NONNEG);
	else if (!native_resource(name) && *ret % 1000)
		v_invalid(c, kp, v, "must be an integer");
}

void v_resources(struct causes *c, const struct fpath *p, const json_t *res)
{
	const json_t *limits = jget(res, "limits"), *requests = jget(res, "requests");
	const char *name;
	json_t *v;
	int64_t want, limit;
	json_object_foreach ((json_t *)limits, name, v)
		check_amount(c, P_NAME(p, "limits"), name, v, &limit);
	json_object_foreach ((json_t *)requests, name, v) {
		const struct fpath *kp = P_KEY(P_NAME(p, "requests"), name);
		const json_t *l = jget(limits, name);
		bool exact = !native_resource(name) || strncmp(name, "hugepages-", 10) == 0;
		check_amount(c, P_NAME(p, "requests"), name, v, &want);
		if (!l) {
			if (exact)
				v_required(c, P_NAME(p, "limits"),
					"Limit must be set for non overcommitable resources");
			continue;
		}
		if (jquantity(l, &limit) < 0)
			continue;
		if (exact && limit != want)
			v_invalid(c, kp, v, "must be equal to %s limit of %s", name,
				json_string_value(l));
		else if (want > limit)
			v_invalid(c, kp, v, "must be less than or equal to %s limit of %s", name,
				json_string_value(l));
	}
}

static void check_security(struct causes *c, const struct fpath *p, const json_t *sc)
{
	static const char *const mounts[] = {"Default", "Unmasked", NULL};
	static const char *const ids[] = {"runAsUser", "runAsGroup"};
	const json_t *caps = jget(jget(sc, "capabilities"), "add");
	if (json_is_false(jget(sc, "allowPrivilegeEscalation"))) {
		if (json_is_true(jget(sc, "privileged")))
			v_invalid(c, p, sc,
				"cannot set `allowPrivilegeEscalation` to false and `privileged` "
				"to true");
		for (size_t i = 0; i < json_array_size(caps); i++)
			if (strcmp(json_string_value(json_array_get(caps, i)), "CAP_SYS_ADMIN") ==
				0)
				v_invalid(c, p, sc,
					"cannot set `allowPrivilegeEscalation` to false and "
					"`capabilities.Add` CAP_SYS_ADMIN");
	}
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		const json_t *v = jget(sc, ids[i]);
		if (v && (json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX))
			v_invalid(c, P_NAME(p, ids[i]), v,
				"must be between 0 and 2147483647, inclusive");
	}
	(void)v_enum(c, P_NAME(p, "procMount"), jget(sc, "procMount"), mounts);
}

static void check_probes(struct causes *c, const struct fpath *p, const json_t *ct)
{
	static const char *const names[] = {"livenessProbe", "readinessProbe", "startupProbe"};
	static const char *const hooks[] = {"postStart", "preStop"};
	const json_t *life = jget(ct, "lifecycle");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (jget(ct, names[i]))
			v_probe(c, P_NAME(p, names[i]), jget(ct, names[i]), names[i]);
	for (size_t i = 0; i < ARRAY_LEN(hooks); i++)
		if (jget(life, hooks[i]))
			v_handler(c, P_NAME(P_NAME(p, "lifecycle"), hooks[i]), jget(life, hooks[i]),
				true);
}

/* What only some roles may have. */
static void check_role(
	struct causes *c, const struct fpath *p, const json_t *ct, enum container_role role)
{
	static const char *const probes[] = {
		"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"};
	static const char *const never[] = {"ports", "lifecycle", "livenessProbe", "readinessProbe",
		"startupProbe", "resizePolicy"};
	static const char *const init_policies[] = {"Always", "Never", "OnFailure", NULL};
	const json_t *policy = jget(ct, "restartPolicy");
	bool sidecar = role == CONTAINER_INIT && strcmp(jstr(ct, "restartPolicy"), "Always") == 0;
	if (role == CONTAINER_EPHEMERAL) {
		for (size_t i = 0; i < ARRAY_LEN(never); i++)
			if (jget(ct, never[i]))
				v_forbidden(c, P_NAME(p, never[i]),
					"cannot be set for an Ephemeral Container");
		if (policy)
			v_forbidden(c, P_NAME(p, "restartPolicy"),
				"cannot be set for an Ephemeral Container");
		return;
	}
	(void)v_enum(c, P_NAME(p, "restartPolicy"), policy, init_policies);
	for (size_t i = 0; role == CONTAINER_INIT && !sidecar && i < ARRAY_LEN(probes); i++)
		if (jget(ct, probes[i]))
			v_forbidden(c, P_NAME(p, probes[i]),
				"may not be set for init containers without restartPolicy=Always");
}

static void check_container(const struct pod_scope *s, const struct fpath *p, const json_t *ct,
	enum container_role role)
{
	const char *image = jstr(ct, "image");
	size_t n = strlen(image);
	if (!*jstr(ct, "name"))
		v_required(s->c, P_NAME(p, "name"), "");
	else
		(void)v_format(s->c, P_NAME(p, "name"), jstr(ct, "name"), fmt_dns1123_label);
	if (!n)
		v_required(s->c, P_NAME(p, "image"), "");
	else if (strchr(" \t\n\r", image[0]) || strchr(" \t\n\r", image[n - 1]))
		v_invalid_str(s->c, P_NAME(p, "image"), image,
			"must not have leading or trailing whitespace");
	(void)v_enum_required(s->c, P_NAME(p, "terminationMessagePolicy"),
		jget(ct, "terminationMessagePolicy"), message_policies);
	(void)v_enum_required(
		s->c, P_NAME(p, "imagePullPolicy"), jget(ct, "imagePullPolicy"), pull_policies);
	check_ports(s, P_NAME(p, "ports"), jget(ct, "ports"));
	v_env(s->c, P_NAME(p, "env"), jget(ct, "env"));
	v_env_from(s->c, P_NAME(p, "envFrom"), jget(ct, "envFrom"));
	check_mounts(s, P_NAME(p, "volumeMounts"), jget(ct, "volumeMounts"));
	v_resources(s->c, P_NAME(p, "resources"), jget(ct, "resources"));
	check_security(s->c, P_NAME(p, "securityContext"), jget(ct, "securityContext"));
	check_role(s->c, p, ct, role);
	if (role != CONTAINER_EPHEMERAL)
		check_probes(s->c, p, ct);
}

/* Names are unique over all three lists. */
static void check_unique(const struct pod_scope *s, const struct fpath *spec_path)
{
	static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};
	AUTO_JSON json_t *seen = json_object();
	size_t n = 0;
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		const json_t *list = jget(s->spec, lists[l]);
		for (size_t i = 0; i < json_array_size(list) && !causes_full(s->c); i++, n++) {
			const json_t *name = jget(json_array_get(list, i), "name");
			if (name && v_seen(seen, json_string_value(name), n) < n)
				v_duplicate(s->c,
					P_NAME(P_INDEX(P_NAME(spec_path, lists[l]), i), "name"),
					name);
		}
	}
}

void v_containers(struct causes *c, const json_t *spec, const struct fpath *spec_path)
{
	static const struct {
		const char *list;
		enum container_role role;
	} lists[] = {{"containers", CONTAINER_MAIN}, {"initContainers", CONTAINER_INIT},
		{"ephemeralContainers", CONTAINER_EPHEMERAL}};
	const json_t *volumes = jget(spec, "volumes");
	AUTO_JSON json_t *names = json_object();
	struct pod_scope scope = {.c = c,
		.spec = spec,
		.volumes = names,
		.host_network = json_is_true(jget(spec, "hostNetwork"))};
	const struct pod_scope *s = &scope;
	for (size_t i = 0; i < json_array_size(volumes); i++)
		(void)v_seen(names, jstr(json_array_get(volumes, i), "name"), i);
	if (json_array_size(jget(s->spec, "containers")) == 0)
		v_required(s->c, P_NAME(spec_path, "containers"), "");
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		const json_t *list = jget(s->spec, lists[l].list);
		const struct fpath *p = P_NAME(spec_path, lists[l].list);
		for (size_t i = 0; i < json_array_size(list) && !causes_full(s->c); i++)
			check_container(s, P_INDEX(p, i), json_array_get(list, i), lists[l].role);
	}
	check_unique(s, spec_path);
}
