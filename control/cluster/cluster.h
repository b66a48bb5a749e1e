/* SPDX-License-Identifier: Apache-2.0
 * The local cluster: where its parts live, and the steps that make and remove it. One directory
 * tree a cluster: <run>/netns/{net,node-1,...}  namespaces   <run>/<part>.log
 * <run>/<node>/{containerd.sock,cni.sock}   <run>/lock <data>/server
 * <data>/<node>/{containerd,pki,...}  <data>/images (OCI tars)  <data>/kubeconfig */
#ifndef XEBEC_CLUSTER_CLUSTER_H
#define XEBEC_CLUSTER_CLUSTER_H

#include <limits.h>
#include <stdbool.h>
#include "xebec/base/buf.h"
#include "xebec/base/err.h"

#define CLUSTER_BRIDGE_IP  "172.18.0.1"
#define CLUSTER_NET6	   "fd00:172:18::" /* /64: the bridge is ::1, node i ::(i+1) */
#define CLUSTER_RUN_ROOT   "/run/xebec"
#define CLUSTER_BPFFS_MARK CLUSTER_RUN_ROOT "/.bpffs" /* we mounted /sys/fs/bpf */
#define CLUSTER_PIN_ROOT   "/sys/fs/bpf/xebec"
enum { CLUSTER_MAX_NODES = 100, CLUSTER_NAME_MAX = 32 };

struct cluster {
	char name[CLUSTER_NAME_MAX + 1];
	char run[192], data[192]; /* absolute */
	char listen[64];	  /* API address on the machine */
	char kubeconfig[256];
	char exe[256]; /* this program */
	unsigned nodes;
	bool dual_stack;  /* IPv6 beside IPv4 */
	char routing[16]; /* between nodes: "direct", "vxlan"; "" = auto */
};

int cluster_name_check(
	const char *name, struct err *e); /* a DNS label of at most CLUSTER_NAME_MAX characters */
void cluster_node_name(const struct cluster *c, unsigned i, char out[static 64]); /* i from 1 */
void cluster_node_ip(unsigned i, char out[static 16]);
void cluster_node_ip6(unsigned i, char out[static 46]);
/* Defaults from the name: /run/xebec/NAME, /var/lib/xebec/NAME; where fields are empty. */
int cluster_paths(struct cluster *c, struct err *e);

/* topology.c: namespaces, bridge, veth pairs, the private mount namespace. */
struct topology {
	int net_fd, mnt_fd; /* bridge namespace; mount namespace of everything that mounts */
	int node_fd[CLUSTER_MAX_NODES + 1]; /* index from 1 */
};
int topology_make(const struct cluster *c, struct topology *t, struct err *e);
/* The server's way to the pods of a node (the proxy subresource). cidr: one of Node.spec.podCIDRs.
 */
int topology_route_pods(
	const struct topology *t, const char *node_ip, const char *node_ip6, const char *cidr);
void topology_close(struct topology *t);

/* cgroups.c: every process of the cluster is in the cgroup2 tree xebec/<name>/, so that nothing
 * escapes a kill. */
int cgroup_join_path(const struct cluster *c, const char *part, char *out,
	size_t cap);					      /* made; path of cgroup.procs */
int cgroup_kill_all(const char *cluster_name, struct err *e); /* and waits until empty */
void cgroup_remove_all(const char *cluster_name);	      /* every hierarchy */

/* teardown.c: removes processes, namespaces, mounts, pins, cgroups, sockets, the run directory.
 * Works after kill -9 of anything. */
int cluster_teardown(const struct cluster *c, bool with_data, struct err *e);

/* state.c: what `down` and `status` need to know about a running cluster: <run>/cluster.json. */
int cluster_save(const struct cluster *c, int supervisor_pid, struct err *e);
int cluster_load(const char *run_dir, struct cluster *c, int *ret_pid, struct err *e); /* -ENOENT */
bool cluster_supervisor_alive(const char *run_dir); /* holds the lock */

/* The roles. */
int cluster_up_main(int argc, char **argv);
int cluster_down_main(int argc, char **argv);
int cluster_status_main(int argc, char **argv);

#endif
