/* SPDX-License-Identifier: Apache-2.0
 * Protobuf bodies: whatever is accepted must be writable as JSON and as protobuf. */
#include "api/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	const struct kind *k = kind_at(data[0] % kind_count());
	struct err e = {0};
	AUTO_JSON json_t *a = NULL, *b = NULL;
	AUTO_BUF struct buf json = {0}, pb = {0};
	if (api_decode_pb(
		    k->type, (struct str){.p = (const char *)data + 1, .n = size - 1}, &a, &e) != 0)
		return 0;
	api_encode_json(k->type, a, &json);
	if (api_encode_pb(k->type, a, &pb) == 0 &&
		api_decode_pb(k->type, buf_str(&pb), &b, &e) != 0)
		abort();
	return 0;
}
