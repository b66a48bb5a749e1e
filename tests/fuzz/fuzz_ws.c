/* SPDX-License-Identifier: Apache-2.0
 * WebSocket frames: any bytes, at once and in pieces, give the same events. */
#include <stdlib.h>
#include "xebec/base/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const uint8_t *data, size_t size, size_t step, bool client, struct buf *out)
{
	struct ws w = {.client = client, .max_message = 4096};
	AUTO_BUF struct buf in = {0};
	struct ws_event ev;

	for (size_t off = 0; off < size;) {
		size_t n = size - off < step ? size - off : step;
		int r;
		buf_add(&in, data + off, n);
		off += n;
		struct str rest = buf_str(&in);
		while ((r = ws_next(&w, &rest, &ev)) > 0) {
			buf_addf(out, "[%d %d ", (int)ev.op, ev.code);
			buf_add_str(out, ev.payload);
		}
		buf_consume(&in, in.len - rest.n);
		if (r < 0) {
			buf_addf(out, "!%d", r);
			break;
		}
	}
	ws_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BUF struct buf a = {0}, b = {0};

	if (size < 2)
		return 0;
	run(data + 1, size - 1, size, data[0] & 1, &a);
	run(data + 1, size - 1, data[0] / 2 + 1, data[0] & 1, &b);
	if (!str_eq(buf_str(&a), buf_str(&b)))
		abort();
	return 0;
}
