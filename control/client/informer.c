/* SPDX-License-Identifier: Apache-2.0
 * List, watch, repeat.
 *
 *   LIST --pages--> WATCH --end--> WATCH ...          (resourceVersion goes on)
 *    ^  \             |
 *    |   error        410, a broken order, three refusals in a row
 *    +--- WAIT <------+                               (jittered back-off)
 *
 * The cache keeps what it has during a relist; what the new list does not have is then reported
 * deleted. */
#include <errno.h>
#include "client/client_int.h"
#include "client/cobj.h"
#include "client/frames.h"
#include "xebec/base/htab.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

enum { PAGE = 500, LISTENERS = 16, REFUSALS = 3 };
#define BACKOFF_MIN   (50 * NS_PER_MS)
#define BACKOFF_MAX   (10 * NS_PER_SEC)
#define WATCH_SECONDS 300 /* to 600: the server ends it, so that load spreads */
#define WATCH_GRACE   (30 * NS_PER_SEC)
#define LIST_TIMEOUT  (60 * NS_PER_SEC)

enum phase { IDLE, LISTING, WATCHING, WAITING };

struct listener {
	void (*on_event)(void *arg, struct cobj *old, struct cobj *new);
	void *arg;
};

struct namespace_items {
	struct list items;
	size_t n;
};

struct informer {
	struct client *client;
	const struct resource *r;
	struct buf path, selectors; /* "/api/v1/pods", "&labelSelector=..." */
	void *(*decode)(struct jv v);
	void (*free_decoded)(void *);
	bool lean;
	void (*on_synced)(void *arg);
	void (*on_error)(void *arg, const struct err *e);
	void *arg;
	struct listener listeners[LISTENERS];
	size_t n_listeners;

	struct htab *items; /* "ns/name" -> struct item */
	struct htab *by_ns; /* ns -> struct namespace_items */
	unsigned list_no;
	uint64_t rv, list_rv; /* delivered up to; the list under way */
	bool synced;

	enum phase phase;
	struct loop_timer timer; /* back-off; or the watch's outer limit */
	struct client_call *list;
	struct xfer *watch;
	int watch_status;
	struct buf watch_error; /* body of a watch that was refused */
	struct frames frames;
	bool relist, watch_alive; /* after the watch: list anew; it has brought an event */
	int64_t watch_start;
	unsigned failures, refusals;
};

static void next_list(struct informer *i, struct str token);
static void next_watch(struct informer *i);

/* --- the cache --- */

static struct str key_of(const struct cobj *o, struct buf *b)
{
	buf_clear(b);
	buf_addf(b, "%s/%s", o->ns, o->name);
	return buf_str(b);
}

static void emit(struct informer *i, struct cobj *old, struct cobj *new)
{
	for (size_t k = 0; k < i->n_listeners; k++)
		i->listeners[k].on_event(i->listeners[k].arg, old, new);
}

static void ns_remove(struct informer *i, struct item *it)
{
	struct namespace_items *b = htab_get(i->by_ns, str_of(it->c.ns));
	list_del(&it->in_ns);
	if (b && --b->n == 0)
		free(htab_del(i->by_ns, str_of(it->c.ns)));
}

static int ns_insert(struct informer *i, struct item *it)
{
	struct namespace_items *b = htab_get(i->by_ns, str_of(it->c.ns));
	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b || htab_put(i->by_ns, str_of(it->c.ns), b, NULL) < 0) {
			free(b);
			return -ENOMEM;
		}
		list_init(&b->items);
	}
	list_push(&b->items, &it->in_ns);
	b->n++;
	return 0;
}

static void drop(struct informer *i, struct str key)
{
	struct item *it = htab_del(i->items, key);
	if (!it)
		return;
	ns_remove(i, it);
	emit(i, &it->c, NULL);
	cobj_unref(&it->c);
}

/* Takes over new; v: the object as it came. */
static int store(struct informer *i, struct item *new, struct jv v, struct str key)
{
	struct item *old = htab_get(i->items, key);
	void *was = NULL;
	if (old && strcmp(old->c.uid, new->c.uid) != 0) { /* another object of the same name */
		drop(i, key);
		old = NULL;
	}
	if (i->decode)
		new->c.decoded = i->decode(i->lean ? v : new->c.v);
	new->c.free_decoded = i->free_decoded;
	if (ns_insert(i, new) < 0 || htab_put(i->items, key, new, &was) < 0) {
		if (!list_empty(&new->in_ns))
			ns_remove(i, new);
		cobj_unref(&new->c);
		return -ENOMEM;
	}
	if (old)
		ns_remove(i, old);
	emit(i, old ? &old->c : NULL, &new->c);
	if (old)
		cobj_unref(&old->c);
	return 0;
}

