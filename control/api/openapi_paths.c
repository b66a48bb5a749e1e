/* SPDX-License-Identifier: Apache-2.0
 * The "paths" of the OpenAPI documents. What clients read of them: which PATCH takes which query
 * parameters, which path belongs to which kind, and the action. */
#include <ctype.h>
#include "api/openapi.h"

enum body { BODY_NONE, BODY_OBJECT, BODY_PATCH, BODY_DELETE };

static const char *const p_read[] = {"pretty", NULL};
static const char *const p_list[] = {"allowWatchBookmarks", "continue", "fieldSelector",
	"labelSelector", "limit", "pretty", "resourceVersion", "resourceVersionMatch",
	"sendInitialEvents", "timeoutSeconds", "watch", NULL};
static const char *const p_write[] = {"dryRun", "fieldManager", "fieldValidation", "pretty", NULL};
static const char *const p_patch[] = {
	"dryRun", "fieldManager", "fieldValidation", "force", "pretty", NULL};
static const char *const p_delete[] = {
	"dryRun", "gracePeriodSeconds", "orphanDependents", "pretty", "propagationPolicy", NULL};
static const char *const p_delete_many[] = {"continue", "dryRun", "fieldSelector",
	"gracePeriodSeconds", "labelSelector", "limit", "orphanDependents", "pretty",
	"propagationPolicy", "resourceVersion", "resourceVersionMatch", "timeoutSeconds", NULL};

static const struct operation {
	uint16_t verb;
	bool collection;
	const char *method, *action, *word;
	const char *const *params;
	enum body body;
	const char *code;
} operations[] = {
	{VERB_LIST, true, "get", "list", "list", p_list, BODY_NONE, "200"},
	{VERB_CREATE, true, "post", "post", "create", p_write, BODY_OBJECT, "201"},
	{VERB_DELETECOLLECTION, true, "delete", "deletecollection", "deleteCollection",
		p_delete_many, BODY_DELETE, "200"},
	{VERB_GET, false, "get", "get", "read", p_read, BODY_NONE, "200"},
	{VERB_UPDATE, false, "put", "put", "replace", p_write, BODY_OBJECT, "200"},
	{VERB_PATCH, false, "patch", "patch", "patch", p_patch, BODY_PATCH, "200"},
	{VERB_DELETE, false, "delete", "delete", "delete", p_delete, BODY_DELETE, "200"},
};

static const struct {
	const char *name, *type, *doc;
} param_docs[] = {
	{"allowWatchBookmarks", "boolean", "Ask for events of type BOOKMARK on a watch."},
	{"continue", "string", "Token of the next page, from the previous answer."},
	{"dryRun", "string", "All: do everything except storing the result."},
	{"fieldManager", "string", "Name of the actor behind this change."},
	{"fieldSelector", "string", "Only objects whose fields match."},
	{"fieldValidation", "string",
		"What unknown and duplicate fields do: Ignore, Warn or Strict."},
	{"force", "boolean", "Take fields over from other managers (apply only)."},
	{"gracePeriodSeconds", "integer", "Seconds before the object is deleted."},
	{"labelSelector", "string", "Only objects whose labels match."},
	{"limit", "integer", "At most this many objects in one answer."},
	{"name", "string", "Name of the object."},
	{"namespace", "string", "Namespace of the object."},
	{"orphanDependents", "boolean", "Old form of propagationPolicy."},
	{"path", "string", "Rest of the path."},
	{"pretty", "string", "Indent the answer."},
	{"propagationPolicy", "string",
		"What happens to dependents: Orphan, Background or Foreground."},
	{"resourceVersion", "string", "Which version of the data to read."},
	{"resourceVersionMatch", "string", "How resourceVersion is meant."},
	{"sendInitialEvents", "boolean", "Start a watch with the objects that exist."},
	{"timeoutSeconds", "integer", "Limit of the call's duration."},
	{"watch", "boolean", "Stream changes instead of a list."},
};

static void parameter(const struct openapi *o, const char *name, const char *in, const char *sep)
{
	size_t i = 0;
	while (i + 1 < ARRAY_LEN(param_docs) && strcmp(param_docs[i].name, name) != 0)
		i++;
	buf_addf(o->out, "%s{\"name\":\"%s\",\"in\":\"%s\",\"description\":\"%s\",", sep, name, in,
		param_docs[i].doc);
	if (*in == 'p')
		buf_adds(o->out, "\"required\":true,");
	if (o->v2)
		buf_addf(o->out, "\"type\":\"%s\",\"uniqueItems\":true}", param_docs[i].type);
	else
		buf_addf(o->out, "\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}}",
			param_docs[i].type);
}

struct target { /* what a body or answer is: a type, a kind or its list; else any object */
	const struct type *type;
	const struct kind *kind;
	bool list;
};

static void schema_ref(const struct openapi *o, struct target t)
{
	buf_addc(o->out, '{');
	if (t.kind)
		openapi_kind_ref(o, t.kind, t.list);
	else if (t.type)
		openapi_type_ref(o, t.type);
	else
		buf_adds(o->out, "\"type\":\"object\"");
	buf_addc(o->out, '}');
}

static const char *const patch_types[] = {"application/json-patch+json",
	"application/merge-patch+json", "application/strategic-merge-patch+json",
	"application/apply-patch+yaml"};

