/* SPDX-License-Identifier: Apache-2.0
 * Who asks: the in-process identity, a client certificate (CN, O), a static token, or a service
 * account's token. Nothing of it = system:anonymous; something wrong = 401. */
#include "apiserver/internal.h"

#include <errno.h>
#include <openssl/crypto.h>

enum { GROUPS_MAX = 64, TOKENS_MAX = 10000 };

/* --- static tokens: token,user,uid[,"group,group"] --- */

struct token_row {
	char *token, *user, *uid, *groups;
};
struct tokens {
	char *text;
	struct token_row *v;
	size_t n;
};

/* A CSV field, quotes removed, in place. */
static char *csv_field(char **p)
{
	char *s = *p, *end;
	if (*s == '"') {
		end = strchr(++s, '"');
		end = end ? end : s + strlen(s);
	} else {
		end = s + strcspn(s, ",");
	}
	*p = *end ? end + 1 : end;
	if (*end == '"' && **p == ',')
		(*p)++;
	*end = '\0';
	return s;
}

int tokens_load(const char *path, struct tokens **ret, struct err *e)
{
	AUTO_BUF struct buf b = {0};
	int rc = file_read(path, 1 << 20, &b);
	if (rc < 0)
		return err_set(e, -rc, NULL, "cannot read the token file %s", path);
	struct tokens *t = calloc(1, sizeof(*t));
	if (t)
		t->text = buf_steal(&b);
	char *save = NULL;
	for (char *l = t && t->text ? strtok_r(t->text, "\n", &save) : NULL; l;
		l = strtok_r(NULL, "\n", &save)) {
		struct token_row *v = realloc(t->v, (t->n + 1) * sizeof(*v));
		if (!*l || *l == '#' || !v || t->n == TOKENS_MAX)
			continue;
		t->v = v;
		v[t->n] = (struct token_row){.token = csv_field(&l)};
		v[t->n].user = csv_field(&l);
		v[t->n].uid = csv_field(&l);
		v[t->n].groups = csv_field(&l);
		if (*v[t->n].token && *v[t->n].user)
			t->n++;
	}
	if (!t)
		return err_set(e, ENOMEM, NULL, "out of memory");
	*ret = t;
	return 0;
}

void tokens_free(struct tokens *t)
{
	if (!t)
		return;
	free(t->text);
	free(t->v);
	free(t);
}

/* --- the identity being put together --- */

static bool user_begin(struct req *r, struct str name)
{
	r->user.groups = arena_alloc(&r->arena, (GROUPS_MAX + 1) * sizeof(char *));
	r->user.name = arena_strdup(&r->arena, name);
	r->user.uid = "";
	return r->user.groups && r->user.name;
}

static void user_group(struct req *r, struct str g)
{
	size_t n = 0;
	while (r->user.groups[n])
		n++;
	if (n < GROUPS_MAX)
		r->user.groups[n] = arena_strdup(&r->arena, g);
}

bool user_in_group(const struct user *u, const char *group)
{
	for (size_t i = 0; u->groups && u->groups[i]; i++)
		if (strcmp(u->groups[i], group) == 0)
			return true;
	return false;
}

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "InternalError", "out of memory");
}

static int by_trust(struct req *r, struct err *e)
{
	const struct http_peer *p = &r->x->peer;
	if (!user_begin(r, str_of(p->trusted_user)))
		return no_memory(e);
	for (size_t i = 0; p->trusted_groups && p->trusted_groups[i]; i++)
		user_group(r, str_of(p->trusted_groups[i]));
	user_group(r, STR("system:authenticated"));
	return 0;
}

static int by_cert(struct req *r, struct err *e)
{
	const struct http_peer *p = &r->x->peer;
	if (!user_begin(r, p->cert_cn))
		return no_memory(e);
	for (size_t i = 0; i < p->n_cert_orgs; i++)
		user_group(r, p->cert_orgs[i]);
	user_group(r, STR("system:authenticated"));
	return 0;
}

