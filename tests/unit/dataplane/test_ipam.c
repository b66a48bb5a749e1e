/* SPDX-License-Identifier: Apache-2.0
 * Address leases: stability, exhaustion, round robin, restart, torn files. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "ipam.h"
#include "xebec/base/buf.h"

static char dir[] = "/tmp/xebec-ipam-XXXXXX";

static int setup(void **state)
{
	(void)state;
	(void)strcpy(dir, "/tmp/xebec-ipam-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rm_rf(dir);
}

static struct ipam *open_range(const char *cidr)
{
	struct err e = {0};
	struct ipam *p = NULL;
	assert_int_equal(ipam_open(dir, &p, &e), 0);
	if (cidr)
		assert_int_equal(ipam_set_range(p, cidr, &e), 0);
	return p;
}

static uint32_t lease(struct ipam *p, const char *id)
{
	struct err e = {0};
	struct in_addr a;
	assert_int_equal(ipam_lease(p, id, "eth0", &a, &e), 0);
	return ntohl(a.s_addr);
}

static void leases_are_stable_and_survive_a_restart(void **state)
{
	(void)state;
	struct ipam *p = open_range("10.244.1.0/24");
	uint32_t a = lease(p, "a"), b = lease(p, "b");
	assert_int_equal(a, 0x0af40102); /* .0 is the network, .1 a gateway's */
	assert_int_equal(b, a + 1);
	assert_int_equal(lease(p, "a"), a);
	ipam_free(p);
	p = open_range("10.244.1.0/24");
	assert_int_equal(ipam_len(p), 2);
	assert_int_equal(lease(p, "b"), b);
	assert_int_equal(lease(p, "c"), b + 1);
	ipam_free(p);
}

static void no_range_is_try_again(void **state)
{
	(void)state;
	struct err e = {0};
	struct in_addr a;
	struct ipam *p = open_range(NULL);
	assert_int_equal(ipam_lease(p, "a", "eth0", &a, &e), -EAGAIN);
	assert_int_equal(ipam_set_range(p, "10.244.1.0", &e), -EINVAL);
	assert_int_equal(ipam_set_range(p, "fe80::/64", &e), -EINVAL);
	ipam_free(p);
}

static void a_full_range_says_so_and_a_freed_address_comes_back(void **state)
{
	(void)state;
	struct err e = {0};
	struct in_addr a;
	struct ipam *p = open_range("10.244.1.0/29"); /* .2 to .6 */
	char id[16];
	for (int i = 0; i < 5; i++) {
		(void)snprintf(id, sizeof(id), "c%d", i);
		(void)lease(p, id);
	}
	assert_int_equal(ipam_lease(p, "more", "eth0", &a, &e), -ENOSPC);
	assert_int_equal(ipam_release(p, "c3", "eth0", &a), 0);
	assert_int_equal(ipam_release(p, "c3", "eth0", &a), -ENOENT);
	assert_int_equal(lease(p, "more"), ntohl(a.s_addr));
	ipam_free(p);
}

static void a_freed_address_rests(void **state)
{
	(void)state;
	struct in_addr a;
	struct ipam *p = open_range("10.244.1.0/24");
	uint32_t first = lease(p, "a");
	assert_int_equal(ipam_release(p, "a", "eth0", &a), 0);
	assert_int_equal(lease(p, "b"), first + 1);
	ipam_free(p);
}

static void a_torn_lease_is_no_lease(void **state)
{
	(void)state;
	char path[64];
	(void)snprintf(path, sizeof(path), "%s/10.244.1.2", dir);
	assert_int_equal(file_write_atomic(path, STR(""), 0600), 0);
	(void)snprintf(path, sizeof(path), "%s/notes.txt", dir);
	assert_int_equal(file_write_atomic(path, STR("mine"), 0600), 0);
	struct ipam *p = open_range("10.244.1.0/24");
	assert_int_equal(ipam_len(p), 0);
	assert_int_equal(access(path, F_OK), 0);
	ipam_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			leases_are_stable_and_survive_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(no_range_is_try_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_full_range_says_so_and_a_freed_address_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_freed_address_rests, setup, teardown),
		cmocka_unit_test_setup_teardown(a_torn_lease_is_no_lease, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
