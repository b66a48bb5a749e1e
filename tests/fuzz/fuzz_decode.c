/* SPDX-License-Identifier: Apache-2.0
 * JSON bodies: whatever is accepted must encode, decode again and stay the same. */
#include "api/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	const struct kind *k = kind_at(data[0] % kind_count());
	struct decode_opts o = {.media = MEDIA_JSON, .fields = FIELDS_STRICT};
	struct err e = {0};
	AUTO_JSON json_t *a = NULL, *b = NULL;
	AUTO_BUF struct buf x = {0}, y = {0};
	if (api_decode(k, (struct str){.p = (const char *)data + 1, .n = size - 1}, &o, &a, &e) !=
		0)
		return 0;
	api_default(k, a);
	api_encode_json(k->type, a, &x);
	if (api_decode(k, buf_str(&x), &o, &b, &e) != 0)
		abort();
	api_default(k, b);
	api_encode_json(k->type, b, &y);
	if (!str_eq(buf_str(&x), buf_str(&y)))
		abort();
	return 0;
}
