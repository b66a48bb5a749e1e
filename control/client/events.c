/* SPDX-License-Identifier: Apache-2.0
 * The event recorder. One entry for each distinct event of the last ten minutes; an entry has at
 * most one call under way, and what is emitted meanwhile only raises its count, so a flood costs
 * two calls. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include "xebec/base/htab.h"
#include "xebec/base/timefmt.h"
#include "xebec/client/client.h"

enum {
	ENTRIES = 4096, /* the oldest is forgotten: its next occurrence is a new Event */
	QUEUED = 1000,	/* events that wait to be sent; more are dropped */
	IN_FLIGHT = 8,
	TRIES = 5,
	MESSAGE_MAX = 1024, /* what validation allows */
};
#define DEDUP_NS    (600 * NS_PER_SEC)
#define RETRY_NS    (500 * NS_PER_MS)
#define MAX_COUNTED 1000000000

static const struct resource events_resource = {"", "v1", "events", "Event", true};

struct entry {
	struct event_recorder *rec;
	struct list lru;   /* oldest use first */
	struct list queue; /* waits to be sent */
	struct client_call *call;
	char *key, *ns;
	char *object; /* name of the involved object */
	char *name;   /* of the Event, NULL until it is first sent */
	char *fixed;  /* the JSON members that never change */
	int64_t first, last;
	unsigned count, sent, tries;
	bool stored; /* the server has it: patch, not post */
};

struct event_recorder {
	struct client *client;
	char *component, *host;
	struct htab *entries; /* key -> struct entry */
	struct list lru, queue;
	size_t queued;
	unsigned in_flight;
	struct loop_timer turn;
	uint64_t serial;
};

static void entry_free(struct entry *en)
{
	list_del(&en->lru);
	list_del(&en->queue);
	client_cancel(en->call);
	free(en->key);
	free(en->ns);
	free(en->object);
	free(en->name);
	free(en->fixed);
	free(en);
}

static void entry_drop(struct entry *en)
{
	struct event_recorder *r = en->rec;
	if (!list_empty(&en->queue))
		r->queued--;
	if (en->call)
		r->in_flight--;
	(void)htab_del(r->entries, str_of(en->key));
	entry_free(en);
}

static void wake(struct event_recorder *r, int64_t delay)
{
	if (!list_empty(&r->queue) && r->in_flight < IN_FLIGHT && !loop_timer_armed(&r->turn))
		(void)loop_timer_set(client_loop(r->client), &r->turn, delay);
}

static void enqueue(struct entry *en, int64_t delay)
{
	struct event_recorder *r = en->rec;
	if (en->call) /* on_sent looks again */
		return;
	if (list_empty(&en->queue)) {
		list_push(&r->queue, &en->queue);
		r->queued++;
	}
	wake(r, delay);
}

/* --- sending --- */

static bool worth_retrying(const struct err *e)
{
	return e->code == -EIO || e->code == -EBUSY || e->code == -ETIMEDOUT;
}

static void on_sent(void *arg, const struct client_result *res)
{
	struct entry *en = arg;
	struct event_recorder *r = en->rec;
	int64_t delay = 0;
	en->call = NULL;
	r->in_flight--;
	if (!res->e) {
		en->stored = true;
		en->tries = 0;
	} else if (en->stored && res->e->code == -ENOENT) { /* its time to live was over */
		en->stored = false;
		en->sent = 0;
	} else if (worth_retrying(res->e) && ++en->tries < TRIES) {
		en->sent = 0;
		delay = RETRY_NS << en->tries;
	} else { /* refused, for instance by a namespace that is going away */
		entry_drop(en);
		en = NULL;
	}
	if (en && en->sent != en->count)
		enqueue(en, delay);
	wake(r, 0);
}

