/* SPDX-License-Identifier: Apache-2.0
 * Resource discovery: GET /apis, then /api/v1 and every version of every group. */
#include "controllers/discovery.h"
#include <errno.h>
#include "xebec/base/timefmt.h"

#define LIMIT	   10000 /* resources */
#define RETRY_NS   (1 * NS_PER_SEC)
#define SETTLE_NS  (10 * NS_PER_MS)  /* one round for a burst of changes ... */
#define BETWEEN_NS (200 * NS_PER_MS) /* ... and not more often than this */

struct call {
	struct discovery *d;
	struct call *next;
	struct client_call *call;
	unsigned rank;
	char path[400];
};
struct discovery {
	struct client *c;
	int64_t period;
	void (*on_round)(void *arg);
	void *arg;
	struct found **v;
	size_t n, cap;
	struct call *calls; /* under way */
	size_t pending;
	bool ready, failed, again; /* again: another round as soon as this one has ended */
	uint64_t begun, done;	   /* rounds; done: the last one that succeeded */
	int64_t began_at;
	struct informer *crds;
	struct loop_timer timer;
};

static void ask(struct discovery *d, const char *path, unsigned rank, client_done *done);

bool discovery_ready(const struct discovery *d)
{
	return d && d->ready;
}

size_t discovery_len(const struct discovery *d)
{
	return d->n;
}

const struct found *discovery_at(const struct discovery *d, size_t i)
{
	return d->v[i];
}

static bool version_is(const struct resource *r, struct str api_version)
{
	struct str rest = api_version, group = {0};

	if (memchr(api_version.p ? api_version.p : "", '/', api_version.n))
		group = str_cut(&rest, '/');
	return str_eqz(group, r->group) && str_eqz(rest, r->version);
}

const struct found *discovery_find(
	const struct discovery *d, struct str api_version, struct str kind)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->v[i]->here && str_eqz(kind, d->v[i]->r.kind) &&
			version_is(&d->v[i]->r, api_version))
			return d->v[i];
	return NULL;
}

static void found_free(struct found *f)
{
	free((char *)(uintptr_t)f->r.group);
	free((char *)(uintptr_t)f->r.version);
	free((char *)(uintptr_t)f->r.plural);
	free((char *)(uintptr_t)f->r.kind);
	free(f);
}

static struct found *found_new(struct str group, struct str version, struct jv res)
{
	struct found *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->r.group = str_dup(group);
	f->r.version = str_dup(version);
	f->r.plural = str_dup(jv_raw_str(jv_get(res, "name")));
	f->r.kind = str_dup(jv_raw_str(jv_get(res, "kind")));
	f->r.namespaced = jv_bool(jv_get(res, "namespaced"), false);
	if (f->r.group && f->r.version && f->r.plural && f->r.kind)
		return f;
	found_free(f);
	return NULL;
}

static void read_verbs(struct found *f, struct jv res)
{
	f->can_list = f->can_watch = f->can_delete = f->can_delete_collection = false;
	jv_each (it, jv_get(res, "verbs")) {
		f->can_list |= jv_is_str(it.v, "list");
		f->can_watch |= jv_is_str(it.v, "watch");
		f->can_delete |= jv_is_str(it.v, "delete");
		f->can_delete_collection |= jv_is_str(it.v, "deletecollection");
	}
}

static void add_resource(struct discovery *d, struct str gv, unsigned rank, struct jv res)
{
	struct str version = gv, group = {.p = "", .n = 0};

	if (memchr(gv.p, '/', gv.n))
		group = str_cut(&version, '/');
	struct str plural = jv_raw_str(jv_get(res, "name"));
	if (plural.n == 0 || memchr(plural.p, '/', plural.n) || d->n >= LIMIT)
		return;
	for (size_t i = 0; i < d->n; i++)
		if (str_eqz(plural, d->v[i]->r.plural) && version_is(&d->v[i]->r, gv) &&
			jv_is_str(jv_get(res, "kind"), d->v[i]->r.kind) &&
			jv_bool(jv_get(res, "namespaced"), false) == d->v[i]->r.namespaced) {
			d->v[i]->seen = true;
			d->v[i]->rank = rank;
			read_verbs(d->v[i], res);
			return;
		}
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 32;
		struct found **p = reallocarray(d->v, cap, sizeof(struct found *));
		if (!p)
			return;
		d->v = p;
		d->cap = cap;
	}
	struct found *f = found_new(group, version, res);
	if (!f)
		return;
	f->seen = true;
	f->rank = rank;
	read_verbs(f, res);
	d->v[d->n++] = f;
}

/* Is there a better version of the same resource? */
static bool outranked(const struct discovery *d, const struct found *f)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct found *o = d->v[i];
		if (o->here && o->rank < f->rank && strcmp(o->r.plural, f->r.plural) == 0 &&
			strcmp(o->r.group, f->r.group) == 0)
			return true;
	}
	return false;
}

static void take_stock(struct discovery *d)
{
	for (size_t i = 0; i < d->n; i++)
		d->v[i]->here = d->v[i]->seen;
	for (size_t i = 0; i < d->n; i++)
		d->v[i]->home = d->v[i]->rank == 0 || !outranked(d, d->v[i]);
	d->ready = true;
	d->done = d->begun;
}

static void on_tick(struct loop_timer *t);

