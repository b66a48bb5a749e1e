/* SPDX-License-Identifier: Apache-2.0
 * The lazy view against jansson on random documents, and the grammar on good and bad ones. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdarg.h>
#include <cmocka.h>
#include "xebec/base/json.h"
#include "xebec/base/jv.h"

static uint64_t seed = 88172645463325252ULL;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % n;
}

/* Strings full of what the scanner must not trip over. */
static json_t *random_string(void)
{
	static const char *const bits[] = {"\"", "\\", "{", "}", "[", "]", ",", ":", "abc", "\n",
		"é", "日本", "\\\"", "\x01", "\xf0\x9f\x98\x80", "                    ", "\\\\",
		"/"};
	AUTO_BUF struct buf b = {0};
	for (unsigned n = rnd(rnd(10) ? 8 : 90); n; n--)
		buf_adds(&b, bits[rnd(ARRAY_LEN(bits))]);
	return json_stringn(b.p ? b.p : "", b.len);
}

static json_t *random_value(unsigned depth)
{
	switch (rnd(depth ? 9 : 6)) {
	case 0:
		return json_null();
	case 1:
		return json_boolean(rnd(2));
	case 2:
		return json_integer((json_int_t)rnd(1u << 31) * (rnd(2) ? 1 : -1000000007LL));
	case 3:
		return json_real((double)rnd(1000000) / 7.0 - 500.123);
	case 6: {
		json_t *a = json_array();
		for (unsigned n = rnd(12); n; n--)
			json_array_append_new(a, random_value(depth - 1));
		return a;
	}
	case 7:
	case 8: {
		json_t *o = json_object();
		for (unsigned n = rnd(12); n; n--) {
			AUTO_JSON json_t *k = random_string();
			json_object_setn_new(o, json_string_value(k), json_string_length(k),
				random_value(depth - 1));
		}
		return o;
	}
	default:
		return random_string();
	}
}

static void same(struct jv v, json_t *j);

static void same_object(struct jv v, json_t *j)
{
	size_t n = 0;
	assert_int_equal(jv_type(v), JV_OBJECT);
	for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it)) {
		n++;
		same(jv_get(v, json_object_iter_key(it)), json_object_iter_value(it));
	}
	assert_int_equal(jv_len(v), n);
	assert_false(jv_present(jv_get(v, "no such member")));
}

static void same(struct jv v, json_t *j)
{
	size_t i = 0;
	AUTO_BUF struct buf b = {0};
	if (json_is_object(j)) {
		same_object(v, j);
	} else if (json_is_array(j)) {
		assert_int_equal(jv_type(v), JV_ARRAY);
		jv_each (it, v)
			same(it.v, json_array_get(j, i++));
		assert_int_equal(i, json_array_size(j));
	} else if (json_is_string(j)) {
		jv_unescape(v, &b);
		assert_true(jv_is_str(v, json_string_value(j)));
		assert_true(str_eq(buf_str(&b), str_of(json_string_value(j))));
		AUTO_FREE char *copy = jv_strdup(v);
		assert_string_equal(copy, json_string_value(j));
	} else if (json_is_integer(j)) {
		assert_int_equal(jv_int(v, 7), json_integer_value(j));
	} else if (json_is_real(j)) {
		if (jv_num(v, 7) != json_real_value(j))
			fail_msg("%.17g from %.*s", json_real_value(j), STR_FMT(jv_bytes(v)));
	} else if (json_is_boolean(j)) {
		assert_int_equal(jv_type(v), JV_BOOL);
		assert_int_equal(jv_bool(v, !json_is_true(j)), json_is_true(j));
	} else {
		assert_int_equal(jv_type(v), JV_NULL);
	}
}

