/* SPDX-License-Identifier: Apache-2.0
 * What the scheduler knows of a pod and of a node: small immutable structs decoded once from the
 * API's JSON, holding copies of what they need. */
#ifndef XEBEC_SCHEDULER_MODEL_H
#define XEBEC_SCHEDULER_MODEL_H

#include "api/api.h"
#include "xebec/base/arena.h"
#include "xebec/base/jv.h"

enum res { RES_CPU, RES_MEMORY, RES_STORAGE, RES_PODS, RES_FIXED }; /* milli-CPU, bytes, bytes, 1 */

struct amount { /* an extended resource: nvidia.com/gpu, hugepages-2Mi */
	struct str name;
	int64_t v;
};
struct resources {
	int64_t v[RES_FIXED];
	struct amount *ext;
	size_t n_ext;
};
/* Amounts of what is neither cpu nor memory ...: 0 when absent. */
int64_t resources_ext(const struct resources *r, struct str name);

struct toleration {
	struct str key, op, value, effect;
};
struct taint {
	struct str key, value, effect;
};
struct host_port {
	struct str ip, proto;
	int port;
};

struct expr { /* one requirement of a node selector term */
	struct str key, op;
	struct str *values;
	size_t n_values;
	bool field; /* matchFields: metadata.name */
};
struct term { /* expressions are ANDed; none = matches nothing */
	struct expr *exprs;
	size_t n;
	int weight;
};

struct pod_term {			    /* inter-pod affinity */
	struct label_selector *selector;    /* NULL = matches no pod */
	struct label_selector *ns_selector; /* NULL = namespaces only */
	bool all_ns;			    /* an empty namespaceSelector */
	struct str *namespaces;
	size_t n_namespaces;
	struct str key;
	int weight;
};

struct spread { /* a topology spread constraint */
	struct str key;
	int max_skew, min_domains;
	bool hard, honor_affinity, honor_taints;
	struct label_selector *selector;
	bool by_owner; /* the built-in default: pods of the same controller */
};

struct pod {
	int refs;
	struct arena arena;
	struct str ns, name, uid, node, scheduler;
	struct jv labels;
	uint64_t owner; /* hash of the controlling owner's uid; 0 = none */
	uint64_t print; /* changes with whatever could change the decision */
	int64_t priority;
	bool terminal, deleting, gated, best_effort;
	struct resources req;
	int64_t nonzero[2]; /* cpu and memory with a floor for containers that ask for nothing */
	struct host_port *ports;
	size_t n_ports;
	struct toleration *tolerations;
	size_t n_tolerations;
	struct expr *selector; /* nodeSelector */
	size_t n_selector;
	bool has_required;
	struct term *required, *preferred; /* node affinity: required terms are ORed */
	size_t n_required, n_preferred;
	struct pod_term *affinity, *anti, *pref_affinity, *pref_anti;
	size_t n_affinity, n_anti, n_pref_affinity, n_pref_anti;
	struct spread *spread;
	size_t n_spread;
	struct str condition_reason, condition_message; /* of PodScheduled=False */
	bool condition_false;
};
struct pod *sched_pod_decode(struct jv v); /* NULL when out of memory */
struct pod *sched_pod_ref(struct pod *p);
void sched_pod_unref(struct pod *p);

struct label {
	struct str key, value;
};
struct node_spec {
	int refs;
	struct arena arena;
	struct str name;
	struct label *labels;
	size_t n_labels;
	struct taint *taints;
	size_t n_taints;
	bool unschedulable;
	struct resources alloc;
};
struct node_spec *sched_node_decode(struct jv v);
void sched_node_spec_unref(struct node_spec *n);
/* .p NULL when absent. */
struct str sched_node_label(const struct node_spec *n, struct str key);

bool taint_tolerated(const struct taint *t, const struct toleration *v, size_t n);
bool term_matches(const struct term *t, const struct node_spec *n);
bool expr_matches(const struct expr *x, const struct node_spec *n);

#endif
