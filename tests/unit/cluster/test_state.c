/* SPDX-License-Identifier: Apache-2.0
 * Names, paths and the saved description of a cluster; and, as root, topology and teardown for
 * real. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "cluster/cluster.h"
#include "xebec/base/netlink.h"

static void names_are_checked(void **state)
{
	(void)state;
	struct err e = {0};
	assert_int_equal(cluster_name_check("a-1", &e), 0);
	static const char *const bad[] = {
		"", "-a", "a-", "A", "a/b", "..", "a_b", "abcdefghijklmnopqrstuvwxyzabcdefg"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(cluster_name_check(bad[i], &e), -EINVAL);
}

static void paths_have_defaults_and_limits(void **state)
{
	(void)state;
	struct err e = {0};
	struct cluster c = {.name = "blue"};
	assert_int_equal(cluster_paths(&c, &e), 0);
	assert_string_equal(c.run, "/run/xebec/blue");
	assert_string_equal(c.data, "/var/lib/xebec/blue");
	assert_string_equal(c.kubeconfig, "/var/lib/xebec/blue/kubeconfig");
	struct cluster rel = {.name = "blue", .data = "here"};
	assert_int_equal(cluster_paths(&rel, &e), 0);
	assert_int_equal(rel.data[0], '/');
	struct cluster deep = {.name = "blue",
		.run = "/run/a-directory-name-that-is/much-too-long-for-a/socket-to-live-in"};
	assert_int_equal(cluster_paths(&deep, &e), -ENAMETOOLONG);
}

static void state_round_trips(void **state)
{
	(void)state;
	char dir[] = "/tmp/xebec-state-XXXXXX";
	struct err e = {0};
	int pid = 0;
	assert_non_null(mkdtemp(dir));
	struct cluster got, c = {.name = "blue",
				    .data = "/d \"x\"",
				    .listen = "127.0.0.1:1",
				    .kubeconfig = "/k",
				    .nodes = 3};
	(void)snprintf(c.run, sizeof(c.run), "%s", dir);
	assert_int_equal(cluster_load(dir, &got, &pid, &e), -ENOENT);
	assert_int_equal(cluster_save(&c, 42, &e), 0);
	assert_int_equal(cluster_load(dir, &got, &pid, &e), 0);
	assert_string_equal(got.kubeconfig, "/k");
	assert_int_equal(got.nodes, 3);
	assert_int_equal(pid, 42);
	assert_false(cluster_supervisor_alive(dir));
	assert_int_equal(rm_rf(dir), 0);
}

static void topology_is_made_and_leaves_nothing(void **state)
{
	(void)state;
	struct err e = {0};
	struct topology t;
	struct nl_link eth;
	struct cluster c = {.nodes = 2};
	if (geteuid() != 0)
		skip();
	(void)snprintf(c.name, sizeof(c.name), "u%d", (int)getpid());
	assert_int_equal(cluster_paths(&c, &e), 0);
	assert_int_equal(topology_make(&c, &t, &e), 0);
	for (unsigned i = 1; i <= 2; i++) {
		AUTO(cleanup_nl) struct nl *n = NULL;
		assert_int_equal(nl_open(t.node_fd[i], &n), 0);
		assert_int_equal(nl_link_get(n, "eth0", &eth), 0);
		assert_int_equal(nl_link_get(n, "absent", &eth), -ENODEV);
	}
	topology_close(&t);
	char procs[256];
	assert_int_equal(cgroup_join_path(&c, "part", procs, sizeof(procs)), 0);
	/* a process that would outlive everything but a teardown */
	int go[2];
	assert_int_equal(pipe(go), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(procs, O_WRONLY);
		(void)!write(fd, "0", 1);
		(void)!write(go[1], "x", 1);
		for (;;)
			pause();
	}
	char x;
	assert_int_equal(read(go[0], &x, 1), 1);
	(void)close(go[0]);
	(void)close(go[1]);
	assert_int_equal(cluster_teardown(&c, true, &e), 0);
	assert_int_equal(access(c.run, F_OK), -1);
	assert_int_equal(access(procs, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(paths_have_defaults_and_limits),
		cmocka_unit_test(state_round_trips),
		cmocka_unit_test(topology_is_made_and_leaves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
