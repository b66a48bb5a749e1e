/* SPDX-License-Identifier: Apache-2.0
 * Discovery documents: which groups, versions, resources and subresources exist, plain
 * (APIGroupList, APIResourceList) and aggregated (apidiscovery.k8s.io/v2). */
#include <errno.h>
#include "api/api.h"

static const struct verb {
	uint16_t bit;
	const char *name;
} verbs[] = {
	{VERB_CREATE, "create"},
	{VERB_DELETE, "delete"},
	{VERB_DELETECOLLECTION, "deletecollection"},
	{VERB_GET, "get"},
	{VERB_LIST, "list"},
	{VERB_PATCH, "patch"},
	{VERB_UPDATE, "update"},
	{VERB_WATCH, "watch"},
};
#define V_RW	(VERB_GET | VERB_PATCH | VERB_UPDATE)
#define V_PROXY (VERB_CREATE | VERB_DELETE | VERB_GET | VERB_PATCH | VERB_UPDATE)

/* kind NULL: the parent's; a leading '+' puts the parent's kind in front. */
static const struct sub {
	uint16_t bit;
	const char *name, *group, *version, *kind;
	uint16_t verbs;
} subs[] = {
	{SUB_APPROVAL, "approval", "", "", NULL, V_RW},
	{SUB_ATTACH, "attach", "", "", "+AttachOptions", VERB_CREATE | VERB_GET},
	{SUB_BINDING, "binding", "", "", "Binding", VERB_CREATE},
	{SUB_EPHEMERAL, "ephemeralcontainers", "", "", NULL, V_RW},
	{SUB_EVICTION, "eviction", "policy", "v1", "Eviction", VERB_CREATE},
	{SUB_EXEC, "exec", "", "", "+ExecOptions", VERB_CREATE | VERB_GET},
	{SUB_FINALIZE, "finalize", "", "", NULL, VERB_UPDATE},
	{SUB_LOG, "log", "", "", NULL, VERB_GET},
	{SUB_PORTFORWARD, "portforward", "", "", "+PortForwardOptions", VERB_CREATE | VERB_GET},
	{SUB_PROXY, "proxy", "", "", "+ProxyOptions", V_PROXY},
	{SUB_RESIZE, "resize", "", "", NULL, V_RW},
	{SUB_SCALE, "scale", "autoscaling", "v1", "Scale", V_RW},
	{SUB_STATUS, "status", "", "", NULL, V_RW},
	{SUB_TOKEN, "token", "authentication.k8s.io", "v1", "TokenRequest", VERB_CREATE},
};

static void write_verbs(uint16_t bits, struct buf *out)
{
	const char *sep = "";
	buf_adds(out, "\"verbs\":[");
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (!(bits & verbs[i].bit))
			continue;
		buf_addf(out, "%s\"%s\"", sep, verbs[i].name);
		sep = ",";
	}
	buf_addc(out, ']');
}

static void write_list(const char *name, const char *const *v, struct buf *out)
{
	if (!v || !v[0])
		return;
	buf_addf(out, ",\"%s\":[", name);
	for (size_t i = 0; v[i]; i++)
		buf_addf(out, "%s\"%s\"", i ? "," : "", v[i]);
	buf_addc(out, ']');
}

static void write_sub_kind(const struct kind *k, const struct sub *s, struct buf *out)
{
	if (!s->kind)
		buf_addf(out, "\"kind\":\"%s\"", k->kind);
	else if (*s->kind == '+')
		buf_addf(out, "\"kind\":\"%s%s\"", k->kind, s->kind + 1);
	else
		buf_addf(out, "\"kind\":\"%s\"", s->kind);
}

/* --- plain --- */

static void plain_sub(const struct kind *k, const struct sub *s, struct buf *out)
{
	buf_addf(out, ",{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":%s,", k->plural,
		s->name, k->namespaced ? "true" : "false");
	if (*s->group)
		buf_addf(out, "\"group\":\"%s\",\"version\":\"%s\",", s->group, s->version);
	write_sub_kind(k, s, out);
	buf_addc(out, ',');
	write_verbs(s->verbs, out);
	buf_addc(out, '}');
}

static void plain_resource(const struct kind *k, struct buf *out)
{
	buf_addf(out, "{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\",",
		k->plural, k->singular, k->namespaced ? "true" : "false", k->kind);
	write_verbs(k->verbs, out);
	write_list("shortNames", k->short_names, out);
	write_list("categories", k->categories, out);
	buf_addc(out, '}');
	for (size_t i = 0; i < ARRAY_LEN(subs); i++)
		if (k->subresources & subs[i].bit)
			plain_sub(k, &subs[i], out);
}

static bool in_version(const struct kind *k, struct str group, struct str version)
{
	return str_eqz(group, k->group) && str_eqz(version, k->version);
}

int discovery_resources(
	const struct kinds *ks, struct str group, struct str version, struct buf *out)
{
	size_t n = 0, mark = out->len;
	buf_addf(out, "{\"kind\":\"APIResourceList\",%s\"groupVersion\":\"%.*s%s%.*s\",",
		group.n ? "\"apiVersion\":\"v1\"," : "", STR_FMT(group), group.n ? "/" : "",
		STR_FMT(version));
	buf_adds(out, "\"resources\":[");
	for (size_t i = 0; i < ks->n; i++) {
		const struct kind *k = ks->v[i];
		if (!in_version(k, group, version))
			continue;
		if (n++)
			buf_addc(out, ',');
		plain_resource(k, out);
	}
	buf_adds(out, "]}");
	if (n)
		return 0;
	out->len = mark;
	return -ENOENT;
}

