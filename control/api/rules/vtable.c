/* SPDX-License-Identifier: Apache-2.0
 * Walks the paths of rows of checks. */
#include "api/rules/vtable.h"
#include <ctype.h>

struct visit {
	struct causes *c;
	const struct vrow *row;
	json_t *seen; /* V_UNIQUE */
	size_t n;
};

static void check_unique(struct visit *v, const struct fpath *p, const json_t *now)
{
	AUTO_BUF struct buf key = {0};
	if (!now)
		return;
	json_write(now, &key);
	if (key.p && v_seen(v->seen, key.p, v->n) < v->n)
		v_duplicate(v->c, p, now);
	v->n++;
}

static void check_amount(struct causes *c, const struct fpath *p, const json_t *now)
{
	int64_t milli;
	if (jquantity(now, &milli) == 0 && milli < 0)
		v_invalid(c, p, now, MSG_NONNEG);
}

static void check_one(struct visit *v, const struct fpath *p, const json_t *now, const json_t *old)
{
	const struct vrow *r = v->row;
	const char *s = json_string_value(now);
	switch (r->check) {
	case V_REQUIRED:
		if (jequal(now, NULL))
			v_required(v->c, p, r->text ? r->text : "");
		break;
	case V_FORMAT:
		if (s && *s)
			(void)v_format(v->c, p, s, r->format);
		break;
	case V_ENUM:
		if (s && *s)
			(void)v_enum(v->c, p, now, r->enums);
		break;
	case V_RANGE:
		if (json_is_integer(now) &&
			(json_integer_value(now) < r->min || json_integer_value(now) > r->max))
			v_invalid(v->c, p, now, "%s", r->text ? r->text : MSG_NONNEG);
		break;
	case V_MOST:
		if (json_array_size(now) > (size_t)r->max)
			v_too_many(v->c, p, json_array_size(now), (size_t)r->max);
		break;
	case V_UNIQUE:
		check_unique(v, p, now);
		break;
	case V_SELECTOR:
		v_label_selector(v->c, p, now, false);
		break;
	case V_LABELS:
		v_labels(v->c, p, now);
		break;
	case V_AMOUNT:
		check_amount(v->c, p, now);
		break;
	case V_FIXED:
		(void)v_immutable(v->c, p, now, old);
		break;
	case V_FORBIDDEN:
		if (!jequal(now, old))
			v_forbidden(v->c, p, r->text);
		break;
	case V_END:
		break;
	}
}

static void walk(struct visit *v, const char *path, const struct fpath *p, const json_t *now,
	const json_t *old)
{
	char name[64];
	size_t n = strcspn(path, ".[");
	if (n >= sizeof(name))
		return;
	memcpy(name, path, n);
	name[n] = 0;
	const json_t *a = jget(now, name), *b = jget(old, name);
	const struct fpath *ap = P_NAME(p, name);
	path += n;
	if (!*path) {
		check_one(v, ap, a, b);
	} else if (*path == '.') {
		if (a || b)
			walk(v, path + 1, ap, a, b);
	} else {
		for (size_t i = 0; i < json_array_size(a) && !causes_full(v->c); i++) {
			const json_t *e = json_array_get(a, i);
			if (path[2])
				walk(v, path + 3, P_INDEX(ap, i), e, NULL);
			else
				check_one(v, P_INDEX(ap, i), e, NULL);
		}
	}
}

void v_rows_at(struct causes *c, const struct fpath *p, const struct vrow *rows, const json_t *obj,
	const json_t *old)
{
	for (const struct vrow *r = rows; r->check != V_END; r++) {
		bool on_update = r->check == V_FIXED || r->check == V_FORBIDDEN;
		AUTO_JSON json_t *seen = r->check == V_UNIQUE ? json_object() : NULL;
		struct visit v = {.c = c, .row = r, .seen = seen};
		if (!on_update || old)
			walk(&v, r->path, p, obj, old);
	}
}

void v_rows(struct causes *c, const struct vrow *rows, const json_t *obj, const json_t *old)
{
	v_rows_at(c, NULL, rows, obj, old);
}

/* --- formats that only these kinds use --- */

size_t fmt_driver_name(struct str s, const char *msg[static MSG_MAX])
{
	char lower[64];
	size_t n = 0;
	if (s.n > 63) {
		msg[0] = "must be no more than 63 characters";
		return 1;
	}
	for (; n < s.n; n++)
		lower[n] = (char)tolower((unsigned char)s.p[n]);
	return fmt_dns1123_subdomain((struct str){lower, n}, msg);
}

/* "example.com/name": a domain and a path. */
size_t fmt_domain_path(struct str s, const char *msg[static MSG_MAX])
{
	struct str path = s, domain = str_cut(&path, '/');
	if (domain.n == s.n || domain.n == 0 || path.n == 0) {
		msg[0] = "must be a domain-prefixed path (such as \"acme.io/foo\")";
		return 1;
	}
	size_t n = fmt_dns1123_subdomain(domain, msg);
	for (size_t i = 0; n == 0 && i < path.n; i++)
		if (!isalnum((unsigned char)path.p[i]) &&
			!strchr("/-._~%!$&'()*+,;=:", path.p[i])) {
			msg[n++] = "Invalid path";
			break;
		}
	return n;
}

size_t fmt_three_segments(struct str s, const char *msg[static MSG_MAX])
{
	size_t dots = 0, n = fmt_dns1123_subdomain(s, msg);
	for (size_t i = 0; i < s.n; i++)
		dots += s.p[i] == '.';
	if (n == 0 && dots < 2)
		msg[n++] = "should be a domain with at least three segments separated by dots";
	return n;
}
