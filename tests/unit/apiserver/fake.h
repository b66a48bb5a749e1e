/* SPDX-License-Identifier: Apache-2.0
 * The API server over the in-memory store, driven by exchanges that are kept in memory: requests
 * in, status and body out, on one loop. */
#ifndef XEBEC_TEST_FAKE_H
#define XEBEC_TEST_FAKE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "apiserver/apiserver.h"
#include "store/store.h"
#include "xebec/base/json.h"
#include "xebec/base/timefmt.h"

struct world {
	struct loop *loop;
	struct store *store;
	struct apiserver *api;
	unsigned open; /* exchanges not ended yet */
};

struct fake { /* one request; freed by fake_free after it ended */
	struct http_exchange x;
	struct world *w;
	struct http_header h[4];
	char path[512], query[512], type[80];
	struct buf body, out;
	int status;
	bool ended, aborted;
	size_t pending; /* what a slow client has not taken */
};

static inline void fake_start(
	struct http_exchange *x, int status, const struct http_header *h, size_t n)
{
	(void)h;
	(void)n;
	((struct fake *)x)->status = status;
}

static inline void fake_write(struct http_exchange *x, const void *p, size_t n)
{
	buf_add(&((struct fake *)x)->out, p, n);
}

static inline void fake_end(struct http_exchange *x)
{
	struct fake *f = (struct fake *)x;
	assert_false(f->ended);
	f->ended = true;
	f->w->open--;
}

static inline void fake_abort(struct http_exchange *x)
{
	((struct fake *)x)->aborted = true;
	fake_end(x);
}

static inline size_t fake_pending(struct http_exchange *x)
{
	return ((struct fake *)x)->pending;
}

static inline int fake_hijack(struct http_exchange *x, struct stream **ret)
{
	(void)x;
	(void)ret;
	return -ENOTSUP;
}

static const struct http_exchange_ops fake_ops = {.start = fake_start,
	.write = fake_write,
	.end = fake_end,
	.abort = fake_abort,
	.pending = fake_pending,
	.hijack = fake_hijack};

static const char *const masters[] = {"system:masters", NULL};

/* Sends and returns at once. type NULL = application/json. */
static inline struct fake *ask_type(
	struct world *w, const char *method, const char *url, const char *body, const char *type)
{
	struct fake *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	struct str q = str_of(url), p = str_cut(&q, '?');
	(void)str_copy(f->path, sizeof(f->path), p);
	(void)str_copy(f->query, sizeof(f->query), q);
	(void)str_copy(f->type, sizeof(f->type), str_of(type ? type : "application/json"));
	buf_adds(&f->body, body ? body : "");
	f->w = w;
	f->h[0] = (struct http_header){STR("content-type"), str_of(f->type)};
	f->h[1] = (struct http_header){STR("user-agent"), STR("test/1")};
	f->x = (struct http_exchange){.ops = &fake_ops,
		.loop = w->loop,
		.method = str_of(method),
		.path = str_of(f->path),
		.query = str_of(f->query),
		.headers = f->h,
		.n_headers = 2,
		.body = buf_str(&f->body),
		.peer = {.trusted_user = "admin", .trusted_groups = masters}};
	w->open++;
	apiserver_handle(w->api, &f->x);
	return f;
}

static inline struct fake *ask(
	struct world *w, const char *method, const char *url, const char *body)
{
	return ask_type(w, method, url, body, NULL);
}

/* The client goes away. */
static inline void hang_up(struct fake *f)
{
	if (!f->ended) {
		f->ended = true;
		f->w->open--;
		if (f->x.on_close)
			f->x.on_close(&f->x);
	}
}

static inline void fake_free(struct fake *f)
{
	hang_up(f);
	buf_free(&f->body);
	buf_free(&f->out);
	arena_free(&f->x.arena);
	free(f);
}

/* Runs the loop until cond holds; fails after ten seconds. */
#define UNTIL(w, cond)                                                                             \
	do {                                                                                       \
		int64_t until_end = time_mono() + 10 * NS_PER_SEC;                                 \
		while (!(cond)) {                                                                  \
			assert_true(time_mono() < until_end);                                      \
			(void)loop_poll((w)->loop, 5);                                             \
		}                                                                                  \
	} while (0)

/* A whole request: the status, and the answer as a tree (or NULL). */
static inline int call_type(struct world *w, const char *method, const char *url, const char *body,
	const char *type, json_t **ret)
{
	struct fake *f = ask_type(w, method, url, body, type);
	UNTIL(w, f->ended);
	int status = f->status;
	json_t *j = NULL;
	(void)json_parse(buf_str(&f->out), &j, NULL);
	if (ret)
		*ret = j;
	else
		json_decref(j);
	fake_free(f);
	return status;
}

static inline int call(
	struct world *w, const char *method, const char *url, const char *body, json_t **ret)
{
	return call_type(w, method, url, body, NULL, ret);
}

static inline void world_up(struct world *w, const char *cidr)
{
	struct err e = {0};
	*w = (struct world){.loop = loop_new()};
	assert_non_null(w->loop);
	assert_int_equal(store_open_mem(&w->store, &e), 0);
	struct apiserver_config c = {.store = w->store,
		.loop = w->loop,
		.service_cidr = cidr,
		.node_port_min = 30000,
		.node_port_max = 30003};
	if (apiserver_new(&c, &w->api, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(call(w, "POST", "/api/v1/namespaces/default/serviceaccounts",
				 "{\"metadata\":{\"name\":\"default\"}}", NULL),
		201);
}

static inline void world_down(struct world *w)
{
	assert_int_equal(w->open, 0);
	/* a request may outlive its client */
	UNTIL(w, apiserver_busy(w->api) == 0);
	apiserver_free(w->api);
	w->store->ops->close(w->store);
	loop_free(w->loop);
}

#endif