static int accept_object(struct informer *i, struct jv v)
{
	AUTO_BUF struct buf kb = {0};
	struct item *new;
	int r = i->lean ? cobj_new_lean(v, &new) : cobj_new(v, i->r, &new);
	if (r < 0)
		return r;
	struct str key = key_of(&new->c, &kb);
	struct item *old = kb.err ? NULL : htab_get(i->items, key);
	new->seen = i->list_no;
	if (kb.err || (old && old->c.rv == new->c.rv)) { /* nothing new about it */
		if (old)
			old->seen = i->list_no;
		cobj_unref(&new->c);
		return kb.err;
	}
	return store(i, new, v, key);
}

/* What the list that has just ended did not have. */
static void drop_unseen(struct informer *i)
{
	AUTO_BUF struct buf kb = {0};
	htab_each (i->items, it) {
		struct item *item = it.value;
		if (item->seen != i->list_no)
			drop(i, key_of(&item->c, &kb));
	}
}

/* --- back-off --- */

/* After a failure: e, or NULL and what a broken stream looked like. */
static void again(struct informer *i, bool relist, const struct err *e)
{
	struct err broken = {0};
	int64_t ns = BACKOFF_MIN;
	uint16_t random;
	for (unsigned k = 0; k < i->failures && ns < BACKOFF_MAX; k++)
		ns *= 2;
	if (ns > BACKOFF_MAX)
		ns = BACKOFF_MAX;
	i->failures++;
	i->relist |= relist;
	random_bytes(&random, sizeof(random));
	ns = ns / 2 + ns / 2 * random / 65535; /* spreads a herd of nodes */
	i->phase = WAITING;
	if (loop_timer_set(i->client->loop, &i->timer, ns) < 0)
		i->phase = IDLE;
	if (!e)
		(void)err_set(&broken, -EIO, NULL, "%s: the stream broke off", i->path.p);
	if (i->on_error)
		i->on_error(i->arg, e ? e : &broken);
}

static void proceed(struct informer *i)
{
	if (i->relist)
		next_list(i, (struct str){0});
	else
		next_watch(i);
}

static void watch_stop(struct informer *i)
{
	loop_timer_cancel(&i->timer);
	if (i->watch)
		i->client->ops->cancel(i->watch);
	i->watch = NULL;
	frames_reset(&i->frames);
	buf_free(&i->watch_error);
}

static void on_timer(struct loop_timer *t)
{
	struct informer *i = t->arg;
	if (i->phase == WATCHING) { /* a server that outstays its own time-out is not there */
		watch_stop(i);
		again(i, false, NULL);
	} else {
		proceed(i);
	}
}

/* --- list --- */

static void listed(struct informer *i)
{
	bool first = !i->synced;
	drop_unseen(i);
	i->rv = i->list_rv;
	i->relist = false;
	i->refusals = 0;
	i->synced = true;
	next_watch(i);
	if (first && i->on_synced)
		i->on_synced(i->arg);
}

static int take_page(struct informer *i, struct str body, struct buf *token)
{
	if (!jv_valid(body, 2000))
		return -EBADMSG;
	struct jv list = jv_of(body), meta = jv_get(list, "metadata");
	int64_t rv = jv_int(jv_get(meta, "resourceVersion"), -1);
	if (rv < 0)
		return -EBADMSG;
	i->list_rv = (uint64_t)rv;
	jv_each (it, jv_get(list, "items")) {
		int r = accept_object(i, it.v);
		if (r == -ENOMEM)
			return r;
	}
	jv_unescape(jv_get(meta, "continue"), token);
	return token->err;
}

static void on_list(void *arg, const struct client_result *r)
{
	struct informer *i = arg;
	AUTO_BUF struct buf token = {0};
	i->list = NULL;
	if (r->e || take_page(i, r->body, &token) < 0)
		again(i, true, r->e); /* an expired page token (410) too: from the start */
	else if (token.len)
		next_list(i, buf_str(&token));
	else
		listed(i);
}

