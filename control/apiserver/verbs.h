/* SPDX-License-Identifier: Apache-2.0
 * The steps behind the verbs: writes, admission, allocation, subresources, tokens. Included at the
 * end of internal.h. */
#ifndef XEBEC_APISERVER_VERBS_H
#define XEBEC_APISERVER_VERBS_H

/* jwt.c: service account tokens, ES256 (RFC 7519, 7515) */
struct token_claims {
	const char *ns, *sa, *sa_uid, *pod, *pod_uid, *node, *node_uid;
	int64_t expires; /* seconds since the epoch */
	const char *const *audiences;
};
int jwt_key_load(struct str key_pem, struct jwt_key **ret, struct err *e);
void jwt_key_free(struct jwt_key *k);
int jwt_sign(const struct jwt_key *k, const char *issuer, const struct token_claims *c,
	int64_t now_ns, struct buf *out);
/* claims: the payload, verified: signature, issuer, times. */
int jwt_verify(const struct jwt_key *k, const char *issuer, struct str token, int64_t now_ns,
	json_t **ret_claims, struct err *e);
void jwt_jwks(const struct jwt_key *k, struct buf *out);

/* write.c: the guaranteed update: read from the cache, compute, compare-and-swap, again on conflict
 */
struct alloc_claim;
struct write_result {
	struct str bytes; /* the object after (delete: before) the write; during the callback */
	uint64_t rv;	  /* 0: none (dry run of a create) */
	bool deleted, created;
};
struct write {
	struct req *r;
	struct cache_res *res;
	struct str key; /* "ns/name", in the request's arena */
	/* Pure, called again after each conflict. old NULL = absent; *ret NULL = delete. -EALREADY:
	 * the object stays as it is and is the answer. */
	int (*compute)(struct write *w, const json_t *old, json_t **ret, struct err *e);
	/* Ends it, on the request's loop; r->x may be NULL by then. w is freed afterwards. */
	void (*done)(struct write *w, const struct err *e, const struct write_result *res);
	void *arg;
	const char *sub;   /* "" or the subresource: for compute */
	const char *track; /* the subresource in managedFields where it is not `sub` */
	unsigned max_attempts;
	struct alloc_claim *claim; /* service addresses taken by compute */
	bool applied;		   /* compute itself kept metadata.managedFields */
	/* private */
	struct store_val *cur; /* what compute sees */
	struct buf bytes;
	unsigned attempts;
	bool deleting, collided;
	struct loop_task task;
	bool succeeded;
	uint64_t rev;
	struct store_val *txn_cur;
	struct err txn_err;
};
/* NULL when out of memory (replied). The caller fills in compute and done, then write_run. */
struct write *write_new(struct req *r, struct cache_res *res, struct str key);
void write_run(struct write *w);
uint64_t write_cur_rv(const struct write *w); /* 0 = absent */
void write_reply(struct write *w, const struct err *e, const struct write_result *res);
/* What every kind of update does after the new state is known: preconditions, defaults, admission,
 * what may not change, validation. Takes over obj. */
int write_finish(struct write *w, const json_t *old, json_t *obj, json_t **ret, struct err *e);
int not_found(struct req *r, struct err *e, const struct kind *k, struct str name);
int conflict_modified(struct err *e, const struct kind *k, struct str name);
/* From r->causes. */
int invalid(struct req *r, struct err *e, const struct kind *k, const char *name);
int decode_body(struct req *r, const struct kind *k, json_t **ret, struct err *e);
bool may_vanish(const struct kind *k, const json_t *obj);   /* deleting and nothing holds it */
const char *qualified(struct req *r, const struct kind *k); /* "deployments.apps" */
/* Defaults, admission, allocation, validation of a new object. track: fill in its managedFields. */
int create_object(
	struct req *r, json_t *obj, bool track, struct alloc_claim **claim, struct err *e);
void do_create(struct req *r);
void do_update(struct req *r);
void do_patch(struct req *r);
int check_subject(struct req *r, json_t *obj, struct err *e); /* name and namespace of the path */

/* apply.c: server-side apply, and who owns what after the other writes */
void do_apply(struct req *r);
void write_track(struct write *w, const json_t *old, json_t *obj);
void track_create(struct req *r, json_t *obj);

/* convert.c: bytes stored at revision rv in the version of the request's path; scratch holds them
 */
struct str as_asked(const struct req *r, struct str bytes, uint64_t rv, struct buf *scratch);
struct str as_version(const struct kind *stored, const struct kind *asked, struct str bytes,
	uint64_t rv, struct buf *scratch);
bool served_as_stored(const struct req *r, uint64_t rv);
void write_from_store(const struct write *w, json_t *old);
void write_to_store(const struct write *w, json_t *obj);

/* review.c: kinds that are asked, not stored (SelfSubjectAccessReview ...) */
void do_review(struct req *r);

/* delete.c */
void do_delete(struct req *r);
void do_deletecollection(struct req *r);

/* admission.c */
int admit_mutate(struct req *r, json_t *obj, const json_t *old, struct err *e);
int admit_validate(struct req *r, const json_t *obj, const json_t *old, struct err *e);

/* alloc.c */
int alloc_new(
	const char *cidr, uint16_t port_min, uint16_t port_max, struct alloc **ret, struct err *e);
void alloc_free(struct alloc *a);
bool alloc_holds(const struct alloc *a, struct str ip); /* is it of the range? */
void alloc_observe(struct alloc *a, const struct obj *old, const struct obj *new);
struct alloc_claim; /* what one write took and has not stored yet */
int alloc_service(
	struct req *r, json_t *svc, const json_t *old, struct alloc_claim **claim, struct err *e);
void alloc_release(struct alloc *a, struct alloc_claim *claim); /* the write failed */
void alloc_keep(struct alloc_claim *claim);			/* the write is stored */

/* subresource.c eviction.c token.c kubelet.c proxy.c */
struct sub_row {
	const char *name;
	uint16_t sub; /* SUB_* */
	req_fn *get, *put, *patch, *post, *del;
	req_fn *any; /* every other method; then the query and the body are none of our business */
};
extern const struct sub_row sub_rows[];
const struct sub_row *sub_find(struct str name);
req_fn do_binding, do_eviction, do_token, do_log, do_tunnel, do_proxy;
struct target {	       /* where a request is passed on to */
	char addr[96]; /* host:port */
	char host[64];
	struct tls_ctx *tls; /* NULL: plain */
	char ns[64], pod[254], container[64];
};
int node_address(struct req *r, struct str node, struct target *t, struct err *e);
/* Upgrades there, then here, then passes bytes until both ends are done. */
void tunnel_open(struct req *r, const struct target *t, struct httpc_call *call);
struct tls_ctx *kubelets_tls(struct kubelets *k);     /* as ourselves, towards kubelets */
struct tls_ctx *kubelets_any_tls(struct kubelets *k); /* verifies nobody: pods and services */
/* Deletes the request's pod with these options (may be NULL); answers 201. */
void evict_run(struct req *r, const json_t *delete_options);
int kubelets_new(const struct apiserver_config *c, struct kubelets **ret, struct err *e);
void kubelets_free(struct kubelets *k);

/* metrics.c */
struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
void metrics_count(struct metrics *m, enum verb v, const struct kind *k, int status, int64_t ns);
void metrics_write(struct apiserver *s, struct buf *out);

/* bootstrap.c */
int bootstrap(struct apiserver *s, const struct apiserver_config *c, struct err *e);

#endif
