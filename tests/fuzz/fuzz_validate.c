/* SPDX-License-Identifier: Apache-2.0
 * Objects of every kind through what a write does: defaults, preparation, validation as a creation
 * and as an update of one another, advice, a table row. The body holds one or two objects. */
#include "api/api.h"
#include "xebec/base/jv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *object(const struct kind *k, struct str text)
{
	struct decode_opts o = {.media = MEDIA_JSON, .fields = FIELDS_IGNORE};
	struct err e = {0};
	json_t *obj = NULL;
	if (api_decode(k, text, &o, &obj, &e) != 0)
		return NULL;
	api_default(k, obj);
	api_prepare_create(k, obj, 1700000000000000000LL);
	return obj;
}

static void judge(const struct kind *k, const json_t *obj, const json_t *old, const char *sub)
{
	AUTO_ARENA struct arena a = {0};
	AUTO_BUF struct buf out = {0};
	struct causes c = {.arena = &a}, w = {.arena = &a};
	struct err e = {.code = -22, .reason = "Invalid"};
	(void)api_validate(k, obj, old, sub, &c);
	api_warnings(k, obj, &w);
	status_write(&out, &e, k, "x", &c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const subs[] = {"", "status", "ephemeralcontainers", "resize"};
	if (size < 3 || size > 16384)
		return 0;
	const struct kind *k = kind_at(data[0] % kind_count());
	struct str rest = {(const char *)data + 2, size - 2}, first = str_cut(&rest, '\n');
	const char *sub = subs[data[1] % ARRAY_LEN(subs)];
	AUTO_JSON json_t *a = object(k, first), *b = rest.n ? object(k, rest) : NULL;
	AUTO_BUF struct buf bytes = {0}, row = {0};
	if (!a)
		return 0;
	judge(k, a, NULL, "");
	if (b) {
		api_prepare_update(k, b, a, sub);
		judge(k, b, a, sub);
	}
	api_encode_json(k->type, a, &bytes);
	table_row(k, jv_of(buf_str(&bytes)), 1, INCLUDE_METADATA, 1700000000000000000LL, &row);
	return 0;
}