static void test_random(void **state)
{
	(void)state;
	for (int round = 0; round < 3000; round++) {
		AUTO_JSON json_t *j = random_value(5), *back = NULL;
		AUTO_BUF struct buf b = {0};
		struct err e;
		bool pretty = rnd(3) == 0;
		if (pretty) {
			AUTO_FREE char *text = json_dumps(j, JSON_INDENT(3) | JSON_ENCODE_ANY);
			buf_adds(&b, text);
		} else {
			json_write(j, &b);
		}
		assert_true(jv_valid(buf_str(&b), 100));
		struct jv v = jv_of(buf_str(&b));
		same(v, j);
		assert_int_equal(jv_bytes(v).n, b.len);
		assert_int_equal(json_parse(buf_str(&b), &back, &e), 0);
		assert_true(json_equal(j, back));
		/* A truncated container is invalid; reading it must stay inside it. */
		if (b.len > 1 && (b.p[0] == '{' || b.p[0] == '[')) {
			size_t cut = 1 + rnd((unsigned)b.len - 1);
			AUTO_FREE char *exact = malloc(cut); /* no byte to spare: ASan watches */
			memcpy(exact, b.p, cut);
			struct str s = {exact, cut};
			assert_false(jv_valid(s, 100));
			jv_each (it, jv_of(s))
				(void)jv_len(it.v);
			(void)jv_bytes(jv_of(s));
			(void)jv_path(jv_of(s), "a.0.b");
		}
	}
}

static void test_grammar(void **state)
{
	static const char *const good[] = {"0", "-0", "1e5", "1E+5", "-1.5e-3", "\"\"", "null",
		" true ", "[]", "{}", "[1,2]", "{\"a\":{}}", "\"\\u00e9\\/\\b\"", "[[[]]]",
		"\"\xc3\xa9\"", "\t1\n"};
	static const char *const bad[] = {"", " ", "01", "1.", ".5", "+1", "1e", "nul", "truex",
		"[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "\"", "\"\\x\"",
		"\"\\u12g4\"", "1 2", "[1}", "{\"a\":1]", "\"\n\"", "\"\xc3\"", "\"\xed\xa0\x80\"",
		"\"\xc0\x80\"", "[", "]", "-", "'a'", "NaN", "{\"a\":1 \"b\":2}", "[1 2]", "[1]]",
		"{}{}", "\xef\xbb\xbf{}"};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!jv_valid(str_of(good[i]), 10))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (jv_valid(str_of(bad[i]), 10))
			fail_msg("accepted: %s", bad[i]);
	assert_true(jv_valid(STR("[[[1]]]"), 3));
	assert_false(jv_valid(STR("[[[1]]]"), 2));
	assert_false(jv_valid(STR("[[[]]]"), 2));
}

static void test_paths(void **state)
{
	(void)state;
	struct jv v = jv_of(STR(
		"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\\u0041\",\"n\":\"42\"}],"
		"\"big\":1e30,\"f\":2.9,\"x\":null},\"\\u0061b\":5}"));
	char name[4];
	assert_true(jv_is_str(jv_path(v, "spec.containers.0.name"), "a"));
	assert_true(jv_is_str(jv_path(v, "spec.containers.1.name"), "bA"));
	assert_false(jv_present(jv_path(v, "spec.containers.2.name")));
	assert_false(jv_present(jv_path(v, "spec.containers.x")));
	assert_int_equal(jv_int(jv_path(v, "spec.containers.1.n"), 0), 42);
	assert_int_equal(jv_int(jv_path(v, "spec.big"), 0), INT64_MAX);
	assert_int_equal(jv_int(jv_path(v, "spec.f"), 0), 2);
	assert_int_equal(jv_int(jv_path(v, "spec.x"), -3), -3);
	assert_int_equal(jv_int(jv_get(v, "ab"), 0), 5);
	assert_int_equal(jv_copy(jv_path(v, "spec.containers.1.name"), name, 3), 0);
	assert_string_equal(name, "bA");
	assert_true(jv_copy(jv_path(v, "spec.containers.1.name"), name, 2) < 0);
	assert_true(str_eqz(jv_bytes(jv_path(v, "spec.containers.0")), "{\"name\":\"a\"}"));
	AUTO_BUF struct buf b = {0};
	jv_unescape(jv_of(STR("\"\\ud83d\\ude00 \\ud800x \\udc00\"")), &b);
	assert_string_equal(b.p, "\xf0\x9f\x98\x80 \xef\xbf\xbdx \xef\xbf\xbd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_paths),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