static struct client_call *send_new(struct entry *en)
{
	AUTO_BUF struct buf b = {0};
	char first[21], last[21];
	struct event_recorder *r = en->rec;
	uint64_t now = (uint64_t)time_now();
	r->serial = now > r->serial ? now : r->serial + 1;
	free(en->name);
	if (asprintf(&en->name, "%.230s.%016llx", en->object, (unsigned long long)r->serial) < 0) {
		en->name = NULL;
		return NULL;
	}
	time_rfc3339(en->first, first);
	time_rfc3339(en->last, last);
	buf_adds(&b, "{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":");
	buf_add_json_str(&b, str_of(en->name));
	buf_adds(&b, ",\"namespace\":");
	buf_add_json_str(&b, str_of(en->ns));
	buf_addf(&b, "},%s,\"firstTimestamp\":\"%s\",\"lastTimestamp\":\"%s\",\"count\":%u}",
		en->fixed, first, last, en->count);
	if (b.err)
		return NULL;
	return client_create(r->client, &events_resource, en->ns, buf_str(&b), on_sent, en);
}

static struct client_call *send_count(struct entry *en)
{
	AUTO_BUF struct buf b = {0};
	char last[21];
	time_rfc3339(en->last, last);
	buf_addf(&b, "{\"count\":%u,\"lastTimestamp\":\"%s\"}", en->count, last);
	if (b.err)
		return NULL;
	return client_patch(en->rec->client, &events_resource, en->ns, en->name, NULL,
		CLIENT_PATCH_STRATEGIC, buf_str(&b), on_sent, en);
}

static void on_turn(struct loop_timer *t)
{
	struct event_recorder *r = t->arg;
	while (r->in_flight < IN_FLIGHT && !list_empty(&r->queue)) {
		struct entry *en = list_entry(r->queue.next, struct entry, queue);
		list_del(&en->queue);
		r->queued--;
		en->sent = en->count;
		en->call = en->stored ? send_count(en) : send_new(en);
		if (en->call)
			r->in_flight++;
		else
			entry_drop(en);
	}
}

/* --- recording --- */

static void member(struct buf *b, const char *name, const char *value)
{
	if (!value || !value[0])
		return;
	if (b->len && b->p[b->len - 1] != '{')
		buf_addc(b, ',');
	buf_addf(b, "\"%s\":", name);
	buf_add_json_str(b, str_of(value));
}

struct occurrence {
	const struct event_ref *o;
	const char *type, *reason, *message;
};

/* `"involvedObject":{...},"reason":...` */
static char *fixed_members(const struct event_recorder *r, const struct occurrence *oc)
{
	struct buf b = {0};
	const struct event_ref *o = oc->o;
	char rv[24] = "";
	if (o->rv)
		(void)snprintf(rv, sizeof(rv), "%llu", (unsigned long long)o->rv);
	buf_adds(&b, "\"involvedObject\":{");
	member(&b, "kind", o->kind);
	member(&b, "namespace", o->ns);
	member(&b, "name", o->name);
	member(&b, "uid", o->uid);
	member(&b, "apiVersion", o->api_version);
	member(&b, "resourceVersion", rv);
	member(&b, "fieldPath", o->field_path);
	buf_addc(&b, '}');
	member(&b, "reason", oc->reason);
	member(&b, "message", oc->message);
	buf_adds(&b, ",\"source\":{");
	member(&b, "component", r->component);
	member(&b, "host", r->host);
	buf_addc(&b, '}');
	member(&b, "type", oc->type);
	member(&b, "reportingComponent", r->component);
	buf_adds(&b, ",\"reportingInstance\":");
	buf_add_json_str(&b, str_of(r->host));
	return buf_steal(&b);
}

static struct entry *entry_new(
	struct event_recorder *r, const struct occurrence *oc, struct str key)
{
	struct entry *en = calloc(1, sizeof(*en));
	if (!en)
		return NULL;
	en->rec = r;
	list_init(&en->lru);
	list_init(&en->queue);
	en->key = str_dup(key);
	en->ns = strdup(oc->o->ns && oc->o->ns[0] ? oc->o->ns : "default");
	en->object = strdup(oc->o->name);
	en->fixed = fixed_members(r, oc);
	en->first = time_now();
	if (!en->key || !en->ns || !en->object || !en->fixed ||
		htab_put(r->entries, key, en, NULL) < 0) {
		entry_free(en);
		return NULL;
	}
	list_push(&r->lru, &en->lru);
	if (htab_len(r->entries) > ENTRIES)
		entry_drop(list_entry(r->lru.next, struct entry, lru));
	return en;
}

static void record(struct event_recorder *r, const struct occurrence *oc)
{
	AUTO_BUF struct buf key = {0};
	const struct event_ref *o = oc->o;
	buf_addf(&key, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s", o->kind, o->ns ? o->ns : "", o->name,
		o->uid ? o->uid : "", o->field_path ? o->field_path : "", oc->type, oc->reason,
		oc->message);
	if (key.err)
		return;
	struct entry *en = htab_get(r->entries, buf_str(&key));
	int64_t now = time_now();
	if (en && now - en->last > DEDUP_NS && !en->call) {
		entry_drop(en);
		en = NULL;
	}
	if (!en && r->queued >= QUEUED)
		return; /* the API server does not keep up: events are the first to go */
	if (!en)
		en = entry_new(r, oc, buf_str(&key));
	if (!en)
		return;
	list_del(&en->lru);
	list_push(&r->lru, &en->lru);
	en->last = now;
	if (en->count < MAX_COUNTED)
		en->count++;
	enqueue(en, 0);
}

void event_emit(struct event_recorder *r, const struct event_ref *o, bool warning,
	const char *reason, const char *fmt, ...)
{
	char message[MESSAGE_MAX + 1];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(message)) { /* do not cut a character in half */
		n = MESSAGE_MAX;
		while (n > 0 && ((unsigned char)message[n - 1] & 0xc0) == 0x80)
			n--;
		if (n > 0 && ((unsigned char)message[n - 1] & 0x80))
			n--;
		message[n] = '\0';
	}
	const struct occurrence oc = {.o = o,
		.type = warning ? "Warning" : "Normal",
		.reason = reason,
		.message = message};
	record(r, &oc);
}

struct event_recorder *event_recorder_new(struct client *c, const char *component, const char *host)
{
	struct event_recorder *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->client = c;
	list_init(&r->lru);
	list_init(&r->queue);
	r->turn = (struct loop_timer){.fn = on_turn, .arg = r};
	r->component = strdup(component);
	r->host = strdup(host ? host : "");
	r->entries = htab_new();
	if (r->component && r->host && r->entries)
		return r;
	event_recorder_free(r);
	return NULL;
}

static void free_entry(void *p)
{
	entry_free(p);
}

void event_recorder_free(struct event_recorder *r)
{
	if (!r)
		return;
	loop_timer_cancel(&r->turn);
	if (r->entries)
		htab_free(r->entries, free_entry);
	free(r->component);
	free(r->host);
	free(r);
}
