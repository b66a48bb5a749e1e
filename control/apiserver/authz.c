/* SPDX-License-Identifier: Apache-2.0
 * May he: one function over the attributes that RBAC rules speak of. Built-in identities only. */
#include "apiserver/internal.h"

#include <errno.h>

/* Identities that may do everything. */
static const char *const almighty_groups[] = {
	"system:masters", "system:nodes", "system:serviceaccounts:kube-system"};
static const char *const almighty_users[] = {
	"system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"};

/* Open to everybody, known or not. */
static const char *const open_paths[] = {"/healthz", "/livez", "/readyz", "/version"};
/* Open to everybody who is known. */
static const char *const discovery_paths[] = {
	"/api", "/apis", "/openapi", "/openid", "/.well-known"};
static const char *const self_reviews[] = {
	"selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews"};

static bool under(struct str path, const char *root)
{
	size_t n = strlen(root);
	return str_starts(path, root) && (path.n == n || path.p[n] == '/');
}

static bool allowed_path(const struct user *u, struct str path)
{
	for (size_t i = 0; i < ARRAY_LEN(open_paths); i++)
		if (under(path, open_paths[i]))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(discovery_paths); i++)
		if (under(path, discovery_paths[i]) && user_in_group(u, "system:authenticated"))
			return true;
	return false;
}

bool allowed(const struct user *u, const struct access *a)
{
	for (size_t i = 0; i < ARRAY_LEN(almighty_groups); i++)
		if (user_in_group(u, almighty_groups[i]))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(almighty_users); i++)
		if (strcmp(u->name, almighty_users[i]) == 0)
			return true;
	if (a->path.n)
		return (strcmp(a->verb, "get") == 0) && allowed_path(u, a->path);
	for (size_t i = 0; i < ARRAY_LEN(self_reviews); i++)
		if (str_eqz(a->resource, self_reviews[i]) && strcmp(a->verb, "create") == 0)
			return user_in_group(u, "system:authenticated");
	return false;
}

bool authorize(struct req *r, struct err *e)
{
	const struct route *rt = &r->rt;
	bool resource = rt->kind != NULL;
	struct access a = {.verb = resource ? verb_names[r->verb] : "get",
		.group = rt->group,
		.resource = rt->plural,
		.sub = rt->sub,
		.ns = rt->ns,
		.name = rt->name,
		.path = resource ? (struct str){0} : r->path};
	if (allowed(&r->user, &a))
		return true;
	if (!resource) {
		err_set(e, EPERM, "Forbidden", "forbidden: User \"%s\" cannot %s path \"%.*s\"",
			r->user.name, a.verb, STR_FMT(r->path));
		return false;
	}
	const char *scope =
		rt->ns.n ? arena_printf(&r->arena, "in the namespace \"%.*s\"", STR_FMT(rt->ns))
			 : "at the cluster scope";
	err_set(e, EPERM, "Forbidden",
		"%s%s%.*s%s is forbidden: User \"%s\" cannot %s resource \"%.*s%s%.*s\" in API "
		"group "
		"\"%.*s\" %s",
		qualified(r, rt->kind), rt->name.n ? " \"" : "", STR_FMT(rt->name),
		rt->name.n ? "\"" : "", r->user.name, a.verb, STR_FMT(rt->plural),
		rt->sub.n ? "/" : "", STR_FMT(rt->sub), STR_FMT(rt->group), scope ? scope : "");
	return false;
}
