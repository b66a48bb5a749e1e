/* SPDX-License-Identifier: Apache-2.0
 * The API as every component but the API server sees it: calls, watches, informers, events. Works
 * the same over HTTPS against any Kubernetes API server and in-process against ours. One client
 * belongs to one loop; callbacks run there. */
#ifndef XEBEC_CLIENT_CLIENT_H
#define XEBEC_CLIENT_CLIENT_H

#include "xebec/base/buf.h"
#include "xebec/base/err.h"
#include "xebec/base/http.h"
#include "xebec/base/jv.h"
#include "xebec/base/loop.h"

/* Where requests go. https: client_https.c. in-process: client_inproc.c hands an http_exchange to a
 * handler. */
struct client;
struct client_https_config {
	struct loop *loop;
	const char *server;	     /* "https://10.0.0.1:6443", a path prefix may follow */
	const char *tls_server_name; /* when the certificate names another host; may be NULL */
	/* PEM text, may be empty. Without a CA the machine's own list is trusted. */
	struct str ca_pem, cert_pem, key_pem;
	bool insecure;		/* do not verify the server */
	const char *token;	/* bearer, may be NULL */
	const char *token_file; /* read again once a minute; may be NULL */
	const char *user_agent;
};
int client_new_https(const struct client_https_config *c, struct client **ret, struct err *e);
int client_new_kubeconfig(struct loop *l, const char *path, const char *user_agent,
	struct client **ret, struct err *e);
/* handler is called on `loop`'s thread with exchanges whose peer.trusted_user = user. */
int client_new_inproc(struct loop *l, http_handler *handler, void *srv, const char *user,
	const char *const *groups, struct client **ret, struct err *e);
/* Cancels what is under way, without callbacks. Free informers and the like first. */
void client_free(struct client *c);
struct loop *client_loop(const struct client *c);

/* One resource of the API. Rows are const tables in the components. */
struct resource {
	const char *group, *version, *plural, *kind; /* group "" = core */
	bool namespaced;
};
/* "/api/v1/namespaces/NS/pods/NAME/SUB"; ns, name, sub may be NULL. */
void resource_path(const struct resource *r, const char *ns, const char *name, const char *sub,
	struct buf *out);

/* A finished call. e NULL = 2xx, body = the object. e != NULL: reason and message of the Status (or
 * of the transport), code -ENOENT for NotFound, -EEXIST AlreadyExists, -EAGAIN Conflict, -EINVAL
 * Invalid, -EBUSY TooManyRequests, -EPERM Forbidden, -EIO transport. */
struct client_result {
	const struct err *e;
	int http_status;
	struct str body; /* borrowed: valid during the callback */
};
typedef void client_done(void *arg, const struct client_result *r);

struct client_call; /* under way */
struct client_request {
	const char *method;	  /* GET POST PUT PATCH DELETE */
	struct str path;	  /* with query */
	const char *content_type; /* NULL = application/json */
	struct str body;
	int64_t timeout_ns; /* 0 = 30 s */
};
/* done is called exactly once, never inside the call. NULL only when out of memory. */
struct client_call *client_send(
	struct client *c, const struct client_request *r, client_done *done, void *arg);
void client_cancel(struct client_call *call); /* no callback follows */

/* Short forms. object = JSON. */
struct client_call *client_get(struct client *c, const struct resource *r, const char *ns,
	const char *name, client_done *done, void *arg);
struct client_call *client_create(struct client *c, const struct resource *r, const char *ns,
	struct str object, client_done *done, void *arg);
struct client_call *client_update(struct client *c, const struct resource *r, const char *ns,
	const char *name, const char *sub, struct str object, client_done *done, void *arg);
enum client_patch { CLIENT_PATCH_JSON, CLIENT_PATCH_MERGE, CLIENT_PATCH_STRATEGIC };
struct client_call *client_patch(struct client *c, const struct resource *r, const char *ns,
	const char *name, const char *sub, enum client_patch type, struct str patch,
	client_done *done, void *arg);
/* grace_seconds < 0 = the object's own; uid NULL = no precondition; propagation NULL = default. */
struct client_call *client_delete(struct client *c, const struct resource *r, const char *ns,
	const char *name, int64_t grace_seconds, const char *uid, const char *propagation,
	client_done *done, void *arg);

