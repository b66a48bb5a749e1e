/* SPDX-License-Identifier: Apache-2.0
 * Server-side apply: two managers apply whatever the bytes say, one after the other; applying the
 * same again with force changes nothing. The input is two JSON bodies with a newline between. */
#include "api/api.h"
#include "api/apply.h"

static json_t *apply(
	const struct kind *k, const json_t *live, const json_t *config, const char *manager)
{
	struct err e = {0};
	json_t *out = NULL;
	struct apply_opts o = {.manager = manager, .sub = "", .force = true};
	if (apply_config(k, live, config, &o, NULL, &out, &e) != 0)
		return NULL;
	api_default(k, out);
	return out;
}

static void check(const struct kind *k, struct str one, struct str two)
{
	struct err e = {0};
	AUTO_JSON json_t *a = NULL, *b = NULL, *x = NULL, *y = NULL, *z = NULL;
	if (apply_decode(k, one, &a, &e) != 0 || apply_decode(k, two, &b, &e) != 0)
		return;
	if (!(x = apply(k, NULL, a, "a")) || !(y = apply(k, x, b, "b")))
		return;
	z = apply(k, y, b, "b");
	if (!z || !json_equal(y, z))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const kinds[] = {"Pod", "Service", "ConfigMap", "Secret"};
	if (size < 2)
		return 0;
	const struct kind *k = kind_by_kind(STR(""), STR("v1"), str_of(kinds[data[0] % 4]));
	struct str rest = {.p = (const char *)data + 1, .n = size - 1};
	struct str one = str_cut(&rest, '\n');
	check(k, one, rest);
	return 0;
}
