/* SPDX-License-Identifier: Apache-2.0
 * The suite's leases. */
#ifndef XEBEC_TEST_SUITE_LEASE_H
#define XEBEC_TEST_SUITE_LEASE_H

#include "suite_util.h"

static void suite_lease_revoke(void **state)
{
	struct store *s = *state;
	struct err e;
	uint64_t id, id2;

	assert_int_equal(s->ops->lease_grant(s, 100, &id, &e), 0);
	assert_int_equal(s->ops->lease_grant(s, 100, &id2, &e), 0);
	assert_true(id != id2);
	put_lease(s, "a", "1", id);
	put_lease(s, "b", "1", id);
	put_lease(s, "c", "1", id);
	put_lease(s, "b", "2", id2); /* moves */
	put(s, "c", "2");	     /* leaves */
	struct store_txn t = {.key = STR("d"), .value = STR("1"), .lease = 999};
	assert_int_equal(do_txn(s, &t, NULL, NULL), -ENOENT);
	assert_int_equal(s->ops->lease_keepalive(s, id, &e), 0);
	assert_int_equal(s->ops->lease_keepalive(s, 999, &e), -ENOENT);
	assert_int_equal(s->ops->lease_revoke(s, id, &e), 0);
	assert_int_equal(s->ops->lease_revoke(s, id, &e), -ENOENT);
	assert_list(s, "a", "z", 0, 0, "b=2 c=2 @7 n=2");
	assert_int_equal(s->ops->lease_grant(s, 0, &id, &e), -EINVAL);
}

static void suite_lease_expiry(void **state)
{
	struct store *s = *state;
	struct recorder r = RECORDER;
	struct err e;
	uint64_t id;
	struct store_watch *w = s->ops->watch(s, STR("a"), STR("z"), 0, on_watch, &r);

	assert_int_equal(s->ops->lease_grant(s, 1, &id, &e), 0);
	put_lease(s, "a", "1", id);
	put_lease(s, "b", "1", id);
	put(s, "c", "1");
	wait_rev(&r, 6);
	assert_list(s, "a", "z", 0, 0, "c=1 @6 n=1");
	assert_int_equal(r.events, 5);
	s->ops->watch_cancel(s, w);
}

#endif