static int by_static_token(struct req *r, const struct token_row *t, struct err *e)
{
	if (!user_begin(r, str_of(t->user)))
		return no_memory(e);
	r->user.uid = arena_strdup(&r->arena, str_of(t->uid));
	struct str g = str_of(t->groups);
	while (g.n)
		user_group(r, str_cut(&g, ','));
	user_group(r, STR("system:authenticated"));
	return 0;
}

static struct obj *find_obj(struct cache_res *res, const char *ns, const char *name)
{
	char key[600];
	if (!res || snprintf(key, sizeof(key), "%s/%s", ns, name) >= (int)sizeof(key))
		return NULL;
	return cache_get(res, str_of(key));
}

/* The token ends with the objects it is bound to. */
static bool still_there(struct cache_res *res, const char *ns, const char *name, const char *uid)
{
	struct obj *o = find_obj(res, ns, name);
	bool ok = o && str_eqz(obj_uid(jv_of(obj_bytes(o))), uid);
	obj_unref(o);
	return ok;
}

static bool has_audience(const json_t *claims, const char *want)
{
	size_t i;
	const json_t *v;
	json_array_foreach (json_object_get(claims, "aud"), i, v) {
		if (json_is_string(v) && strcmp(json_string_value(v), want) == 0)
			return true;
	}
	return false;
}

static int by_jwt(struct req *r, struct str token, struct err *e)
{
	struct apiserver *s = r->srv;
	AUTO_JSON json_t *c = NULL;
	int rc = jwt_verify(s->jwt, s->issuer, token, r->now_ns, &c, e);
	if (rc < 0)
		return rc;
	const json_t *k = json_object_get(c, "kubernetes.io");
	const char *ns = json_str(k, "namespace", "");
	const char *sa = json_str(k, "serviceaccount.name", "");
	const char *pod = json_str(k, "pod.name", NULL);
	if (!has_audience(c, s->issuer))
		return err_set(e, EACCES, "Unauthorized", "the token is for another audience");
	if (!still_there(s->serviceaccounts, ns, sa, json_str(k, "serviceaccount.uid", "")) ||
		(pod && !still_there(s->pods, ns, pod, json_str(k, "pod.uid", ""))))
		return err_set(e, EACCES, "Unauthorized", "what the token is bound to is gone");
	if (!user_begin(r, str_of(json_str(c, "sub", ""))))
		return no_memory(e);
	r->user.uid = arena_strdup(&r->arena, str_of(json_str(k, "serviceaccount.uid", "")));
	user_group(r, STR("system:serviceaccounts"));
	user_group(r, str_of(arena_printf(&r->arena, "system:serviceaccounts:%s", ns)));
	user_group(r, STR("system:authenticated"));
	return 0;
}

static int by_token(struct req *r, struct str token, struct err *e)
{
	const struct tokens *t = r->srv->tokens;
	for (size_t i = 0; t && i < t->n; i++)
		if (strlen(t->v[i].token) == token.n &&
			CRYPTO_memcmp(t->v[i].token, token.p, token.n) == 0)
			return by_static_token(r, &t->v[i], e);
	if (r->srv->jwt && memchr(token.p, '.', token.n))
		return by_jwt(r, token, e);
	return -EACCES;
}

int authenticate(struct req *r, struct err *e)
{
	const struct http_peer *p = &r->x->peer;
	if (p->trusted_user)
		return by_trust(r, e);
	if (p->cert_cn.n)
		return by_cert(r, e);
	struct str h = http_header_get(r->x, "authorization");
	if (h.n > 7 && strncasecmp(h.p, "bearer ", 7) == 0) {
		int rc = by_token(r, (struct str){h.p + 7, h.n - 7}, e);
		if (rc == -EACCES) /* the reason stays here: it would help to guess */
			rc = err_set(e, EACCES, "Unauthorized", "Unauthorized");
		return rc;
	}
	if (!user_begin(r, STR("system:anonymous")))
		return no_memory(e);
	user_group(r, STR("system:unauthenticated"));
	return 0;
}
