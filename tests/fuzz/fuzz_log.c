/* SPDX-License-Identifier: Apache-2.0
 * Container log lines: whatever the bytes, the output obeys its limit and no line is longer than
 * what came in and its time stamp. */
#include <stdlib.h>
#include "kubelet/logs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BUF struct buf out = {0};
	struct str rest = {.p = (const char *)data, .n = size};
	struct log_filter f = {
		.o = {.tail = -1, .limit = 100, .timestamps = size & 1, .since = size & 2}};
	while (rest.n > 0 && log_emit(&f, str_cut(&rest, '\n'), &out))
		;
	if (out.len > 100 || f.written > 100 || out.len > size + 1)
		abort();
	return 0;
}