static void next_list(struct informer *i, struct str token)
{
	AUTO_BUF struct buf path = {0};
	if (!token.n)
		i->list_no++;
	buf_addf(&path, "%s?limit=%d", i->path.p, PAGE);
	buf_add_str(&path, buf_str(&i->selectors));
	if (token.n) {
		buf_adds(&path, "&continue=");
		url_encode(token, &path);
	}
	const struct client_request r = {
		.method = "GET", .path = buf_str(&path), .timeout_ns = LIST_TIMEOUT};
	i->phase = LISTING;
	i->list = path.err ? NULL : client_send(i->client, &r, on_list, i);
	if (!i->list)
		again(i, true, NULL);
}

/* --- watch --- */

static bool on_error_event(struct informer *i, struct jv status)
{
	struct err e = {0};
	client_error_of((int)jv_int(jv_get(status, "code"), 500), jv_bytes(status), &e);
	watch_stop(i);
	again(i, e.code == -ESTALE || ++i->refusals >= REFUSALS, &e);
	return false;
}

static bool on_frame(void *arg, enum watch_event type, struct jv object)
{
	struct informer *i = arg;
	AUTO_BUF struct buf kb = {0};
	if (type == WATCH_ERROR)
		return on_error_event(i, object);
	struct jv meta = jv_get(object, "metadata");
	int64_t rv = jv_int(jv_get(meta, "resourceVersion"), -1);
	int r = rv < 0 || (uint64_t)rv < i->rv ? -EBADMSG : 0; /* the order is broken */
	if (r == 0 && type == WATCH_DELETED) {
		buf_add_str(&kb, jv_raw_str(jv_get(meta, "namespace")));
		buf_addc(&kb, '/');
		buf_add_str(&kb, jv_raw_str(jv_get(meta, "name")));
		r = kb.err;
		if (r == 0) {
			/* Before the handlers: they may ask informer_rv. */
			i->rv = (uint64_t)rv;
			drop(i, buf_str(&kb));
		}
	} else if (r == 0 && type != WATCH_BOOKMARK) {
		i->rv = (uint64_t)rv;
		r = accept_object(i, object);
	}
	if (r < 0) {
		watch_stop(i);
		again(i, true, NULL);
		return false;
	}
	i->rv = (uint64_t)rv;
	i->watch_alive = true;
	i->failures = i->refusals = 0;
	return true;
}

static void on_watch_status(void *arg, int status)
{
	struct informer *i = arg;
	i->watch_status = status;
}

static void on_watch_data(void *arg, const void *p, size_t n)
{
	struct informer *i = arg;
	if (i->watch_status != 200) {
		if (i->watch_error.len + n <= 65536)
			buf_add(&i->watch_error, p, n);
		return;
	}
	if (frames_feed(&i->frames, p, n, on_frame, i) < 0 && i->phase == WATCHING) {
		watch_stop(i);
		again(i, true, NULL);
	}
}

static void on_watch_done(void *arg, const struct err *e)
{
	struct informer *i = arg;
	struct err refused = {0};
	i->watch = NULL;
	if (!e && i->watch_status != 200)
		client_error_of(i->watch_status, buf_str(&i->watch_error), &refused);
	watch_stop(i);
	int64_t lasted = time_mono() - i->watch_start;
	if (refused.code)
		again(i, refused.code == -ESTALE || ++i->refusals >= REFUSALS, &refused);
	else if (!e && (i->watch_alive || lasted > NS_PER_SEC))
		next_watch(i); /* its time was over */
	else
		again(i, false, e);
}

static const struct xfer_events watch_events = {
	.on_status = on_watch_status, .on_data = on_watch_data, .on_done = on_watch_done};

static void next_watch(struct informer *i)
{
	AUTO_BUF struct buf path = {0};
	uint16_t random;
	random_bytes(&random, sizeof(random));
	unsigned seconds = WATCH_SECONDS + random % WATCH_SECONDS;
	buf_addf(&path,
		"%s?watch=true&allowWatchBookmarks=true&resourceVersion=%llu&timeoutSeconds=%u",
		i->path.p, (unsigned long long)i->rv, seconds);
	buf_add_str(&path, buf_str(&i->selectors));
	const struct client_request r = {.method = "GET", .path = buf_str(&path)};
	i->watch_status = 0;
	i->watch_alive = false;
	i->watch_start = time_mono();
	i->phase = WATCHING;
	i->watch = path.err ? NULL : i->client->ops->send(i->client, &r, &watch_events, i);
	if (!i->watch)
		again(i, false, NULL);
	else
		(void)loop_timer_set(
			i->client->loop, &i->timer, seconds * NS_PER_SEC + WATCH_GRACE);
}