static void v3_body(const struct openapi *o, const struct kind *k, struct target t, enum body body)
{
	buf_adds(o->out, ",\"requestBody\":{\"content\":{");
	if (body != BODY_PATCH) {
		buf_adds(o->out, "\"*/*\":{\"schema\":");
		schema_ref(o, t);
		buf_addc(o->out, '}');
	}
	const char *sep = "";
	for (size_t i = 0; body == BODY_PATCH && i < ARRAY_LEN(patch_types); i++) {
		if (k->custom && strstr(patch_types[i], "strategic"))
			continue;
		buf_addf(
			o->out, "%s\"%s\":{\"schema\":{\"type\":\"object\"}}", sep, patch_types[i]);
		sep = ",";
	}
	buf_adds(o->out, "}}");
}

static void parameters(
	const struct openapi *o, const struct kind *k, const struct operation *op, struct target t)
{
	const char *sep = "";
	buf_adds(o->out, ",\"parameters\":[");
	if (o->v2 && op->body != BODY_NONE) {
		buf_addf(o->out, "{\"name\":\"body\",\"in\":\"body\",\"required\":%s,\"schema\":",
			op->body == BODY_DELETE ? "false" : "true");
		schema_ref(o, op->body == BODY_PATCH ? (struct target){0} : t);
		buf_addc(o->out, '}');
		sep = ",";
	}
	for (size_t i = 0; op->params[i]; i++, sep = ",")
		parameter(o, op->params[i], "query", sep);
	buf_addc(o->out, ']');
	if (!o->v2 && op->body != BODY_NONE)
		v3_body(o, k, t, op->body);
}

static void responses(const struct openapi *o, const char *code, struct target t)
{
	buf_addf(o->out, ",\"responses\":{\"%s\":{\"description\":\"OK\",", code);
	if (!o->v2)
		buf_adds(o->out, "\"content\":{\"application/json\":{");
	buf_adds(o->out, "\"schema\":");
	schema_ref(o, t);
	buf_adds(o->out, o->v2 ? "}" : "}}}");
	buf_adds(o->out, ",\"401\":{\"description\":\"Unauthorized\"}}");
}

/* "apps" -> "Apps", "networking.k8s.io" -> "Networking", "" -> "Core". */
static void add_camel(struct buf *out, const char *s)
{
	buf_addc(out, (char)toupper((unsigned char)*s));
	for (s++; *s && *s != '.'; s++)
		buf_addc(out, *s);
}

static void operation_id(
	const struct openapi *o, const struct kind *k, const char *word, const char *sub)
{
	buf_addf(o->out, "\"operationId\":\"%s", word);
	add_camel(o->out, *k->group ? k->group : "core");
	add_camel(o->out, k->version);
	buf_addf(o->out, "%s%s", k->namespaced ? "Namespaced" : "", k->kind);
	if (*sub)
		add_camel(o->out, sub);
	buf_addc(o->out, '"');
}

static void operation(const struct openapi *o, const struct kind *k, const struct operation *op,
	const char *sub, const char *sep)
{
	bool del = op->body == BODY_DELETE;
	struct target body = {
		.type = type_by_name("meta.v1.DeleteOptions"), .kind = del ? NULL : k};
	struct target answer = {.type = type_by_name("meta.v1.Status"),
		.kind = del ? NULL : k,
		.list = op->verb == VERB_LIST};
	buf_addf(o->out, "%s\"%s\":{\"description\":\"%s %s\",\"tags\":[\"%s_%s\"],", sep,
		op->method, op->action, k->kind, *k->group ? k->group : "core", k->version);
	operation_id(o, k, op->word, sub);
	parameters(o, k, op, body);
	responses(o, op->code, answer);
	buf_addf(o->out,
		",\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":", op->action);
	openapi_gvk(o, k);
	buf_addc(o->out, '}');
}

static void path_head(const struct openapi *o, const struct kind *k, bool namespaced, bool item,
	const char *sub, const char *sep)
{
	const char *psep = "";
	buf_addf(o->out, "%s\"%s%s/%s%s/%s%s%s%s\":{", sep, *k->group ? "/apis/" : "/api", k->group,
		k->version, namespaced ? "/namespaces/{namespace}" : "", k->plural,
		item ? "/{name}" : "", *sub ? "/" : "", sub);
	buf_adds(o->out, "\"parameters\":[");
	if (item) {
		parameter(o, "name", "path", psep);
		psep = ",";
	}
	if (namespaced)
		parameter(o, "namespace", "path", psep);
	buf_addc(o->out, ']');
}

static void one_path(const struct openapi *o, const struct kind *k, bool namespaced,
	bool collection, uint16_t verbs, const char *sub, const char *sep)
{
	path_head(o, k, namespaced, !collection, sub, sep);
	for (size_t i = 0; i < ARRAY_LEN(operations); i++)
		if (operations[i].collection == collection && (verbs & operations[i].verb))
			operation(o, k, &operations[i], sub, ",");
	buf_addc(o->out, '}');
}

void openapi_paths(const struct openapi *o, const struct kind *k, bool first)
{
	const uint16_t rw = VERB_GET | VERB_UPDATE | VERB_PATCH;
	const uint16_t many = VERB_LIST | VERB_CREATE | VERB_DELETECOLLECTION;
	const char *sep = first ? "" : ",";
	if (k->verbs & many) {
		one_path(o, k, k->namespaced, true, k->verbs, "", sep);
		sep = ",";
	}
	if (k->namespaced && (k->verbs & VERB_LIST))
		one_path(o, k, false, true, VERB_LIST, "", sep);
	if (k->verbs & (rw | VERB_DELETE))
		one_path(o, k, k->namespaced, false, k->verbs, "", sep);
	if (k->subresources & SUB_STATUS)
		one_path(o, k, k->namespaced, false, rw, "status", sep);
}
