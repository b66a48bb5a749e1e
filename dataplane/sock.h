/* SPDX-License-Identifier: Apache-2.0
 * Service addresses for the node's own sockets, by programs at a cgroup (bpf/sock.bpf.c): connect,
 * sendmsg, recvmsg, getpeername, bind. Optional: without it tc_host translates packet by packet. */
#ifndef XEBEC_DATAPLANE_SOCK_H
#define XEBEC_DATAPLANE_SOCK_H

#include "maps.h"

struct sock;

/* cgroup: a cgroup2 directory; the sockets of processes below it that live in the caller's network
 * namespace are served. Programs attached there by an earlier process are swapped in place; links
 * to another or a vanished directory are replaced. They outlive us. m must outlive the result. */
int sock_open(struct maps *m, const char *cgroup, struct sock **ret, struct err *e);
void sock_free(struct sock *s); /* leaves programs and pins */
/* Removes the programs of a node from their cgroup; absent is fine. */
void sock_detach(struct maps *m);

/* Destroys the node's sockets whose backend has vanished: connected datagram sockets, and TCP ones
 * of services that ask for resets. Blocks for a walk over the socket tables (any thread, in the
 * node's network namespace). */
int sock_kill_stale(struct sock *s);

/* Where cgroup2 is mounted ("/sys/fs/cgroup" or "/sys/fs/cgroup/unified"), with path appended.
 * -ENOENT: no such directory. */
int sock_cgroup_path(const char *path, char *out, size_t cap);

#endif
