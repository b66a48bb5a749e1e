/* SPDX-License-Identifier: Apache-2.0
 * What an update may change of a pod: nearly nothing. */
#include "api/rules/pod.h"

#define MSG_IMMUTABLE                                                                              \
	"pod updates may not change fields other than "                                            \
	"`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"  \
	"`spec.tolerations` (only additions to existing tolerations),"                             \
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "      \
	"negative)"

/* new's images become old's, so that what is left to compare may not differ. */
static void level_images(json_t *now, const json_t *old, const char *list)
{
	json_t *a = json_object_get(now, list);
	const json_t *b = jget(old, list);
	for (size_t i = 0; i < json_array_size(a); i++) {
		json_t *image = json_object_get(json_array_get(b, i), "image");
		if (image)
			(void)json_object_set(json_array_get(a, i), "image", image);
	}
}

static void check_images(
	struct causes *c, const struct fpath *p, const json_t *now, const json_t *old)
{
	if (json_array_size(now) != json_array_size(old)) {
		v_forbidden(c, p, "pod updates may not add or remove containers");
		return;
	}
	for (size_t i = 0; i < json_array_size(now); i++)
		if (!jhas(json_array_get(now, i), "image"))
			v_required(c, P_NAME(P_INDEX(p, i), "image"), "");
}

static void check_deadline(
	struct causes *c, const struct fpath *p, const json_t *now, const json_t *old)
{
	if (now && json_integer_value(now) < 1)
		v_invalid(c, p, now, "must be between 1 and 2147483647, inclusive");
	else if (now && old && json_integer_value(now) > json_integer_value(old))
		v_invalid(c, p, now, "must be less than or equal to previous value");
	else if (!now && old)
		v_invalid(c, p, now, "must not update from a positive integer to nil value");
}

/* A toleration but for its seconds. */
static void toleration_key(const json_t *t, struct buf *out)
{
	static const char *const members[] = {"key", "operator", "value", "effect"};
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		buf_addf(out, "%s\n", jstr(t, members[i]));
}

static void check_tolerations(
	struct causes *c, const struct fpath *p, const json_t *now, const json_t *old)
{
	AUTO_JSON json_t *have = json_object();
	for (size_t i = 0; i < json_array_size(now); i++) {
		AUTO_BUF struct buf key = {0};
		toleration_key(json_array_get(now, i), &key);
		(void)v_seen(have, key.p, i);
	}
	for (size_t i = 0; i < json_array_size(old); i++) {
		AUTO_BUF struct buf key = {0};
		toleration_key(json_array_get(old, i), &key);
		if (key.p && !json_object_get(have, key.p)) {
			v_forbidden(c, p,
				"existing toleration can not be modified except its "
				"tolerationSeconds");
			return;
		}
	}
	v_tolerations(c, p, now);
}

static bool gated(const json_t *spec)
{
	return json_array_size(jget(spec, "schedulingGates")) > 0;
}

static void check_gates(
	struct causes *c, const struct fpath *p, const json_t *now, const json_t *old)
{
	AUTO_JSON json_t *had = json_object();
	for (size_t i = 0; i < json_array_size(old); i++)
		(void)v_seen(had, jstr(json_array_get(old, i), "name"), i);
	for (size_t i = 0; i < json_array_size(now) && !causes_full(c); i++) {
		if (!json_object_get(had, jstr(json_array_get(now, i), "name")))
			v_forbidden(c, P_INDEX(p, i),
				"only deletion is allowed, but found new scheduling gate");
	}
}

static void take_over(json_t *now, const json_t *old, const char *member)
{
	json_t *v = json_object_get(old, member);
	if (v)
		(void)json_object_set(now, member, v);
	else
		(void)json_object_del(now, member);
}

void v_pod_update(struct causes *c, const json_t *obj, const json_t *old)
{
	static const char *const free_members[] = {
		"activeDeadlineSeconds", "tolerations", "schedulingGates"};
	const struct fpath *p = P_NAME(NULL, "spec");
	const json_t *now = jget(obj, "spec"), *was = jget(old, "spec");
	AUTO_JSON json_t *copy = json_deep_copy(now);
	size_t before = c->n;
	check_images(c, P_NAME(p, "containers"), jget(now, "containers"), jget(was, "containers"));
	check_images(c, P_NAME(p, "initContainers"), jget(now, "initContainers"),
		jget(was, "initContainers"));
	check_deadline(c, P_NAME(p, "activeDeadlineSeconds"), jget(now, "activeDeadlineSeconds"),
		jget(was, "activeDeadlineSeconds"));
	check_tolerations(
		c, P_NAME(p, "tolerations"), jget(now, "tolerations"), jget(was, "tolerations"));
	check_gates(c, P_NAME(p, "schedulingGates"), jget(now, "schedulingGates"),
		jget(was, "schedulingGates"));
	if (c->n > before || !copy)
		return;
	level_images(copy, was, "containers");
	level_images(copy, was, "initContainers");
	for (size_t i = 0; i < ARRAY_LEN(free_members); i++)
		take_over(copy, was, free_members[i]);
	if (json_integer_value(jget(was, "terminationGracePeriodSeconds")) < 0 &&
		json_integer_value(jget(now, "terminationGracePeriodSeconds")) == 1)
		take_over(copy, was, "terminationGracePeriodSeconds");
	if (gated(was)) { /* a gated pod may still be narrowed down */
		take_over(copy, was, "nodeSelector");
		take_over(copy, was, "affinity");
	}
	if (!jequal(copy, was))
		v_forbidden(c, p, MSG_IMMUTABLE);
}

void v_ephemeral_update(struct causes *c, const json_t *obj, const json_t *old)
{
	const struct fpath *p = P_NAME(P_NAME(NULL, "spec"), "ephemeralContainers");
	const json_t *now = jget(jget(obj, "spec"), "ephemeralContainers");
	const json_t *was = jget(jget(old, "spec"), "ephemeralContainers");
	AUTO_JSON json_t *by_name = json_object();
	v_containers(c, jget(obj, "spec"), P_NAME(NULL, "spec"));
	for (size_t i = 0; i < json_array_size(now); i++)
		(void)v_seen(by_name, jstr(json_array_get(now, i), "name"), i);
	for (size_t i = 0; i < json_array_size(was); i++) {
		const json_t *o = json_array_get(was, i);
		const json_t *at = json_object_get(by_name, jstr(o, "name"));
		const json_t *n = at ? json_array_get(now, (size_t)json_integer_value(at)) : NULL;
		if (!n)
			v_forbidden(c, p, "existing ephemeral containers may not be removed");
		else if (!jequal(n, o))
			v_forbidden(c, p, "existing ephemeral containers may not be changed");
	}
}
