/* SPDX-License-Identifier: Apache-2.0
 * YAML: any bytes are read or refused; what was read is written and reads back the same. */
#include <stdlib.h>
#include "xebec/base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = {(const char *)data, size};
	AUTO_JSON json_t *j = NULL, *back = NULL, *all = NULL;
	AUTO_BUF struct buf b = {0}, x = {0}, y = {0};
	struct err e = {0};
	(void)yaml_parse_all(s, &all, &e);
	if (yaml_parse(s, &j, NULL, &e) < 0)
		return 0;
	if (yaml_write(j, &b) < 0 || yaml_parse(buf_str(&b), &back, NULL, &e) < 0)
		abort();
	json_write(j, &x);
	json_write(back, &y);
	if (!str_eq(buf_str(&x), buf_str(&y)))
		abort();
	return 0;
}
