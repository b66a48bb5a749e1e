/* SPDX-License-Identifier: Apache-2.0
 * The kubelet's inner structures: one struct pod per pod on the node, one struct slot per container
 * of its specification, one struct inst per container instance the runtime knows. Loop thread only.
 * Pods are refcounted: every call under way holds one. */
#ifndef XEBEC_KUBELET_POD_H
#define XEBEC_KUBELET_POD_H

#include "kubelet/cri.h"
#include "kubelet/decide.h"
#include "kubelet/kubelet.h"
#include "xebec/base/json.h"

struct objcache;
struct httpd;
struct prober;
struct op;
struct volumes;

struct inst { /* a container instance, from ContainerStatus */
	char *id, *sandbox, *name, *image, *image_ref, *reason, *message, *log_path, *hash;
	enum inst_state state;
	unsigned attempt;
	int exit_code;
	int64_t created_at, started_at, finished_at;
	bool full;	/* status has been read for this state */
	char *term_msg; /* termination message, read once after the exit */
};
void inst_clear(struct inst *i);

enum { EXITED_RING = 64 };
enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, N_PROBES };

struct slot {
	char *name;
	enum slot_kind kind;
	const json_t *spec; /* in pod->obj */
	struct inst cur, last;
	bool has_cur, has_last, ran;
	struct op *op;	    /* under way, NULL = idle */
	int64_t backoff_ns; /* of the next restart */
	int64_t pull_delay; /* of the next pull */
	int64_t retry_at;
	char wait_reason[48]; /* why it is not running, "" = ContainerCreating */
	char wait_msg[320];
	unsigned restarts;
	struct prober *probe[N_PROBES];
	char *probed_id; /* the instance the probers watch */
	bool startup_passed, ready, unhealthy, hook_failed;
	bool pull_failed, backoff_told;
	int64_t failed_at;  /* when wait_reason was set, wall clock */
	int64_t hold_until; /* a call failed: leave the container alone until then */
	unsigned counted;   /* attempt whose back-off is accounted for */
	char *crash_told;   /* instance whose BackOff event was sent */
	char image_id[160];
};

/*          ┌───────> ENDING ──────┐
 *   NEW ──> ALIVE ──> ENDING ──> STOPPED ──> GONE
 * ENDING: containers are being stopped. STOPPED: nothing runs; a pod that finished of itself stays
 * here until it is deleted. GONE: runtime objects, volumes and cgroups are removed. */
enum pod_state { POD_NEW, POD_ALIVE, POD_ENDING, POD_STOPPED, POD_CLEANING, POD_GONE };

struct pod {
	struct kubelet *k;
	struct list link;
	int refs;
	enum pod_state state;
	char *ns, *name, *uid;
	json_t *obj; /* newest object, owned; NULL for an orphan found in the runtime */
	uint64_t rv;
	struct slot *slots;
	size_t n_slots;

	bool deleted;	 /* deletionTimestamp is set, or the object is gone */
	bool vanished;	 /* the API has no such pod any more */
	bool final_sent; /* delete with grace 0 is under way or done */
	char *evicted;	 /* reason of a failure decided here, e.g. DeadlineExceeded */
	char *evict_msg;
	int64_t kill_at; /* mono ns when the termination began */
	int64_t grace_s; /* seconds allowed */

	char *sandbox; /* newest sandbox id or NULL */
	bool sandbox_ready, sandbox_busy;
	unsigned sandbox_attempt;
	int64_t sandbox_retry_at, sandbox_delay;
	char *ip, *ips;	       /* of the sandbox: the first, and all with commas between */
	json_t *old_sandboxes; /* ids of older ones, to be removed */
	struct op *sandbox_op;
	int64_t sandbox_made_at;

	struct volumes *vols;
	bool volumes_ready;
	char vol_error[240];
	struct decision d; /* of the last sync */

	bool dirty, refreshing, refreshed;
	unsigned ops; /* under way */
	struct loop_timer wake, status_timer, recheck;
	int64_t recheck_ns;
	struct loop_task sync_task;
	bool sync_posted;

	json_t *status; /* computed last */
	json_t *sent;	/* acknowledged or under way */
	bool patching;
	uint64_t patch_rv;
	int64_t seen_at; /* mono ns, for the start latency metric */
	int64_t start_time;
	bool reported_running, settled, told;
	int64_t wait_until; /* mono ns: no report of a pod that only begins before that */
	json_t *conditions; /* as last computed, for transition times */
};

struct kubelet {
	struct kubelet_config c;
	char *root, *logs, *domain, *resolv_conf, *selector;
	struct loop *loop;
	struct client *client;
	struct cri *cri;
	struct pool *pool;
	struct list pods;
	size_t n_pods;
	struct informer *pod_inf, *svc_inf;
	struct event_recorder *rec;
	struct objcache *objs;
	struct httpd *httpd;
	struct loop_timer relist, node_timer, lease_timer, gc_timer;
	bool pods_synced, relisting, relist_again, listed_once;
	bool runtime_up, network_ready;
	char runtime_msg[200], runtime_version[64];
	struct node *node;
	uint64_t mem_capacity;
	uint64_t n_started, n_restarts, start_ns_total, n_synced;
	char exited[EXITED_RING][72]; /* containers whose end was announced lately */
	unsigned n_exited;
	json_t *orphans; /* uids being cleaned up */
	bool closing;
};

/* kubelet.c: takes over cri, also on failure */
int kubelet_start_cri(
	const struct kubelet_config *cfg, struct cri *cri, struct kubelet **ret, struct err *e);

/* pods.c: the set of pods */
struct pod *pod_ref(struct pod *p);
void pod_unref(struct pod *p);
struct pod *pod_find_uid(struct kubelet *k, const char *uid);
struct pod *pod_find(struct kubelet *k, const char *ns, const char *name);
struct slot *pod_slot(struct pod *p, const char *name);
int pods_start(struct kubelet *k, struct err *e);
void pods_stop(struct kubelet *k);
void pods_forget(struct pod *p); /* drops the set's reference */
void pods_relist_soon(struct kubelet *k);
json_t *pod_spec(const struct pod *p);

/* sync.c: the loop of one pod: refresh, decide, act, report */
void pod_dirty(struct pod *p); /* the runtime's view may have changed: refresh, then sync */
void pod_sync(struct pod *p);  /* only our own view changed: sync soon */
void pod_set_state(struct pod *p, enum pod_state s);
void pod_view_of(const struct pod *p, int64_t now, struct pod_view *v);
void pod_event(struct pod *p, const struct slot *s, bool warning, const char *reason,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* refresh.c */
void pod_refresh(struct pod *p, void (*done)(struct pod *p, const struct err *e));

/* ops.c */
void op_run(struct pod *p, const struct action *a);
void op_cancel_all(struct pod *p);
void pod_cleanup(struct pod *p, void (*done)(struct pod *p));
void op_shorten(struct pod *p);

void ignore_reply(void *arg, const struct err *e, int status, const json_t *resp);
struct spec_ctx;
void spec_ctx_of(const struct pod *p, struct spec_ctx *c);

/* status.c */
json_t *status_make(struct pod *p, int64_t now);
void status_push(struct pod *p);

const char *node_ips(const struct kubelet *k); /* with commas between */

#endif
