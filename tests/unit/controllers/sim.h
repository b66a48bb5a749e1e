/* SPDX-License-Identifier: Apache-2.0
 * A cluster in one process and one loop: in-memory store, API server, controllers, and a kubelet
 * that only says that pods run. Writes of the controllers can be made to conflict at random. */
#ifndef XEBEC_TEST_SIM_H
#define XEBEC_TEST_SIM_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "apiserver/apiserver.h"
#include "controllers/controllers.h"
#include "controllers/rc.h"
#include "xebec/base/json.h"
#include "sim_kubelet.h"
#include "xebec/base/timefmt.h"

struct sim {
	struct loop *loop;
	struct store *store;
	struct apiserver *api;
	struct sim_host host;
	struct client *ctl;
	struct controllers *cs;
	struct informer *pods;
	unsigned conflict_percent, seed, conflicts;
};

/* The controllers' way to the API: some of their writes fail as if somebody had been faster. */
static inline void sim_handle(void *srv, struct http_exchange *x)
{
	struct sim *s = srv;

	if (!str_eqz(x->method, "GET") && (unsigned)rand_r(&s->seed) % 100 < s->conflict_percent) {
		static const char body[] =
			"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","
			"\"reason\":\"Conflict\",\"message\":\"injected\",\"code\":409}";
		struct http_header h = {STR("content-type"), STR("application/json")};
		s->conflicts++;
		x->ops->start(x, 409, &h, 1);
		x->ops->write(x, body, sizeof(body) - 1);
		x->ops->end(x);
		return;
	}
	apiserver_handle(s->api, x);
}

struct answer {
	bool done;
	int status;
	json_t *j;
};
static inline void on_answer(void *arg, const struct client_result *r)
{
	struct answer *a = arg;

	a->done = true;
	a->status = r->http_status;
	if (r->e)
		a->j = json_pack("{s:s}", "message", r->e->msg);
	else
		(void)json_parse(r->body, &a->j, NULL);
}

/* A request as administrator; want 0 = any 2xx. The answer is the caller's. */
static inline json_t *sim_call(
	struct sim *s, const char *method, const char *path, const char *body, int want)
{
	struct answer a = {0};
	struct client_request rq = {.method = method,
		.path = str_of(path),
		.content_type = strcmp(method, "PATCH") ? NULL : "application/merge-patch+json",
		.body = str_of(body)};

	assert_non_null(client_send(s->host.admin, &rq, on_answer, &a));
	for (int i = 0; !a.done && i < 3000; i++)
		(void)loop_poll(s->loop, 10);
	if (want ? a.status != want : a.status / 100 != 2)
		fail_msg("%s %s: %d %s", method, path, a.status, json_str(a.j, "message", ""));
	return a.j;
}

static inline void sim_do(struct sim *s, const char *method, const char *path, const char *body)
{
	json_decref(sim_call(s, method, path, body, 0));
}

typedef bool sim_cond(struct sim *s);
static inline void sim_wait(struct sim *s, sim_cond *cond, const char *what)
{
	int64_t end = time_mono() + 20 * NS_PER_SEC;

	while (!cond(s)) {
		if (time_mono() > end)
			fail_msg("not within 20 s: %s", what);
		for (int i = 0; i < 20; i++)
			(void)loop_poll(s->loop, 1);
	}
}

static inline void sim_up(struct sim *s, const struct controllers_config *cfg)
{
	static const char *const groups[] = {"system:masters", NULL};
	struct err e = {0};

	s->loop = loop_new();
	s->seed = 7;
	assert_int_equal(store_open_mem(&s->store, &e), 0);
	struct apiserver_config ac = {.store = s->store,
		.loop = s->loop,
		.service_cidr = "10.96.0.0/16",
		.node_port_min = 30000,
		.node_port_max = 32767};
	if (apiserver_new(&ac, &s->api, &e) < 0)
		fail_msg("apiserver: %s", e.msg);
	assert_int_equal(client_new_inproc(s->loop, apiserver_handle, s->api, "admin", groups,
				 &s->host.admin, &e),
		0);
	assert_int_equal(client_new_inproc(
				 s->loop, sim_handle, s, "system:controllers", groups, &s->ctl, &e),
		0);
	struct informer_config ic = {.client = s->host.admin,
		.resource = &sim_pods,
		.on_event = sim_kubelet,
		.arg = &s->host};
	assert_int_equal(informer_start(&ic, &s->pods, &e), 0);
	assert_int_equal(controllers_start(s->ctl, cfg, &s->cs, &e), 0);
}

static inline void sim_down(struct sim *s)
{
	controllers_stop(s->cs);
	informer_free(s->pods);
	for (int i = 0; apiserver_busy(s->api) && i < 3000; i++)
		(void)loop_poll(s->loop, 10);
	client_free(s->ctl);
	client_free(s->host.admin);
	apiserver_free(s->api);
	s->store->ops->close(s->store);
	loop_free(s->loop);
}

#endif
