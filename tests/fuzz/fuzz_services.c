/* SPDX-License-Identifier: Apache-2.0
 * Services and EndpointSlices of any shape through the reader and the compiler. Input: two JSON
 * values with a NUL between. */
#include "compile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_ARENA struct arena mem = {0};
	const struct where me = {.node = STR("n1"), .zone = STR("a")};
	const uint8_t *nul = memchr(data, 0, size);
	size_t n = nul ? (size_t)(nul - data) : size;
	struct str a = {(const char *)data, n};
	struct str b = {(const char *)data + n + 1, nul ? size - n - 1 : 0};
	struct want_svc *rows;
	if (!jv_valid(a, 32) || (b.n && !jv_valid(b, 32)))
		return 0;
	struct svc_spec *svc = svc_spec_new(jv_of(a));
	struct slice_spec *slice = slice_spec_new(b.n ? jv_of(b) : jv_of(STR("{}")));
	if (svc && slice)
		(void)compile_service("ns", "name", svc, (const struct slice_spec *const[]){slice},
			1, &me, &mem, &rows);
	svc_spec_free(svc);
	slice_spec_free(slice);
	return 0;
}