/* --- groups. Kinds are sorted by group and version; within a group the last version is preferred.
 */

static size_t group_end(const struct kinds *ks, size_t i)
{
	const char *g = ks->v[i]->group;
	while (i < ks->n && strcmp(ks->v[i]->group, g) == 0)
		i++;
	return i;
}

/* Calls fn for each version of kinds [from, to), newest first; idx counts them. */
typedef void version_fn(
	const struct kinds *ks, size_t from, size_t to, size_t idx, struct buf *out);
static void each_version(
	const struct kinds *ks, size_t from, size_t to, version_fn *fn, struct buf *out)
{
	size_t idx = 0;
	while (to > from) {
		size_t start = to - 1;
		while (start > from &&
			strcmp(ks->v[start - 1]->version, ks->v[to - 1]->version) == 0)
			start--;
		fn(ks, start, to, idx++, out);
		to = start;
	}
}

static void version_ref(const struct kind *k, struct buf *out)
{
	buf_addf(out, "{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}", k->group, k->version,
		k->version);
}

static void plain_version(
	const struct kinds *ks, size_t from, size_t to, size_t idx, struct buf *out)
{
	(void)to;
	if (idx)
		buf_addc(out, ',');
	version_ref(ks->v[from], out);
}

static void plain_group(const struct kinds *ks, size_t from, size_t to, bool alone, struct buf *out)
{
	buf_addf(out, "{%s\"name\":\"%s\",\"versions\":[",
		alone ? "\"kind\":\"APIGroup\",\"apiVersion\":\"v1\"," : "", ks->v[from]->group);
	each_version(ks, from, to, plain_version, out);
	buf_adds(out, "],\"preferredVersion\":");
	version_ref(ks->v[to - 1], out);
	buf_addc(out, '}');
}

void discovery_groups(const struct kinds *ks, struct buf *out)
{
	const char *sep = "";
	buf_adds(out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
	for (size_t i = 0; i < ks->n; i = group_end(ks, i)) {
		if (!*ks->v[i]->group)
			continue;
		buf_adds(out, sep);
		plain_group(ks, i, group_end(ks, i), false, out);
		sep = ",";
	}
	buf_adds(out, "]}");
}

int discovery_group(const struct kinds *ks, struct str group, struct buf *out)
{
	for (size_t i = 0; group.n && i < ks->n; i = group_end(ks, i)) {
		if (!str_eqz(group, ks->v[i]->group))
			continue;
		plain_group(ks, i, group_end(ks, i), true, out);
		return 0;
	}
	return -ENOENT;
}

/* --- aggregated --- */

static void aggregated_sub(
	const struct kind *k, const struct sub *s, const char *sep, struct buf *out)
{
	bool own = k->custom && !s->kind;
	buf_addf(out,
		"%s{\"subresource\":\"%s\",\"responseKind\":{\"group\":\"%s\",\"version\":\"%s\",",
		sep, s->name, own ? k->group : s->group, own ? k->version : s->version);
	write_sub_kind(k, s, out);
	buf_adds(out, "},");
	write_verbs(s->verbs, out);
	buf_addc(out, '}');
}

static void aggregated_resource(const struct kind *k, struct buf *out)
{
	const char *sep = ",\"subresources\":[";
	buf_addf(out,
		"{\"resource\":\"%s\",\"responseKind\":{\"group\":\"%s\",\"version\":\"%s\","
		"\"kind\":"
		"\"%s\"},\"scope\":\"%s\",\"singularResource\":\"%s\",",
		k->plural, k->custom ? k->group : "", k->custom ? k->version : "", k->kind,
		k->namespaced ? "Namespaced" : "Cluster", k->singular);
	write_verbs(k->verbs, out);
	write_list("shortNames", k->short_names, out);
	write_list("categories", k->categories, out);
	for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
		if (!(k->subresources & subs[i].bit))
			continue;
		aggregated_sub(k, &subs[i], sep, out);
		sep = ",";
	}
	buf_adds(out, *sep == ',' && sep[1] == 0 ? "]}" : "}");
}

static void aggregated_version(
	const struct kinds *ks, size_t from, size_t to, size_t idx, struct buf *out)
{
	buf_addf(
		out, "%s{\"version\":\"%s\",\"resources\":[", idx ? "," : "", ks->v[from]->version);
	for (size_t i = from; i < to; i++) {
		if (i > from)
			buf_addc(out, ',');
		aggregated_resource(ks->v[i], out);
	}
	buf_adds(out, "],\"freshness\":\"Current\"}");
}

void discovery_aggregated(const struct kinds *ks, bool core, struct buf *out)
{
	const char *sep = "";
	buf_adds(out,
		"{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/v2\","
		"\"metadata\":{},\"items\":[");
	for (size_t i = 0; i < ks->n; i = group_end(ks, i)) {
		const char *g = ks->v[i]->group;
		if (!*g != core)
			continue;
		buf_adds(out, sep);
		if (*g)
			buf_addf(out, "{\"metadata\":{\"name\":\"%s\"},\"versions\":[", g);
		else
			buf_adds(out, "{\"metadata\":{},\"versions\":[");
		each_version(ks, i, group_end(ks, i), aggregated_version, out);
		buf_adds(out, "]}");
		sep = ",";
	}
	buf_adds(out, "]}");
}
