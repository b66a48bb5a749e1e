/* SPDX-License-Identifier: Apache-2.0
 * Services and EndpointSlices -> what the maps must say, as plain data. Pure: no kernel, no clock,
 * no sockets. Rules of who gets traffic follow KEP-1669 (terminating endpoints), KEP-2086 (internal
 * traffic policy), KEP-2433 (topology hints). */
#ifndef XEBEC_DATAPLANE_COMPILE_H
#define XEBEC_DATAPLANE_COMPILE_H

#include "ip.h"
#include "xebec/abi/maps.h"
#include "xebec/base/arena.h"
#include "xebec/base/jv.h"

struct svc_port {
	char name[64];
	uint16_t port, node_port;
	uint8_t proto; /* IPPROTO_* */
};
struct svc_range {
	struct ip net;
	unsigned prefix;
};
/* Its endpoints belong to these Services of the same namespace, each with its share of new
 * connections. */
#define SVC_PARTS_MAX 16
struct svc_part {
	char name[64];
	uint32_t weight;
};
/* A Service, as far as packets care. */
struct svc_spec {
	bool headless;	      /* or ExternalName: nothing to program */
	uint16_t health_port; /* healthCheckNodePort where it counts, else 0 */
	bool affinity, etp_local, itp_local;
	bool hash, least;	/* xebec.io/balance: maglev; least-conn */
	struct svc_part *parts; /* xebec.io/split */
	size_t n_parts;
	uint32_t aff_secs;
	struct svc_port *ports;
	struct ip *cluster_ips, *external_ips, *lb_ips;
	struct svc_range *ranges;
	size_t n_ports, n_cluster_ips, n_external_ips, n_lb_ips, n_ranges;
	struct arena mem; /* owns the arrays */
};
struct svc_spec *svc_spec_new(struct jv service); /* NULL when out of memory */
void svc_spec_free(void *spec);

struct slice_port {
	char name[64];
	uint16_t port; /* 0 = all ports: not programmable */
	uint8_t proto;
};
enum slice_ep_flag { EP_READY = 1, EP_SERVING = 2, EP_TERM = 4 };
/* There may be half a million of these: names of nodes and zones are kept as hashes. */
struct slice_ep {
	uint8_t ip[16];
	uint64_t node;	/* name_hash of the node; 0 = none */
	uint32_t hints; /* in slice_spec.hints: n_zones zones, then n_nodes nodes */
	uint8_t n_zones, n_nodes;
	uint8_t flags, family;
};
/* An EndpointSlice. */
struct slice_spec {
	char service[64]; /* whose it is; "" = nobody's */
	struct slice_port *ports;
	struct slice_ep *eps;
	uint64_t *hints;  /* name_hash of zones and nodes */
	char **hostnames; /* by endpoint, each may be NULL; NULL = none has one */
	size_t n_ports, n_eps, cap_eps, n_hints;
	uint32_t part;	   /* scratch of the caller of compile_service: which svc_part */
	int64_t triggered; /* when the endpoints changed (annotation), ns since 1970; 0 = unknown */
	bool triggered_seen; /* the watcher's */
};
struct slice_spec *slice_spec_new(struct jv slice);
void slice_spec_free(void *spec);
uint64_t name_hash(struct str name); /* of this process; 0 only for "" */

/* ------------------------------------------------------------------ result */
struct want_fe {
	struct ip ip; /* all zero for node ports */
	uint16_t port;
	uint16_t kind; /* enum xb_fe_kind */
};
struct want_be {
	struct ip ip;
	uint16_t port;
	uint16_t flags; /* enum xb_be_flag */
};
/* One service port in one address family. */
struct want_svc {
	char name[XB_NAME_LEN]; /* "namespace/name:port/PROTO", with "/v6" for IPv6: unique */
	uint8_t proto, family;
	uint16_t port, flags;
	uint32_t aff_secs;
	struct want_fe *fes;
	struct want_be *bes;	   /* every known endpoint, ready or not, each once */
	uint32_t *cluster, *local; /* who takes new flows: indices into bes; a table repeats them */
	struct svc_range *ranges;
	size_t n_fes, n_bes, n_cluster, n_local, n_ranges;
};

struct where { /* this node */
	struct str node, zone;
	const struct ip *nodeport_ips; /* where node ports answer; NULL = all its addresses */
	size_t n_nodeport_ips;
};
/* Fills *ret with an array in the arena. Returns its length or -ENOMEM. When svc has parts, each
 * slice says in `part` which one it is of. */
int compile_service(const char *ns, const char *name, const struct svc_spec *svc,
	const struct slice_spec *const *slices, size_t n_slices, const struct where *me,
	struct arena *mem, struct want_svc **ret);
/* How many endpoints are ready on this node, whatever their port (health check node port). */
size_t compile_local_ready(const struct svc_spec *svc, const struct slice_spec *const *slices,
	size_t n_slices, const struct where *me);

#endif
