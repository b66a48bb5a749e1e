/* SPDX-License-Identifier: Apache-2.0
 * Names, paths, and the description of a running cluster. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include "cluster/cluster.h"
#include "xebec/base/jv.h"

int cluster_name_check(const char *name, struct err *e)
{
	size_t n = strlen(name);
	bool ok = n > 0 && n <= CLUSTER_NAME_MAX && name[0] != '-' && name[n - 1] != '-';
	for (size_t i = 0; ok && i < n; i++)
		ok = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
		     name[i] == '-';
	return ok ? 0
		  : err_set(e, EINVAL, NULL,
			    "cluster name '%s': want 1 to %d of a-z, 0-9 and -, no - at the ends",
			    name, CLUSTER_NAME_MAX);
}

void cluster_node_name(const struct cluster *c, unsigned i, char out[static 64])
{
	if (strcmp(c->name, "xebec") == 0)
		(void)snprintf(out, 64, "node-%u", i);
	else
		(void)snprintf(out, 64, "%s-node-%u", c->name, i);
}

void cluster_node_ip(unsigned i, char out[static 16])
{
	(void)snprintf(out, 16, "172.18.0.%u", i + 1);
}

void cluster_node_ip6(unsigned i, char out[static 46])
{
	(void)snprintf(out, 46, CLUSTER_NET6 "%x", i + 1);
}

static int path_default(char *out, size_t cap, const char *dir, const char *name)
{
	if (out[0] == '/')
		return 0;
	if (!out[0])
		return (size_t)snprintf(out, cap, "%s/%s", dir, name) < cap ? 0 : -ENAMETOOLONG;
	char rel[PATH_MAX], cwd[PATH_MAX];
	(void)snprintf(rel, sizeof(rel), "%s", out);
	if (!getcwd(cwd, sizeof(cwd)))
		return -errno;
	int n = snprintf(out, cap, "%s/%s", cwd, rel);
	return n > 0 && (size_t)n < cap ? 0 : -ENAMETOOLONG;
}

int cluster_paths(struct cluster *c, struct err *e)
{
	/* containerd's socket path must fit sockaddr_un: 108 bytes. */
	enum { RUN_MAX = 60 };
	int r = path_default(c->run, sizeof(c->run), CLUSTER_RUN_ROOT, c->name);
	if (r == 0)
		r = path_default(c->data, sizeof(c->data), "/var/lib/xebec", c->name);
	if (r == 0)
		r = path_default(c->kubeconfig, sizeof(c->kubeconfig), c->data, "kubeconfig");
	if (r < 0)
		return err_set(e, r, NULL, "a directory name is too long");
	if (strlen(c->run) > RUN_MAX)
		return err_set(e, ENAMETOOLONG, NULL,
			"--run-dir '%s': at most %d characters, since sockets live in it", c->run,
			RUN_MAX);
	return 0;
}

int cluster_save(const struct cluster *c, int supervisor_pid, struct err *e)
{
	AUTO_BUF struct buf b = {0}, path = {0};
	const struct {
		const char *name, *value;
	} rows[] = {{"name", c->name}, {"data", c->data}, {"listen", c->listen},
		{"kubeconfig", c->kubeconfig}};
	buf_addc(&b, '{');
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_addf(&b, "\"%s\":", rows[i].name);
		buf_add_json_str(&b, str_of(rows[i].value));
		buf_addc(&b, ',');
	}
	buf_addf(&b, "\"nodes\":%u,\"pid\":%d}\n", c->nodes, supervisor_pid);
	buf_addf(&path, "%s/cluster.json", c->run);
	int r = b.err || path.err ? -ENOMEM : file_write_atomic(path.p, buf_str(&b), 0644);
	return r < 0 ? err_set(e, r, NULL, "write '%s/cluster.json'", c->run) : 0;
}

int cluster_load(const char *run_dir, struct cluster *c, int *ret_pid, struct err *e)
{
	AUTO_BUF struct buf b = {0}, path = {0};
	struct cluster got = {0};
	char real[PATH_MAX];
	/* a cluster with a directory of its own has a link in the usual place */
	if (!realpath(run_dir, real))
		return err_set(e, errno, NULL, "no cluster in '%s'", run_dir);
	buf_addf(&path, "%s/cluster.json", real);
	int r = path.err ? path.err : file_read(path.p, 1 << 16, &b);
	if (r < 0)
		return err_set(e, r, NULL, "read '%s/cluster.json'", run_dir);
	if (!jv_valid(buf_str(&b), 4))
		return err_set(e, EINVAL, NULL, "'%s/cluster.json' is not JSON", run_dir);
	struct jv v = jv_of(buf_str(&b));
	if (jv_copy(jv_get(v, "name"), got.name, sizeof(got.name)) < 0 ||
		jv_copy(jv_get(v, "data"), got.data, sizeof(got.data)) < 0 ||
		jv_copy(jv_get(v, "listen"), got.listen, sizeof(got.listen)) < 0 ||
		jv_copy(jv_get(v, "kubeconfig"), got.kubeconfig, sizeof(got.kubeconfig)) < 0 ||
		str_copy(got.run, sizeof(got.run), str_of(real)) < 0)
		return err_set(e, EINVAL, NULL, "'%s/cluster.json': a value is too long", run_dir);
	got.nodes = (unsigned)jv_int(jv_get(v, "nodes"), 0);
	if (got.nodes > CLUSTER_MAX_NODES)
		got.nodes = CLUSTER_MAX_NODES;
	*ret_pid = (int)jv_int(jv_get(v, "pid"), 0);
	*c = got;
	return 0;
}

bool cluster_supervisor_alive(const char *run_dir)
{
	AUTO_BUF struct buf path = {0};
	buf_addf(&path, "%s/lock", run_dir);
	AUTO_CLOSE int fd = path.err ? -1 : open(path.p, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}
