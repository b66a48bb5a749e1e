/* SPDX-License-Identifier: Apache-2.0
 * Threads of controllers and scheduler: a row each in the table. */
#include "roles/server_parts.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "controllers/controllers.h"
#include "scheduler/scheduler.h"
#include "xebec/base/loop.h"
#include "xebec/client/client.h"

struct part { /* one component */
	const char *name;
	/* Starts it on the loop, which no thread runs yet. */
	int (*start)(
		struct loop *l, const struct server_parts_config *c, void **ret, struct err *e);
	void (*stop)(void *state); /* the thread has ended */
};

/* --- controllers --- */

struct controllers_part {
	struct controllers_config cfg; /* its strings belong to the server's options */
	struct client *client;
	struct controllers *controllers;
};

static const char *const admins[] = {"system:masters", NULL};

static void controllers_part_stop(void *state)
{
	struct controllers_part *p = state;
	controllers_stop(p->controllers);
	client_free(p->client);
	free(p);
}

static int controllers_part_start(
	struct loop *l, const struct server_parts_config *c, void **ret, struct err *e)
{
	struct controllers_part *p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(e, ENOMEM, NULL, "out of memory");
	p->cfg = (struct controllers_config){.cluster_cidr = c->cluster_cidr, .ca_pem = c->ca_pem};
	int r = client_new_inproc(
		l, c->handler, c->srv, "system:kube-controller-manager", admins, &p->client, e);
	if (r == 0)
		r = controllers_start(p->client, &p->cfg, &p->controllers, e);
	if (r < 0) {
		client_free(p->client);
		free(p);
		return r;
	}
	*ret = p;
	return 0;
}

/* --- scheduler --- */

struct scheduler_part {
	struct client *client;
	struct scheduler *scheduler;
};

static void scheduler_part_stop(void *state)
{
	struct scheduler_part *p = state;
	scheduler_free(p->scheduler);
	client_free(p->client);
	free(p);
}

static int scheduler_part_start(
	struct loop *l, const struct server_parts_config *c, void **ret, struct err *e)
{
	struct scheduler_part *p = calloc(1, sizeof(*p));
	const struct scheduler_config cfg = {0};
	if (!p)
		return err_set(e, ENOMEM, NULL, "out of memory");
	int r = client_new_inproc(
		l, c->handler, c->srv, "system:kube-scheduler", admins, &p->client, e);
	if (r == 0)
		r = scheduler_start(p->client, &cfg, &p->scheduler, e);
	if (r < 0) {
		client_free(p->client);
		free(p);
		return r;
	}
	*ret = p;
	return 0;
}

static const struct part parts[] = {
	{"controllers", controllers_part_start, controllers_part_stop},
	{"scheduler", scheduler_part_start, scheduler_part_stop},
	{0}, /* components are added here as rows above this one */
};
enum { N_PARTS = sizeof(parts) / sizeof(parts[0]) - 1 };

struct running {
	const struct part *part;
	struct loop *loop;
	pthread_t thread;
	bool started;
	void *state;
};
struct server_parts {
	struct running v[N_PARTS + 1];
};

static void *run(void *arg)
{
	(void)loop_run(arg);
	return NULL;
}

static int part_start(struct running *r, const struct server_parts_config *c, struct err *e)
{
	r->loop = loop_new();
	if (!r->loop)
		return err_set(e, errno, NULL, "event loop");
	int rc = r->part->start(r->loop, c, &r->state, e);
	if (rc < 0)
		return err_prefix(e, "%s", r->part->name);
	rc = pthread_create(&r->thread, NULL, run, r->loop);
	r->started = rc == 0;
	return rc ? err_set(e, rc, NULL, "thread of %s", r->part->name) : 0;
}

int server_parts_start(
	const struct server_parts_config *c, struct server_parts **ret, struct err *e)
{
	struct server_parts *p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(e, ENOMEM, NULL, "out of memory");
	int rc = 0;
	for (size_t i = 0; rc == 0 && parts[i].name; i++) {
		p->v[i].part = &parts[i];
		rc = part_start(&p->v[i], c, e);
	}
	if (rc < 0) {
		server_parts_free(p);
		return rc;
	}
	*ret = p;
	return 0;
}

void server_parts_halt(struct server_parts *p)
{
	if (!p)
		return;
	for (size_t i = 0; parts[i].name; i++) {
		struct running *r = &p->v[i];
		if (!r->started)
			continue;
		loop_stop(r->loop);
		(void)pthread_join(r->thread, NULL);
		r->started = false;
	}
}

void server_parts_free(struct server_parts *p)
{
	enum { ROUNDS = 16 }; /* a request that ends may begin another step */
	if (!p)
		return;
	server_parts_halt(p);
	for (size_t i = 0; parts[i].name; i++) {
		struct running *r = &p->v[i];
		if (r->state)
			r->part->stop(r->state);
		for (int n = 0; r->loop && n < ROUNDS; n++)
			(void)loop_poll(r->loop, 0);
		if (r->loop)
			loop_free(r->loop);
	}
	free(p);
}
