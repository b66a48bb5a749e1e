/* SPDX-License-Identifier: Apache-2.0
 * Volumes of a pod. */
#include "api/rules/pod.h"

typedef void check_fn(struct causes *c, const struct fpath *p, const json_t *v);

void v_mode(struct causes *c, const struct fpath *p, const json_t *mode)
{
	if (mode && (json_integer_value(mode) < 0 || json_integer_value(mode) > 0777))
		v_invalid(
			c, p, mode, "must be a number between 0 and 0777 (octal), both inclusive");
}

/* A path inside the volume. */
static void check_relative(struct causes *c, const struct fpath *p, const char *path)
{
	struct str s = str_of(path);
	if (*path == '/')
		v_invalid_str(c, p, path, "must be a relative path");
	if (strncmp(path, "..", 2) == 0)
		v_invalid_str(c, p, path, "must not start with '..'");
	while (s.n)
		if (str_eqz(str_cut(&s, '/'), "..")) {
			v_invalid_str(c, p, path, "must not contain '..'");
			return;
		}
}

static void check_no_climb(struct causes *c, const struct fpath *p, const char *path)
{
	struct str s = str_of(path);
	while (s.n)
		if (str_eqz(str_cut(&s, '/'), "..")) {
			v_invalid_str(c, p, path, "must not contain '..'");
			return;
		}
}

static void check_items(struct causes *c, const struct fpath *p, const json_t *items)
{
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *it = json_array_get(items, i);
		const struct fpath *ip = P_INDEX(p, i);
		if (!jhas(it, "key"))
			v_required(c, P_NAME(ip, "key"), "");
		if (!jhas(it, "path"))
			v_required(c, P_NAME(ip, "path"), "");
		check_relative(c, P_NAME(ip, "path"), jstr(it, "path"));
		v_mode(c, P_NAME(ip, "mode"), jget(it, "mode"));
	}
}

static void named(struct causes *c, const struct fpath *p, const json_t *v, const char *member)
{
	if (!jhas(v, member))
		v_required(c, P_NAME(p, member), "");
}

static void check_empty_dir(struct causes *c, const struct fpath *p, const json_t *v)
{
	int64_t n;
	if (jquantity(jget(v, "sizeLimit"), &n) == 0 && n < 0)
		v_forbidden(c, P_NAME(p, "sizeLimit"),
			"SizeLimit field must be a valid resource quantity");
}

static void check_host_path(struct causes *c, const struct fpath *p, const json_t *v)
{
	static const char *const types[] = {"", "DirectoryOrCreate", "Directory", "FileOrCreate",
		"File", "Socket", "CharDevice", "BlockDevice", NULL};
	named(c, p, v, "path");
	check_no_climb(c, P_NAME(p, "path"), jstr(v, "path"));
	(void)v_enum(c, P_NAME(p, "type"), jget(v, "type"), types);
}

static void check_secret(struct causes *c, const struct fpath *p, const json_t *v)
{
	named(c, p, v, "secretName");
	v_mode(c, P_NAME(p, "defaultMode"), jget(v, "defaultMode"));
	check_items(c, P_NAME(p, "items"), jget(v, "items"));
}

static void check_config_map(struct causes *c, const struct fpath *p, const json_t *v)
{
	named(c, p, v, "name");
	v_mode(c, P_NAME(p, "defaultMode"), jget(v, "defaultMode"));
	check_items(c, P_NAME(p, "items"), jget(v, "items"));
}

static void check_pvc(struct causes *c, const struct fpath *p, const json_t *v)
{
	named(c, p, v, "claimName");
}

static void check_nfs(struct causes *c, const struct fpath *p, const json_t *v)
{
	named(c, p, v, "server");
	named(c, p, v, "path");
	if (jhas(v, "path") && *jstr(v, "path") != '/')
		v_invalid_str(c, P_NAME(p, "path"), jstr(v, "path"), "must be an absolute path");
}

static void check_csi(struct causes *c, const struct fpath *p, const json_t *v)
{
	named(c, p, v, "driver");
}

static void check_image(struct causes *c, const struct fpath *p, const json_t *v)
{
	static const char *const policies[] = {"Always", "IfNotPresent", "Never", NULL};
	named(c, p, v, "reference");
	(void)v_enum(c, P_NAME(p, "pullPolicy"), jget(v, "pullPolicy"), policies);
}

static void check_ephemeral(struct causes *c, const struct fpath *p, const json_t *v)
{
	named(c, p, v, "volumeClaimTemplate");
}

