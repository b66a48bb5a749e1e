/* SPDX-License-Identifier: Apache-2.0
 * Fuzzes the rewriting of links: a page in pieces gives what it gives in one, and no piece makes it
 * crash or grow beyond what the links in it can add. */
#include <stdlib.h>
#include "apiserver/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct str prefix = STR("/api/v1/namespaces/d/pods/p/proxy");
static const struct str host = STR("10.0.0.1:80");

/* seed 0: in one piece. */
static void run(struct str page, unsigned seed, struct buf *out)
{
	struct rewrite *w = rewrite_new(prefix, host);
	if (!w)
		return;
	while (seed && page.n) {
		size_t n = seed % 7;
		seed = seed * 1103515245u + 12345u;
		seed = seed ? seed : 1;
		n = n < page.n ? n : page.n;
		rewrite_more(w, (struct str){page.p, n}, false, out);
		page = (struct str){page.p + n, page.n - n};
	}
	rewrite_more(w, page, true, out);
	rewrite_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BUF struct buf whole = {0}, pieces = {0}, url = {0};
	struct str page;
	if (size < 2 || size > 8192)
		return 0;
	page = (struct str){(const char *)data + 1, size - 1};
	run(page, 0, &whole);
	run(page, data[0] + 1u, &pieces);
	if (whole.len != pieces.len || (whole.len && memcmp(whole.p, pieces.p, whole.len) != 0))
		abort();
	if (whole.len > (page.n + 1) * (prefix.n + 8))
		abort();
	rewrite_url(prefix, host, page, &url);
	return 0;
}
