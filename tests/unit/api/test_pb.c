/* SPDX-License-Identifier: Apache-2.0
 * Protobuf: every kind with generated objects there and back, Go's way of writing zeros, hostile
 * bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "api/api.h"
#include "xebec/base/json.h"

static json_t *generate(const struct type *t, unsigned depth, unsigned *seed);

static unsigned next(unsigned *seed)
{
	return (*seed = *seed * 1103515245u + 12345u) >> 16;
}

static json_t *scalar(const struct field *f, unsigned depth, unsigned *seed)
{
	static const char *const quantities[] = {"0", "100m", "1Gi", "5", "1500Mi"};
	switch (f->kind) {
	case F_STRING:
		return json_sprintf("s%u\xc3\xa9", next(seed));
	case F_BOOL:
		return next(seed) % 2 && !f->nullable
			       ? json_true()
			       : json_boolean(!f->nullable || next(seed) % 2);
	case F_INT32:
		return json_integer((int)(next(seed) * 65536u + 1) * (next(seed) % 2 ? 1 : -1));
	case F_INT64:
		return json_integer(
			(json_int_t)next(seed) * 1000000007 * (next(seed) % 2 ? 1 : -1) + 1);
	case F_DOUBLE:
		return json_real(0.25 + next(seed));
	case F_BYTES:
		return json_string("AAEC/w==");
	case F_QUANTITY:
		return json_string(quantities[next(seed) % 5]);
	case F_INT_OR_STRING:
		return next(seed) % 2 ? json_string("25%") : json_integer(1 + (int)next(seed));
	case F_TIME:
		return json_string("2024-02-29T23:59:58Z");
	case F_MICRO_TIME:
		return json_string("2024-02-29T23:59:58.000123Z");
	case F_OBJECT:
		return generate(f->type, depth + 1, seed);
	case F_SCHEMA_OR_BOOL:
		return next(seed) % 2 ? json_true() : generate(f->type, depth + 1, seed);
	case F_SCHEMA_OR_ARRAY:
		return generate(f->type, depth + 1, seed);
	case F_SCHEMA_OR_STRINGS:
		return json_pack("[s,s]", "a", "b");
	default:
		return json_pack("{s:i,s:[s,n,b]}", "a", (int)next(seed), "b", "x", 1);
	}
}

static json_t *member(const struct field *f, unsigned depth, unsigned *seed)
{
	json_t *v;
	if (f->shape == SHAPE_ONE)
		return scalar(f, depth, seed);
	if (f->shape == SHAPE_LIST) {
		v = json_array();
		for (unsigned i = 0; i < 1 + next(seed) % 2; i++)
			(void)json_array_append_new(v, scalar(f, depth, seed));
		return v;
	}
	v = json_object();
	for (unsigned i = 0; i < 2; i++)
		(void)json_object_set_new(v, i ? "k.x/y" : "b",
			f->shape == SHAPE_MAP ? scalar(f, depth, seed)
					      : json_pack("[s,s]", "p", "q"));
	return v;
}

static bool deep(const struct field *f, unsigned depth)
{
	return depth > 5 && (f->kind == F_OBJECT || f->kind > F_ANY);
}

/* Most fields that protobuf carries, directly or through an embedded message. */
static json_t *generate(const struct type *t, unsigned depth, unsigned *seed)
{
	json_t *o = json_object();
	for (size_t i = 0; i < t->n_embeds; i++) {
		json_t *e = generate(t->embeds[i].type, depth, seed);
		(void)json_object_update(o, e);
		json_decref(e);
	}
	for (size_t i = 0; i < t->n_fields; i++) {
		const struct field *f = &t->fields[i];
		if (f->pb && !deep(f, depth) && (depth < 2 || next(seed) % 3))
			(void)json_object_set_new(o, f->name, member(f, depth, seed));
	}
	return o;
}