static void check_downward_items(struct causes *c, const struct fpath *p, const json_t *items)
{
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *it = json_array_get(items, i);
		const struct fpath *ip = P_INDEX(p, i);
		named(c, ip, it, "path");
		check_relative(c, P_NAME(ip, "path"), jstr(it, "path"));
		if (jget(it, "fieldRef")) {
			v_field_ref(c, P_NAME(ip, "fieldRef"), jget(it, "fieldRef"));
			if (jget(it, "resourceFieldRef"))
				v_invalid_str(c, ip, "resource",
					"fieldRef and resourceFieldRef can not be specified "
					"simultaneously");
		} else if (!jget(it, "resourceFieldRef")) {
			v_required(c, ip, "one of fieldRef and resourceFieldRef is required");
		}
		v_mode(c, P_NAME(ip, "mode"), jget(it, "mode"));
	}
}

static void check_downward(struct causes *c, const struct fpath *p, const json_t *v)
{
	v_mode(c, P_NAME(p, "defaultMode"), jget(v, "defaultMode"));
	check_downward_items(c, P_NAME(p, "items"), jget(v, "items"));
}

static void check_token(struct causes *c, const struct fpath *p, const json_t *v)
{
	const json_t *exp = jget(v, "expirationSeconds");
	if (exp && json_integer_value(exp) < 600)
		v_invalid(c, P_NAME(p, "expirationSeconds"), exp,
			"may not specify a duration less than 10 minutes");
	if (exp && json_integer_value(exp) > (1LL << 32))
		v_invalid(c, P_NAME(p, "expirationSeconds"), exp,
			"may not specify a duration larger than 2^32 seconds");
	named(c, p, v, "path");
}

static void check_projected_name(struct causes *c, const struct fpath *p, const json_t *v)
{
	named(c, p, v, "name");
	check_items(c, P_NAME(p, "items"), jget(v, "items"));
}

static void check_projected_source(struct causes *c, const struct fpath *p, const json_t *s)
{
	static const struct {
		const char *name;
		check_fn *check;
	} kinds[] = {{"secret", check_projected_name}, {"configMap", check_projected_name},
		{"downwardAPI", check_downward}, {"serviceAccountToken", check_token}};
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const json_t *v = jget(s, kinds[i].name);
		const struct fpath *vp = P_NAME(p, kinds[i].name);
		if (!v)
			continue;
		if (n++)
			v_forbidden(c, vp, "may not specify more than 1 volume type per source");
		else
			kinds[i].check(c, vp, v);
	}
	if (n == 0 && json_object_size(s) == 0)
		v_required(c, p, "must specify a volume source");
}

static void check_projected(struct causes *c, const struct fpath *p, const json_t *v)
{
	const json_t *list = jget(v, "sources");
	v_mode(c, P_NAME(p, "defaultMode"), jget(v, "defaultMode"));
	for (size_t i = 0; i < json_array_size(list); i++)
		check_projected_source(
			c, P_INDEX(P_NAME(p, "sources"), i), json_array_get(list, i));
}

static const struct {
	const char *name;
	check_fn *check;
} sources[] = {{"emptyDir", check_empty_dir}, {"hostPath", check_host_path},
	{"secret", check_secret}, {"configMap", check_config_map}, {"projected", check_projected},
	{"downwardAPI", check_downward}, {"persistentVolumeClaim", check_pvc}, {"nfs", check_nfs},
	{"csi", check_csi}, {"image", check_image}, {"ephemeral", check_ephemeral}};

static void check_source(struct causes *c, const struct fpath *p, const json_t *vol)
{
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		const json_t *v = jget(vol, sources[i].name);
		if (!v)
			continue;
		if (n++)
			v_forbidden(c, P_NAME(p, sources[i].name),
				"may not specify more than 1 volume type");
		else
			sources[i].check(c, P_NAME(p, sources[i].name), v);
	}
	/* any other member beside the name is a source that needs no check here */
	if (n == 0 && json_object_size(vol) <= 1)
		v_required(c, p, "must specify a volume type");
}

void v_volumes(struct causes *c, const struct fpath *p, const json_t *volumes)
{
	AUTO_JSON json_t *names = json_object();
	for (size_t i = 0; i < json_array_size(volumes) && !causes_full(c); i++) {
		const json_t *v = json_array_get(volumes, i);
		const struct fpath *vp = P_INDEX(p, i);
		const char *name = jstr(v, "name");
		if (!*name)
			v_required(c, P_NAME(vp, "name"), "");
		else
			(void)v_format(c, P_NAME(vp, "name"), name, fmt_dns1123_label);
		if (*name && v_seen(names, name, i) < i)
			v_duplicate(c, P_NAME(vp, "name"), jget(v, "name"));
		check_source(c, vp, v);
	}
}
