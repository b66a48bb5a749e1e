/* SPDX-License-Identifier: Apache-2.0
 * Pods: profiles that confine, host ports, block devices, device claims, the operating system. */
#include "api/rules/pod.h"
#include "api/rules/vtable.h"

/* A profile of seccomp or AppArmor. */
static void check_profile(
	struct causes *c, const struct fpath *p, const json_t *profile, const char *what)
{
	static const char *const types[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};
	const json_t *file = jget(profile, "localhostProfile");
	const struct fpath *fp = P_NAME(p, "localhostProfile");
	bool local = strcmp(jstr(profile, "type"), "Localhost") == 0;
	AUTO_BUF struct buf text = {0};
	if (!profile)
		return;
	buf_addf(&text, "type is required when %s is set", what);
	if (!jhas(profile, "type"))
		v_required(c, P_NAME(p, "type"), text.p);
	else
		(void)v_enum(c, P_NAME(p, "type"), jget(profile, "type"), types);
	if (local && !jhas(profile, "localhostProfile"))
		v_required(c, fp, "must be set when type is Localhost");
	else if (!local && file)
		v_invalid(c, fp, file, "can only be set when type is Localhost");
}

static void check_profiles(struct causes *c, const struct fpath *p, const json_t *sc)
{
	check_profile(c, P_NAME(p, "seccompProfile"), jget(sc, "seccompProfile"), "seccompProfile");
	check_profile(
		c, P_NAME(p, "appArmorProfile"), jget(sc, "appArmorProfile"), "appArmorProfile");
}

static void not_found(struct causes *c, const struct fpath *p, const char *name)
{
	AUTO_BUF struct buf f = {0};
	fpath_write(p, &f);
	cause_add(c, "FieldValueNotFound", f.p, "Not found: \"%s\"", name);
}

/* Names that stand in a list of the pod's. */
static void check_known(
	struct causes *c, const struct fpath *p, const json_t *list, const json_t *names)
{
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const char *name = jstr(json_array_get(list, i), "name");
		if (*name && !json_object_get(names, name))
			not_found(c, P_NAME(P_INDEX(p, i), "name"), name);
	}
}

static const struct vrow *container_rows(void)
{
	static const char *const resized[] = {"cpu", "memory", NULL};
	static const char *const policies[] = {"NotRequired", "RestartContainer", NULL};
	static const struct vrow rows[] = {ROW("resizePolicy[].resourceName", V_REQUIRED),
		ROW("resizePolicy[].resourceName", V_ENUM, .enums = resized),
		ROW("resizePolicy[].restartPolicy", V_REQUIRED),
		ROW("resizePolicy[].restartPolicy", V_ENUM, .enums = policies),
		ROW("resizePolicy[].resourceName", V_UNIQUE),
		ROW("volumeDevices[].name", V_REQUIRED), ROW("volumeDevices[].name", V_UNIQUE),
		ROW("volumeDevices[].devicePath", V_REQUIRED),
		ROW("volumeDevices[].devicePath", V_UNIQUE),
		ROW("resources.claims[].name", V_REQUIRED), {0}};
	return rows;
}

/* Each triple of protocol, address and port of the node is taken once. */
static void check_host_ports(struct causes *c, const struct fpath *p, const json_t *list)
{
	AUTO_JSON json_t *seen = json_object();
	size_t n = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *ports = jget(json_array_get(list, i), "ports");
		for (size_t j = 0; j < json_array_size(ports) && !causes_full(c); j++, n++) {
			const json_t *port = json_array_get(ports, j), *hp = jget(port, "hostPort");
			const struct fpath *pp = P_INDEX(P_NAME(P_INDEX(p, i), "ports"), j);
			AUTO_BUF struct buf key = {0};
			AUTO_JSON json_t *text = NULL;
			if (!json_integer_value(hp))
				continue;
			buf_addf(&key, "%s/%s/%lld", jstr(port, "protocol"), jstr(port, "hostIP"),
				(long long)json_integer_value(hp));
			text = json_string(key.p);
			if (v_seen(seen, key.p, n) < n)
				v_duplicate(c, P_NAME(pp, "hostPort"), text);
			if (jhas(port, "hostIP"))
				(void)v_format(
					c, P_NAME(pp, "hostIP"), jstr(port, "hostIP"), fmt_ip);
		}
	}
}

static void check_claims(struct causes *c, const struct fpath *p, const json_t *list, json_t *names)
{
	static const char *const sources[] = {"resourceClaimName", "resourceClaimTemplateName"};
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const json_t *claim = json_array_get(list, i);
		const struct fpath *cp = P_INDEX(p, i);
		const char *name = jstr(claim, "name");
		if (!*name)
			v_required(c, P_NAME(cp, "name"), "");
		else if (v_format(c, P_NAME(cp, "name"), name, fmt_dns1123_label) &&
			 v_seen(names, name, i) < i)
			v_duplicate(c, P_NAME(cp, "name"), jget(claim, "name"));
		if (!jget(claim, sources[0]) == !jget(claim, sources[1]))
			v_invalid(c, cp, claim,
				jget(claim, sources[0])
					? "at most one of `resourceClaimName` or "
					  "`resourceClaimTemplateName` may be specified"
					: "must specify one of: `resourceClaimName`, "
					  "`resourceClaimTemplateName`");
		for (size_t s = 0; s < ARRAY_LEN(sources); s++)
			if (jhas(claim, sources[s]))
				(void)v_format(c, P_NAME(cp, sources[s]), jstr(claim, sources[s]),
					fmt_dns1123_subdomain);
	}
}

void v_pod_confine(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
	static const char *const systems[] = {"linux", "windows", NULL};
	static const struct vrow rows[] = {
		ROW("os.name", V_REQUIRED), ROW("os.name", V_ENUM, .enums = systems), {0}};
	AUTO_JSON json_t *volumes = json_object(), *claims = json_object();
	for (size_t i = 0; i < json_array_size(jget(spec, "volumes")); i++)
		(void)v_seen(volumes, jstr(json_array_get(jget(spec, "volumes"), i), "name"), i);
	v_rows_at(c, p, rows, spec, NULL);
	check_profiles(c, P_NAME(p, "securityContext"), jget(spec, "securityContext"));
	check_claims(c, P_NAME(p, "resourceClaims"), jget(spec, "resourceClaims"), claims);
	check_host_ports(c, P_NAME(p, "containers"), jget(spec, "containers"));
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		const json_t *list = jget(spec, lists[l]);
		for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
			const json_t *ct = json_array_get(list, i);
			const struct fpath *cp = P_INDEX(P_NAME(p, lists[l]), i);
			check_profiles(
				c, P_NAME(cp, "securityContext"), jget(ct, "securityContext"));
			v_rows_at(c, cp, container_rows(), ct, NULL);
			check_known(
				c, P_NAME(cp, "volumeDevices"), jget(ct, "volumeDevices"), volumes);
			check_known(c, P_NAME(P_NAME(cp, "resources"), "claims"),
				jget(jget(ct, "resources"), "claims"), claims);
		}
	}
}
