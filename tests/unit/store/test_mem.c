/* SPDX-License-Identifier: Apache-2.0
 * The suite on the in-memory back end. */
#include "store_suite.h"

static int up(void **state)
{
	return store_open_mem((struct store **)state, NULL);
}

static int down(void **state)
{
	struct store *s = *state;

	s->ops->close(s);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {STORE_SUITE(up, down)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