static void round_end(struct discovery *d)
{
	if (!d->failed)
		take_stock(d);
	d->timer.fn = on_tick;
	d->timer.arg = d;
	int64_t wait = d->failed ? RETRY_NS : d->again ? BETWEEN_NS : d->period;
	d->again = false;
	(void)loop_timer_set(client_loop(d->c), &d->timer, wait);
	if (d->on_round)
		d->on_round(d->arg);
}

/* Takes a finished call off the list. */
static struct discovery *call_end(struct call *call, unsigned *ret_rank)
{
	struct discovery *d = call->d;

	*ret_rank = call->rank;

	for (struct call **p = &d->calls; *p; p = &(*p)->next) {
		if (*p == call) {
			*p = call->next;
			break;
		}
	}
	free(call);
	d->pending--;
	return d;
}

static void on_resources(void *arg, const struct client_result *r)
{
	unsigned rank;
	struct discovery *d = call_end(arg, &rank);

	if (r->e && r->e->code == -ENOENT) {
		/* the group went between the two questions */
	} else if (r->e) {
		d->failed = true;
	} else {
		struct jv v = jv_of(r->body);
		struct str gv = jv_raw_str(jv_get(v, "groupVersion"));
		jv_each (it, jv_get(v, "resources")) {
			if (gv.n)
				add_resource(d, gv, rank, it.v);
		}
	}
	if (d->pending == 0)
		round_end(d);
}

static void on_groups(void *arg, const struct client_result *r)
{
	unsigned rank;
	struct discovery *d = call_end(arg, &rank);

	d->failed |= r->e != NULL;
	jv_each (it, r->e ? (struct jv){0} : jv_get(jv_of(r->body), "groups")) {
		rank = 0;
		jv_each (v, jv_get(it.v, "versions")) {
			char path[400];
			struct str gv = jv_raw_str(jv_get(v.v, "groupVersion"));
			(void)snprintf(path, sizeof(path), "/apis/%.*s", STR_FMT(gv));
			if (gv.n)
				ask(d, path, rank++, on_resources);
		}
	}
	if (d->pending == 0)
		round_end(d);
}

static void ask(struct discovery *d, const char *path, unsigned rank, client_done *done)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call) {
		d->failed = true;
		return;
	}
	call->d = d;
	call->rank = rank;
	(void)str_copy(call->path, sizeof(call->path), str_of(path));
	struct client_request rq = {.method = "GET", .path = str_of(call->path)};
	call->call = client_send(d->c, &rq, done, call);
	if (!call->call) {
		free(call);
		d->failed = true;
		return;
	}
	call->next = d->calls;
	d->calls = call;
	d->pending++;
}

static void round_begin(struct discovery *d)
{
	d->failed = false;
	d->begun++;
	d->began_at = time_mono();
	for (size_t i = 0; i < d->n; i++)
		d->v[i]->seen = false;
	ask(d, "/apis", 0, on_groups);
	ask(d, "/api/v1", 0, on_resources);
	if (d->pending == 0)
		round_end(d);
}

static void on_tick(struct loop_timer *t)
{
	round_begin(t->arg);
}

uint64_t discovery_rounds(const struct discovery *d)
{
	return d->done;
}

uint64_t discovery_ask(struct discovery *d)
{
	int64_t since = time_mono() - d->began_at;

	if (d->pending) {
		d->again = true;
		return d->begun + 1;
	}
	d->timer.fn = on_tick;
	d->timer.arg = d;
	(void)loop_timer_set(client_loop(d->c), &d->timer,
		since + SETTLE_NS > BETWEEN_NS ? SETTLE_NS : BETWEEN_NS - since);
	return d->begun + 1;
}

/* Nothing of the definitions is kept: that they changed is all there is to know. */
static void *decode_nothing(struct jv v)
{
	(void)v;
	return NULL;
}

static void on_definition(void *arg, struct cobj *old, struct cobj *new)
{
	struct discovery *d = arg;

	(void)old;
	(void)new;
	(void)discovery_ask(d);
}

static void watch_definitions(struct discovery *d)
{
	static const struct resource crds = {.group = "apiextensions.k8s.io",
		.version = "v1",
		.plural = "customresourcedefinitions",
		.kind = "CustomResourceDefinition"};
	struct informer_config ic = {.client = d->c,
		.resource = &crds,
		.decode = decode_nothing,
		.lean = true,
		.on_event = on_definition,
		.arg = d};

	if (informer_start(&ic, &d->crds, NULL) < 0)
		d->crds = NULL; /* the period has to do */
}

struct discovery *discovery_start(
	struct client *c, int64_t period_ns, void (*on_round)(void *arg), void *arg)
{
	struct discovery *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->c = c;
	d->period = period_ns;
	d->on_round = on_round;
	d->arg = arg;
	round_begin(d);
	watch_definitions(d);
	return d;
}

void discovery_free(struct discovery *d)
{
	if (!d)
		return;
	if (d->crds)
		informer_free(d->crds);
	loop_timer_cancel(&d->timer);
	while (d->calls) {
		struct call *call = d->calls;
		d->calls = call->next;
		client_cancel(call->call);
		free(call);
	}
	for (size_t i = 0; i < d->n; i++)
		found_free(d->v[i]);
	free(d->v);
	free(d);
}