/* --- life --- */

static void add_selector(struct buf *b, const char *name, const char *value)
{
	if (!value || !value[0])
		return;
	buf_addf(b, "&%s=", name);
	url_encode(str_of(value), b);
}

int informer_start(const struct informer_config *c, struct informer **ret, struct err *e)
{
	struct informer *i = calloc(1, sizeof(*i));
	if (!i)
		return err_set(e, -ENOMEM, "InternalError", "out of memory");
	i->client = c->client;
	i->r = c->resource;
	i->decode = c->decode;
	i->free_decoded = c->free_decoded;
	i->lean = c->lean && c->decode;
	i->on_synced = c->on_synced;
	i->on_error = c->on_error;
	i->arg = c->arg;
	if (c->on_event)
		i->listeners[i->n_listeners++] = (struct listener){c->on_event, c->arg};
	i->items = htab_new();
	i->by_ns = htab_new();
	i->timer = (struct loop_timer){.fn = on_timer, .arg = i};
	resource_path(c->resource, c->ns, NULL, NULL, &i->path);
	add_selector(&i->selectors, "fieldSelector", c->field_selector);
	add_selector(&i->selectors, "labelSelector", c->label_selector);
	if (!i->items || !i->by_ns || i->path.err || i->selectors.err) {
		informer_free(i);
		return err_set(e, -ENOMEM, "InternalError", "out of memory");
	}
	next_list(i, (struct str){0});
	*ret = i;
	return 0;
}

static void free_item(void *p)
{
	struct item *it = p;
	list_del(&it->in_ns);
	cobj_unref(&it->c);
}

void informer_free(struct informer *i)
{
	if (!i)
		return;
	watch_stop(i);
	client_cancel(i->list);
	htab_free(i->items, free_item);
	htab_free(i->by_ns, free);
	buf_free(&i->path);
	buf_free(&i->selectors);
	free(i);
}

int informer_listen(struct informer *i,
	void (*on_event)(void *arg, struct cobj *old, struct cobj *new), void *arg)
{
	if (i->n_listeners == LISTENERS)
		return -ENOSPC;
	htab_each (i->items, it) {
		struct item *item = it.value;
		on_event(arg, NULL, &item->c);
	}
	i->listeners[i->n_listeners++] = (struct listener){on_event, arg};
	return 0;
}

/* --- reading --- */

bool informer_synced(const struct informer *i)
{
	return i->synced;
}

uint64_t informer_rv(const struct informer *i)
{
	return i->rv;
}

struct cobj *informer_get(const struct informer *i, const char *ns, const char *name)
{
	char key[512];
	int n = snprintf(key, sizeof(key), "%s/%s", ns ? ns : "", name);
	if (n < 0 || (size_t)n >= sizeof(key))
		return NULL;
	struct item *it = htab_get(i->items, (struct str){key, (size_t)n});
	return it ? &it->c : NULL;
}

size_t informer_len(const struct informer *i)
{
	return htab_len(i->items);
}

/* priv[0]: place in the table of all, or the next element of the namespace's list; priv[1]: that
 * list's head; priv[2]: begun. */
bool informer_next(const struct informer *i, const char *ns, struct informer_iter *it)
{
	if (!ns) {
		struct htab_iter h = {.i = (size_t)(uintptr_t)it->priv[0]};
		if (!htab_next(i->items, &h))
			return false;
		it->priv[0] = (void *)(uintptr_t)h.i;
		it->obj = &((struct item *)h.value)->c;
		return true;
	}
	if (!it->priv[2]) {
		struct namespace_items *b = htab_get(i->by_ns, str_of(ns));
		if (!b)
			return false;
		it->priv[0] = b->items.next;
		it->priv[1] = it->priv[2] = &b->items;
	}
	struct list *at = it->priv[0];
	if (at == it->priv[1])
		return false;
	it->priv[0] = at->next;
	it->obj = &list_entry(at, struct item, in_ns)->c;
	return true;
}
