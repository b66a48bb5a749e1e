/* SPDX-License-Identifier: Apache-2.0
 * Fuzzes the three patch formats: never crash, never leak, never change the input. */
#include <stdlib.h>
#include "api/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char doc_text[] =
	"{\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\"},\"finalizers\":[\"x/y\"]},"
	"\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ports\":[{\"containerPort\":"
	"80}],"
	"\"args\":[\"1\",\"2\"]},{\"name\":\"d\"}],\"tolerations\":[{\"key\":\"k\"}]}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct type *pod = type_by_name("core.v1.Pod");
	AUTO_JSON json_t *doc = NULL, *before = NULL, *patch = NULL, *out = NULL;
	struct str text;
	struct err e = {0};
	if (size < 1 || size > 4096 || json_parse(STR(doc_text), &doc, &e) < 0)
		return 0;
	before = json_deep_copy(doc);
	text = (struct str){(const char *)data + 1, size - 1};
	if (data[0] % 3 == 0)
		(void)patch_json(doc, text, &out, &e);
	else if (json_parse(text, &patch, &e) == 0 && data[0] % 3 == 1)
		(void)patch_merge(doc, patch, &out, &e);
	else if (patch)
		(void)patch_strategic(pod, doc, patch, &out, &e);
	if (!json_equal(doc, before))
		abort();
	return 0;
}
