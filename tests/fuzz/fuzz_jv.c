/* SPDX-License-Identifier: Apache-2.0
 * The lazy JSON view: safe on any bytes; what the checker accepts reads as jansson reads it. */
#include <stdlib.h>
#include "xebec/base/json.h"
#include "xebec/base/jv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct jv v, unsigned depth)
{
	AUTO_BUF struct buf b = {0};
	(void)jv_int(v, 0);
	(void)jv_num(v, 0);
	(void)jv_bool(v, false);
	jv_unescape(v, &b);
	(void)jv_bytes(v);
	if (depth < 20)
		jv_each (it, v)
			walk(it.v, depth + 1);
	(void)jv_path(v, "a.0.b");
}

/* Members that come twice differ on purpose: the first counts here, the last in jansson. */
static void compare(struct jv v, json_t *j)
{
	size_t i = 0;
	AUTO_BUF struct buf b = {0};
	if (json_is_array(j)) {
		jv_each (it, v)
			compare(it.v, json_array_get(j, i++));
		if (i != json_array_size(j))
			abort();
	} else if (json_is_object(j)) {
		if (jv_len(v) != json_object_size(j))
			return;
		for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it))
			compare(jv_get(v, json_object_iter_key(it)), json_object_iter_value(it));
	} else if (json_is_string(j)) {
		jv_unescape(v, &b);
		if (b.len != json_string_length(j) ||
			(b.len && memcmp(b.p, json_string_value(j), b.len) != 0))
			abort();
	} else if (json_is_integer(j) && jv_int(v, 0) != json_integer_value(j)) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = {(const char *)data, size};
	AUTO_JSON json_t *j = NULL;
	walk(jv_of(s), 0);
	bool valid = jv_valid(s, 100);
	if (json_parse(s, &j, NULL) == 0) {
		if (!valid && jv_valid(s, 3000) == false)
			abort(); /* jansson takes nothing that the grammar does not */
		if (valid)
			compare(jv_of(s), j);
	}
	return 0;
}
