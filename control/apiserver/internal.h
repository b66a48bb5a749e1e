/* SPDX-License-Identifier: Apache-2.0
 * What the API server's files share: the server, a request on its way, the tables' row types. */
#ifndef XEBEC_APISERVER_INTERNAL_H
#define XEBEC_APISERVER_INTERNAL_H

#include "apiserver/apiserver.h"
#include "apiserver/cache.h"
#include "xebec/base/httpc.h"
#include "xebec/base/timefmt.h"

struct alloc;
struct crds;
struct definition;
struct jwt_key;
struct kubelets;
struct metrics;
struct tokens;

struct apiserver {
	struct store *store;
	struct loop *loop;
	struct cache *cache;
	struct crds *crds;	   /* kinds that definitions made */
	struct alloc *alloc;	   /* cluster addresses and node ports */
	struct jwt_key *jwt;	   /* NULL: no service account tokens */
	struct tokens *tokens;	   /* static bearer tokens; NULL: none */
	struct kubelets *kubelets; /* connections to nodes */
	struct metrics *metrics;
	char *issuer, *advertise;
	struct cache_res *namespaces, *services, *pods, *nodes, *serviceaccounts, *pdbs, *slices;
	struct loop_timer compact_timer, lease_timer;
	uint64_t compact_next; /* revision to compact to at the next tick */
	_Atomic uint64_t event_lease;
	_Atomic bool ready;
	_Atomic unsigned busy; /* requests that are not yet done */
};

/* --- routes --- */
enum verb { /* the RBAC verbs, also a label in metrics */
	V_GET,
	V_LIST,
	V_WATCH,
	V_CREATE,
	V_UPDATE,
	V_PATCH,
	V_DELETE,
	V_DELETECOLLECTION,
	V_CONNECT,
	V_OTHER
};
extern const char *const verb_names[];

struct route {
	struct str group, version, plural, ns, name, sub;
	struct str rest; /* after the subresource (proxy paths) */
	const struct kind *kind;
	struct cache_res *res;
	struct definition *def;	 /* a reference: kind and res are a custom resource's */
	struct cache_res *owned; /* a reference, with def */
	bool no_create;		 /* the definition is being deleted */
	bool legacy_watch;	 /* /api/v1/watch/... */
};
enum route_result { ROUTE_OK, ROUTE_NOT_RESOURCE, ROUTE_NO_GROUP, ROUTE_NO_RESOURCE };

/* --- who asks --- */
struct user {
	const char *name, *uid;
	const char **groups; /* NULL-terminated */
};

/* --- how the answer is written --- */
enum form { FORM_OBJECT, FORM_TABLE, FORM_PARTIAL };
struct accept {
	enum form form;
	enum media media;
	bool watch_only_partial;
};

struct list_opts {
	const struct kind *stored, *asked; /* versions: differ for events.k8s.io */
	struct label_selector *labels;	   /* NULL: everything */
	struct field_selector *fields;
	int64_t limit, timeout_seconds;
	struct str cont, rv, rv_match;
	bool watch, bookmarks, send_initial, has_send_initial;
	enum include_object include;
};

struct req;
typedef void req_fn(struct req *r);

/* One request, from the handler's call to the last byte. It outlives the exchange while something
 * asynchronous is under way; everything it needs is copied into its own arena. Loop thread only. */
struct req {
	struct apiserver *srv;
	struct http_exchange *x; /* NULL: the client went away */
	struct loop *loop;
	struct arena arena;
	struct str method, path, query, body;
	enum media body_media;
	struct route rt;
	enum verb verb;
	struct user user;
	struct accept accept;
	bool dry_run, gzip_ok;
	bool plain_error; /* errors answer with empty details */
	enum field_validation fields;
	const char *manager;		 /* field manager */
	const struct kind *options_kind; /* what is wrong with the query is said of this */
	struct causes causes, warnings;
	struct list_opts list;
	struct cache_wait wait;
	struct loop_timer timer;
	req_fn *next;	  /* continues after a wait */
	unsigned pending; /* asynchronous steps that will still call back */
	int64_t start_ns; /* mono */
	int64_t now_ns;	  /* real time: timestamps of this request */
	int status;	  /* sent, for metrics */
	void *state;	  /* of the verb; freed by free_state */
	void (*free_state)(struct req *r);
	void (*on_gone)(struct req *r); /* the client went away while the verb was under way */
};

/* route.c */
enum route_result route_parse(
	struct apiserver *s, struct arena *a, struct str path, struct route *rt);
bool path_nonresource(
	struct req *r); /* answers /healthz, /version, discovery ...; false: unknown */

/* authn.c, authz.c */
int authenticate(struct req *r, struct err *e);
bool authorize(struct req *r, struct err *e);
struct access { /* what is asked for */
	const char *verb;
	struct str group, resource, sub, ns, name;
	struct str path; /* non-resource requests */
};
bool allowed(const struct user *u, const struct access *a);
bool user_in_group(const struct user *u, const char *group);
int tokens_load(const char *path, struct tokens **ret, struct err *e);
void tokens_free(struct tokens *t);

/* respond.c */
int negotiate(struct req *r, struct err *e); /* fills r->accept from the Accept header */
extern const struct kind no_kind;	     /* for Status details without a kind */
void reply_error(struct req *r, const struct err *e);
void reply_error_kind(struct req *r, const struct err *e, const struct kind *k, const char *name);
void reply_obj(struct req *r, int status, struct str bytes, uint64_t rv);
void reply_json(struct req *r, int status, const json_t *j, const struct type *t); /* any object */
void reply_bytes(struct req *r, int status, const char *type, struct str body);
/* JSON bytes, as YAML when that was asked for. */
void reply_form(struct req *r, int status, struct str json);
void reply_text(struct req *r, int status, const char *text);
void reply_status_ok(struct req *r, int status, const char *name, const char *group,
	const char *plural, const char *uid);
/* The exchange's headers: warnings, audit-id, content-type; then the body follows by ops->write. */
void reply_start(struct req *r, int status, const char *type);
struct str obj_uid(struct jv v);
void warn(struct req *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* {"kind"..."metadata":{"resourceVersion":"N",...: the object as it is served. item: without kind
 * and apiVersion, as inside a list. */
void obj_write(struct str bytes, uint64_t rv, bool item, struct buf *out);
void obj_write_partial(struct str bytes, uint64_t rv, struct buf *out);
void table_begin(struct buf *out, const struct kind *k, struct str list_meta, bool columns);
void table_end(struct buf *out);

/* handle.c */
void req_wait_fresh(struct req *r, uint64_t rev, req_fn *then); /* then runs once rev is cached */
void req_free_if_done(struct req *r);				/* after every callback */
void req_hold(struct req *r);					/* pending++ */
void req_release(struct req *r);				/* pending--, may free */
void req_finished(struct req *r, int status);	       /* the exchange has been ended: forget it */
struct str req_query(struct req *r, const char *name); /* .p NULL when absent */
int parse_list_opts(struct req *r, struct err *e);
void list_opts_free(struct list_opts *o);
bool req_truthy(struct str value); /* of a query parameter */
struct str req_key(struct req *r); /* "ns/name" in the arena */
bool selected(const struct list_opts *o, const struct obj *obj);

/* read.c watch.c */
void do_get(struct req *r);
void do_list(struct req *r);
void do_watch(struct req *r);

#include "apiserver/verbs.h"

#endif