static void round_trip(const struct kind *k, unsigned seed)
{
	char av[256];
	struct err e = {0};
	AUTO_JSON json_t *obj = generate(k->type, 0, &seed), *back = NULL, *viajson = NULL;
	AUTO_BUF struct buf pb = {0}, a = {0}, b = {0}, c = {0};
	struct decode_opts o = {.media = MEDIA_PROTOBUF, .fields = FIELDS_STRICT};
	kind_api_version(k, av);
	(void)json_object_set_new(obj, "kind", json_string(k->kind));
	(void)json_object_set_new(obj, "apiVersion", json_string(av));
	assert_int_equal(api_encode_pb_envelope(k->type, av, k->kind, obj, &pb), 0);
	if (api_decode(k, buf_str(&pb), &o, &back, &e) != 0)
		fail_msg("%s: %s", k->kind, e.msg);
	api_encode_json(k->type, obj, &a);
	api_encode_json(k->type, back, &b);
	assert_string_equal(a.p, b.p);
	o.media = MEDIA_JSON;
	if (api_decode(k, buf_str(&a), &o, &viajson, &e) != 0)
		fail_msg("%s: %s", k->kind, e.msg);
	api_encode_json(k->type, viajson, &c);
	assert_string_equal(a.p, c.p);
}

static void every_kind_there_and_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < kind_count(); i++)
		for (unsigned seed = 1; seed < 6; seed++)
			round_trip(kind_at(i), seed * 7919 + (unsigned)i);
}

/* As Go writes it: every plain field, zero or not; nullable ones only when set. */
static void zeros_of_plain_fields_vanish(void **state)
{
	(void)state;
	static const char deployment[] =
		"k8s\0\x0a\x15\x0a\x07"
		"apps/v1\x12\x0a"
		"Deployment\x12\x1b"
		"\x0a\x0d\x0a\x01x\x12\x00\x1a\x00\x42\x00\x38\x00\x22\x00" /* name x, empties, zero
									       time, generation */
		"\x12\x0a\x08\x00\x28\x00\x38\x00\x22\x02\x0a\x00"; /* replicas 0, minReady 0,
								       paused, strategy */
	const struct kind *k = kind_by_kind(STR("apps"), STR("v1"), STR("Deployment"));
	struct decode_opts o = {.media = MEDIA_PROTOBUF};
	struct err e = {0};
	AUTO_JSON json_t *j = NULL;
	AUTO_BUF struct buf out = {0};
	if (api_decode(k, (struct str){.p = deployment, .n = sizeof(deployment) - 1}, &o, &j, &e) !=
		0)
		fail_msg("%s", e.msg);
	api_encode_json(k->type, j, &out);
	assert_string_equal(out.p,
		"{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"x\"},"
		"\"spec\":{\"replicas\":0,\"strategy\":{}}}");
}

static void packed_and_unpacked(void **state)
{
	(void)state;
	const struct type *t = type_by_name("core.v1.PodSecurityContext");
	struct err e = {0};
	json_t *a = NULL, *b = NULL;
	assert_int_equal(api_decode_pb(t, STR("\x20\x05\x20\x80\x01"), &a, &e), 0);
	assert_int_equal(api_decode_pb(t, STR("\x22\x03\x05\x80\x01"), &b, &e), 0);
	assert_true(json_equal(a, b));
	assert_int_equal(
		json_integer_value(json_array_get(json_at(a, "supplementalGroups"), 1)), 128);
	json_decref(a);
	json_decref(b);
}

static void hostile_bytes(void **state)
{
	(void)state;
	const struct kind *k = kind_by_kind(STR(""), STR("v1"), STR("Pod"));
	unsigned seed = 99;
	AUTO_JSON json_t *obj = generate(k->type, 0, &seed);
	AUTO_BUF struct buf pb = {0};
	assert_int_equal(api_encode_pb_envelope(k->type, "v1", "Pod", obj, &pb), 0);
	struct decode_opts o = {.media = MEDIA_PROTOBUF};
	for (size_t n = 0; n < pb.len; n += 1 + n / 64) {
		struct err e = {0};
		json_t *j = NULL;
		if (api_decode(k, (struct str){.p = pb.p, .n = n}, &o, &j, &e) == 0)
			json_decref(j);
		else
			assert_string_equal(e.reason, "BadRequest");
	}
	for (unsigned i = 0; i < 2000; i++) {
		size_t at = 4 + (next(&seed) * 65536u + next(&seed)) % (pb.len - 4);
		char old = pb.p[at];
		json_t *j = NULL;
		struct err e = {0};
		pb.p[at] = (char)next(&seed);
		if (api_decode(k, buf_str(&pb), &o, &j, &e) == 0)
			json_decref(j);
		pb.p[at] = old;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_there_and_back),
		cmocka_unit_test(zeros_of_plain_fields_vanish),
		cmocka_unit_test(packed_and_unpacked),
		cmocka_unit_test(hostile_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
