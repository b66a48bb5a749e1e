/* SPDX-License-Identifier: Apache-2.0
 * HTTP/1.x parser: any bytes as a request or a response; the result must not depend on how they
 * were cut. */
#include <stdlib.h>
#include "base/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Parses one message fed `step` bytes at a time; a digest of everything seen. */
static uint64_t parse(const char *p, size_t n, size_t step, bool response)
{
	AUTO_ARENA struct arena a = {0};
	AUTO_BUF struct buf seen = {0};
	struct h1_head h;
	struct h1_body b;
	size_t scan = 0, have = 0;
	ssize_t head = 0;
	uint64_t sum = 0;

	while (head == 0 && have < n) {
		have = n - have < step ? n : have + step;
		head = h1_head_end(p, have, &scan);
	}
	if (head <= 0)
		return (uint64_t)head;
	struct str text = {p, (size_t)head};
	int r = response ? h1_parse_response(text, false, &a, &h) : h1_parse_request(text, &a, &h);
	if (r != 0)
		return (uint64_t)r;
	for (size_t i = 0; i < h.n_headers; i++) {
		buf_add_str(&seen, h.headers[i].name);
		buf_add_str(&seen, h.headers[i].value);
	}
	h1_body_init(&b, &h);
	for (size_t off = (size_t)head; off < n && !b.done;) {
		size_t k = n - off < step ? n - off : step;
		struct str in = {p + off, k}, piece;
		while (in.n > 0 && !b.done) {
			if (h1_body_next(&b, &in, &piece) != 0)
				return 2;
			buf_add_str(&seen, piece);
		}
		off += k - in.n;
		sum = off;
	}
	for (size_t i = 0; i < seen.len; i++)
		sum = sum * 31 + (unsigned char)seen.p[i];
	return sum * 2 + b.done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	const char *p = (const char *)data + 1;
	bool response = data[0] & 1;
	size_t step = data[0] / 2 + 1;

	if (parse(p, size - 1, size, response) != parse(p, size - 1, step, response))
		abort();
	return 0;
}
