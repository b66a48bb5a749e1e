/* SPDX-License-Identifier: Apache-2.0
 * SPDY frames: any bytes; and any bytes as a header block, deflated so that the parser behind zlib
 * is reached. */
#include <zlib.h>
#include "xebec/base/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const char *p, size_t size, size_t step)
{
	AUTO_BUF struct buf in = {0};
	struct spdy_event ev;
	struct spdy *s;
	size_t total = 0;

	if (spdy_new(false, &s) != 0)
		return;
	for (size_t off = 0; off < size;) {
		size_t n = size - off < step ? size - off : step;
		int r;
		buf_add(&in, p + off, n);
		off += n;
		struct str rest = buf_str(&in);
		while ((r = spdy_next(s, &rest, &ev)) > 0) {
			for (size_t i = 0; i < ev.n_headers; i++)
				total += ev.headers[i].name.n + ev.headers[i].value.n;
			total += ev.data.n;
		}
		buf_consume(&in, in.len - rest.n);
		if (r < 0)
			break;
	}
	spdy_free(s);
	(void)total;
}

static void as_block(const uint8_t *data, size_t size)
{
	unsigned char packed[8192];
	uLongf n = sizeof(packed);
	AUTO_BUF struct buf b = {0};

	if (size > 4000 || compress2(packed, &n, data, size, 1) != Z_OK)
		return;
	size_t length = n + 4;
	const unsigned char head[12] = {0x80, 3, 0, SPDY_SYN_REPLY, 0, 0,
		(unsigned char)(length >> 8), (unsigned char)length, 0, 0, 0, 1};
	buf_add(&b, head, sizeof(head));
	buf_add(&b, packed, n);
	run(b.p, b.len, b.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	run((const char *)data + 1, size - 1, data[0] + 1u);
	as_block(data + 1, size - 1);
	return 0;
}
