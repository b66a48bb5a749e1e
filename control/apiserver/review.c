/* SPDX-License-Identifier: Apache-2.0
 * Kinds that are asked, not stored: bindings by collection, access, token and self reviews. */
#include "apiserver/internal.h"

#include <errno.h>

static json_t *review_body(struct req *r)
{
	struct err e = {0};
	json_t *j = NULL;
	if (decode_body(r, r->rt.kind, &j, &e) == 0 && check_subject(r, j, &e) == 0)
		return j;
	json_decref(j);
	reply_error_kind(r, &e, NULL, NULL);
	return NULL;
}

static void review_reply(struct req *r, json_t *j)
{
	if (!json_object_get(j, "metadata"))
		json_object_set_new(j, "metadata", json_object());
	reply_json(r, 201, j, r->rt.kind->type);
}

static struct str member(const json_t *j, const char *path)
{
	return str_of(json_str(j, path, ""));
}

static void decide(json_t *j, const struct user *u)
{
	const json_t *ra = json_at(j, "spec.resourceAttributes");
	const json_t *nra = json_at(j, "spec.nonResourceAttributes");
	struct access a = {.verb = json_str(ra ? ra : nra, "verb", "")};
	if (ra) {
		a.group = member(ra, "group");
		a.resource = member(ra, "resource");
		a.sub = member(ra, "subresource");
		a.ns = member(ra, "namespace");
		a.name = member(ra, "name");
	} else {
		a.path = member(nra, "path");
	}
	(void)json_put(j, "status.allowed", json_boolean(allowed(u, &a)));
}

static void self_access(struct req *r)
{
	AUTO_JSON json_t *j = review_body(r);
	if (!j)
		return;
	decide(j, &r->user);
	review_reply(r, j);
}

static void subject_access(struct req *r)
{
	AUTO_JSON json_t *j = review_body(r);
	const char *groups[65] = {0};
	size_t i;
	const json_t *g;
	if (!j)
		return;
	json_array_foreach (json_at(j, "spec.groups"), i, g) {
		if (i < ARRAY_LEN(groups) - 1)
			groups[i] = json_string_value(g);
	}
	struct user u = {.name = json_str(j, "spec.user", ""), .uid = "", .groups = groups};
	decide(j, &u);
	review_reply(r, j);
}

static void self_subject(struct req *r)
{
	AUTO_JSON json_t *j = review_body(r);
	char when[21];
	if (!j)
		return;
	json_t *groups = json_array();
	for (size_t i = 0; r->user.groups[i]; i++)
		json_array_append_new(groups, json_string(r->user.groups[i]));
	time_rfc3339(r->now_ns, when);
	(void)json_put(j, "metadata.creationTimestamp", json_string(when));
	(void)json_put(j, "status.userInfo.username", json_string(r->user.name));
	if (*r->user.uid)
		(void)json_put(j, "status.userInfo.uid", json_string(r->user.uid));
	(void)json_put(j, "status.userInfo.groups", groups);
	review_reply(r, j);
}

/* All or nothing, as the authorizer is. */
static void self_rules(struct req *r)
{
	AUTO_JSON json_t *j = review_body(r);
	if (!j)
		return;
	struct access all = {.verb = "*", .resource = STR("*")};
	json_t *rules = json_array(), *paths = json_array();
	if (allowed(&r->user, &all)) {
		json_array_append_new(rules, json_pack("{s:[s],s:[s],s:[s]}", "verbs", "*",
						     "apiGroups", "*", "resources", "*"));
		json_array_append_new(
			paths, json_pack("{s:[s],s:[s]}", "verbs", "*", "nonResourceURLs", "*"));
	} else {
		json_array_append_new(rules,
			json_pack("{s:[s],s:[s],s:[s,s,s]}", "verbs", "create", "apiGroups",
				"authorization.k8s.io", "resources", "selfsubjectaccessreviews",
				"selfsubjectrulesreviews", "selfsubjectreviews"));
	}
	(void)json_put(j, "status.resourceRules", rules);
	(void)json_put(j, "status.nonResourceRules", paths);
	(void)json_put(j, "status.incomplete", json_false());
	review_reply(r, j);
}

static void token_review(struct req *r)
{
	AUTO_JSON json_t *j = review_body(r);
	AUTO_JSON json_t *claims = NULL;
	struct err e = {0};
	if (!j)
		return;
	struct str token = member(j, "spec.token");
	int rc = r->srv->jwt
			 ? jwt_verify(r->srv->jwt, r->srv->issuer, token, r->now_ns, &claims, &e)
			 : -EACCES;
	(void)json_put(j, "status.authenticated", json_boolean(rc == 0));
	if (rc < 0) {
		(void)json_put(
			j, "status.error", json_string(e.code ? e.msg : "not a known token"));
		review_reply(r, j);
		return;
	}
	const json_t *k = json_object_get(claims, "kubernetes.io");
	const char *ns = json_str(k, "namespace", "");
	(void)json_put(j, "status.user.username", json_string(json_str(claims, "sub", "")));
	(void)json_put(j, "status.user.uid", json_string(json_str(k, "serviceaccount.uid", "")));
	(void)json_put(j, "status.user.groups",
		json_pack("[s,o,s]", "system:serviceaccounts",
			json_sprintf("system:serviceaccounts:%s", ns), "system:authenticated"));
	json_t *aud = json_object_get(claims, "aud");
	if (aud)
		(void)json_put(j, "status.audiences", json_incref(aud));
	review_reply(r, j);
}

static const struct {
	const char *plural;
	req_fn *fn;
} rows[] = {
	{"bindings", do_binding},
	{"selfsubjectaccessreviews", self_access},
	{"subjectaccessreviews", subject_access},
	{"localsubjectaccessreviews", subject_access},
	{"selfsubjectreviews", self_subject},
	{"selfsubjectrulesreviews", self_rules},
	{"tokenreviews", token_review},
};

void do_review(struct req *r)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(r->rt.kind->plural, rows[i].plural) == 0) {
			rows[i].fn(r);
			return;
		}
	struct err e = {0};
	err_set(&e, ENOSYS, "MethodNotAllowed", "this resource cannot be created");
	reply_error_kind(r, &e, NULL, NULL);
}
