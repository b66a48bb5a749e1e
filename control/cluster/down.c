/* SPDX-License-Identifier: Apache-2.0
 * `xebec down` and `xebec status`. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "cluster/cluster.h"

enum { STOP_TRIES = 1500, STOP_STEP_MS = 10 };

/* The supervisor removes everything itself on SIGTERM; we wait for it, then look after it. */
static void supervisor_stop(const struct cluster *c, int pid)
{
	if (pid <= 1 || !cluster_supervisor_alive(c->run) || kill(pid, SIGTERM) < 0)
		return;
	for (int i = 0; i < STOP_TRIES && cluster_supervisor_alive(c->run); i++)
		(void)poll(NULL, 0, STOP_STEP_MS);
	if (cluster_supervisor_alive(c->run))
		(void)kill(pid, SIGKILL);
}

static int usage(const char *role, const char *args)
{
	fprintf(stderr, "usage: xebec %s %s\n", role, args);
	return 2;
}

int cluster_down_main(int argc, char **argv)
{
	static const struct option opts[] = {{"name", required_argument, NULL, 'n'},
		{"data-dir", required_argument, NULL, 'd'},
		{"run-dir", required_argument, NULL, 'r'}, {"keep-data", no_argument, NULL, 'k'},
		{0}};
	static const char args[] = "[--name NAME] [--data-dir DIR] [--run-dir DIR] [--keep-data]";
	struct cluster c = {.name = "xebec"}, saved;
	struct err e = {0};
	bool keep = false;
	int pid = 0;
	for (int o; (o = getopt_long(argc, argv, "", opts, NULL)) != -1;) {
		if (o == 'n')
			(void)snprintf(c.name, sizeof(c.name), "%s", optarg);
		else if (o == 'd')
			(void)snprintf(c.data, sizeof(c.data), "%s", optarg);
		else if (o == 'r')
			(void)snprintf(c.run, sizeof(c.run), "%s", optarg);
		else if (o == 'k')
			keep = true;
		else
			return usage("down", args);
	}
	if (optind < argc)
		return usage("down", args);
	if (cluster_name_check(c.name, &e) < 0 || cluster_paths(&c, &e) < 0) {
		fprintf(stderr, "xebec down: %s\n", e.msg);
		return 2;
	}
	if (cluster_load(c.run, &saved, &pid, NULL) == 0) {
		c = saved;
		supervisor_stop(&c, pid);
	} else {
		c.nodes = CLUSTER_MAX_NODES - 1; /* nothing is known: look for all */
	}
	if (cluster_teardown(&c, !keep, &e) < 0) {
		fprintf(stderr, "xebec down: %s\n", e.msg);
		return 1;
	}
	printf("cluster '%s' is gone%s%s\n", c.name, keep ? "; its data stays in " : "",
		keep ? c.data : "");
	return 0;
}

static void status_print(const char *run_dir)
{
	struct cluster c;
	int pid;
	if (cluster_load(run_dir, &c, &pid, NULL) < 0)
		return;
	bool alive = cluster_supervisor_alive(run_dir);
	printf("%-16s %-22s %-6u %-24s %s\n", c.name, c.listen, c.nodes,
		alive ? "running" : "broken (xebec down)", c.kubeconfig);
}

int cluster_status_main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return usage("status", "");
	printf("%-16s %-22s %-6s %-24s %s\n", "NAME", "API", "NODES", "STATUS", "KUBECONFIG");
	DIR *d = opendir(CLUSTER_RUN_ROOT);
	for (struct dirent *de; d && (de = readdir(d));) {
		char path[512];
		(void)snprintf(path, sizeof(path), CLUSTER_RUN_ROOT "/%s", de->d_name);
		if (de->d_name[0] != '.')
			status_print(path);
	}
	if (d)
		(void)closedir(d);
	return 0;
}