/* An object in an informer's cache: immutable, refcounted (loop thread only), the JSON bytes plus
 * what everybody asks for. */
struct cobj {
	int refs;
	struct str json;       /* whole object, with kind and apiVersion filled in */
	struct jv v;	       /* view of json */
	char *ns, *name, *uid; /* ns "" for cluster-scoped */
	uint64_t rv;	       /* resourceVersion as a number */
	void *decoded;	       /* what the informer's decode returned; freed with the object */
	void (*free_decoded)(void *);
};
struct cobj *cobj_ref(struct cobj *o);
void cobj_unref(struct cobj *o);

/* Informer: list, watch with bookmarks, relist on 410 or a broken order, back-off with jitter.
 * Handlers see every object's latest state at least once, in order per object; after a relist,
 * vanished objects are reported deleted. */
struct informer;
struct informer_config {
	struct client *client;
	const struct resource *resource;
	const char *ns;				     /* NULL = all namespaces */
	const char *field_selector, *label_selector; /* may be NULL */
	void *(*decode)(struct jv
			v); /* optional small struct, stored in cobj.decoded; NULL return is fine */
	void (*free_decoded)(void *);
	/* What decode made is enough: the bytes are not kept (cobj.json and .v are empty). */
	bool lean;
	/* old NULL = added; new NULL = deleted. Both borrowed. */
	void (*on_event)(void *arg, struct cobj *old, struct cobj *new);
	void (*on_synced)(void *arg); /* once, after the first complete list was delivered */
	/* A list or watch failed; it is tried again by itself. May be NULL. */
	void (*on_error)(void *arg, const struct err *e);
	void *arg;
};
int informer_start(const struct informer_config *c, struct informer **ret, struct err *e);
/* More than one component may share an informer: a second listener sees the present objects as
 * added first. */
int informer_listen(struct informer *i,
	void (*on_event)(void *arg, struct cobj *old, struct cobj *new), void *arg);
void informer_free(struct informer *i); /* not inside its own callbacks */
bool informer_synced(const struct informer *i);
uint64_t informer_rv(
	const struct informer *i); /* everything up to this resourceVersion has been delivered */
struct cobj *informer_get(
	const struct informer *i, const char *ns, const char *name); /* borrowed or NULL */
size_t informer_len(const struct informer *i);
struct informer_iter {
	struct cobj *obj;
	void *priv[4];
};
/* Unordered; ns NULL = all. Do not start or free informers while iterating. */
bool informer_next(const struct informer *i, const char *ns, struct informer_iter *it);
#define informer_each(i, ns, it) for (struct informer_iter it = {0}; informer_next((i), (ns), &it);)

/* Work queue of keys ("ns/name"): coalesced, one at a time per key, delayed and rate-limited (5 ms
 * doubling to 1000 s) re-adds. */
struct workqueue;
struct workqueue *workqueue_new(
	struct loop *l, void (*work)(void *arg, const char *key), void *arg, unsigned parallel);
void workqueue_free(struct workqueue *q);
void workqueue_add(struct workqueue *q, const char *key);
void workqueue_add_after(struct workqueue *q, const char *key, int64_t ns);
void workqueue_retry(struct workqueue *q, const char *key);  /* after the key's back-off */
void workqueue_forget(struct workqueue *q, const char *key); /* success: back-off starts anew */
void workqueue_done(struct workqueue *q,
	const char *key); /* the worker must say so; may be later than work()'s return */
size_t workqueue_len(const struct workqueue *q);

/* Events (core/v1), deduplicated: the same (object, reason, message) within 10 minutes raises count
 * of the stored Event. */
struct event_recorder;
struct event_recorder *event_recorder_new(
	struct client *c, const char *component, const char *host);
void event_recorder_free(struct event_recorder *r);
struct event_ref {
	const char *api_version, *kind, *ns, *name, *uid, *field_path; /* field_path may be NULL */
	uint64_t rv;
};
void event_emit(struct event_recorder *r, const struct event_ref *o, bool warning,
	const char *reason, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Leader election on a coordination.k8s.io/v1 Lease: 15 s lease, 10 s deadline, 2 s retry. */
struct elector;
struct elector *elector_start(struct client *c, const char *ns, const char *name,
	const char *identity, void (*on_change)(void *arg, bool leader), void *arg);
void elector_free(struct elector *e); /* gives the lease up */

#endif
