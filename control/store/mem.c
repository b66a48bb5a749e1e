/* SPDX-License-Identifier: Apache-2.0
 * The back end for tests: the engine without a journal. */
#include "store/engine.h"

static const struct store_ops mem_ops = ENGINE_OPS("mem");

int store_open_mem(struct store **ret, struct err *e)
{
	struct engine *en;
	int r = engine_new(&mem_ops, &en, e);

	if (r < 0)
		return r;
	r = engine_start(en, NULL, e);
	if (r < 0) {
		engine_free(en);
		return r;
	}
	*ret = &en->base;
	return 0;
}
