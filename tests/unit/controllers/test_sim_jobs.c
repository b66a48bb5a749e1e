/* SPDX-License-Identifier: Apache-2.0
 * Jobs against the real API server over the in-memory store, with conflicts injected. */
#include "sim.h"

static struct sim sim;

static int up(void **state)
{
	static const struct controllers_config cfg = {.gc_resync_ns = NS_PER_SEC};

	sim = (struct sim){0};
	sim_up(&sim, &cfg);
	*state = &sim;
	sim_do(&sim, "POST", "/api/v1/nodes",
		"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"}}");
	return 0;
}

static int up_conflicts(void **state)
{
	(void)up(state);
	sim.conflict_percent = 30;
	return 0;
}

static int down(void **state)
{
	sim_down(*state);
	return 0;
}

#define NS    "/api/v1/namespaces/default/"
#define BATCH "/apis/batch/v1/namespaces/default/"
#define JOB   BATCH "jobs/j"

static void make_job(struct sim *s, const char *spec, const char *annotations)
{
	char body[900];

	(void)snprintf(body, sizeof(body),
		"{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"j\"},"
		"\"spec\":{%s,\"template\":{\"metadata\":{\"labels\":{\"app\":\"j\"},"
		"\"annotations\":{%s}},\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{"
		"\"name\":\"c\",\"image\":\"i\"}]}}}}",
		spec, annotations);
	sim_do(s, "POST", BATCH "jobs", body);
}

static json_t *job(struct sim *s)
{
	return sim_call(s, "GET", JOB, NULL, 0);
}

static const char *want_end;

static bool ended(struct sim *s)
{
	json_t *j = job(s), *c;
	bool ok = false;
	size_t i;

	json_array_foreach (json_at(j, "status.conditions"), i, c)
		ok |= strcmp(json_str(c, "type", ""), want_end) == 0;
	json_decref(j);
	return ok;
}

static void wait_end(struct sim *s, const char *type)
{
	want_end = type;
	sim_wait(s, ended, type);
}

static bool idle(struct sim *s)
{
	return controllers_synced(s->cs) && controllers_busy(s->cs) == 0;
}

static size_t count(struct sim *s, const char *path)
{
	json_t *j = sim_call(s, "GET", path, NULL, 0);
	size_t n = json_array_size(json_object_get(j, "items"));

	json_decref(j);
	return n;
}

static size_t held_pods(struct sim *s)
{
	json_t *l = sim_call(s, "GET", NS "pods", NULL, 0), *p;
	size_t i, n = 0;

	json_array_foreach (json_object_get(l, "items"), i, p)
		n += json_array_size(json_at(p, "metadata.finalizers")) > 0;
	json_decref(l);
	return n;
}

static void check_status(struct sim *s, int64_t succeeded, int64_t failed)
{
	json_t *j = job(s);

	assert_int_equal(json_i64(j, "status.succeeded", 0), succeeded);
	assert_int_equal(json_i64(j, "status.failed", 0), failed);
	assert_int_equal(json_i64(j, "status.active", 0), 0);
	assert_int_equal(json_object_size(json_at(j, "status.uncountedTerminatedPods")), 0);
	json_decref(j);
}

static bool gone(struct sim *s)
{
	return count(s, NS "pods") == 0 && count(s, BATCH "jobs") == 0;
}

static void test_completes(void **state)
{
	struct sim *s = *state;

	make_job(s, "\"completions\":6,\"parallelism\":3", "\"sim-exit\":\"0\"");
	wait_end(s, "Complete");
	check_status(s, 6, 0);
	assert_int_equal(held_pods(s), 0);
	sim_wait(s, idle, "idle");
	json_t *a = job(s);
	for (int i = 0; i < 50; i++)
		(void)loop_poll(s->loop, 1);
	json_t *b = job(s);
	assert_string_equal(json_str(a, "metadata.resourceVersion", "a"),
		json_str(b, "metadata.resourceVersion", "b"));
	assert_true(json_str(a, "status.completionTime", "")[0] != '\0');
	json_decref(a);
	json_decref(b);
	sim_do(s, "DELETE", JOB "?propagationPolicy=Background", NULL);
	sim_wait(s, gone, "Job and pods are gone");
}

static void test_conflicts(void **state)
{
	struct sim *s = *state;

	test_completes(state);
	assert_true(s->conflicts > 5);
}

static void test_fails(void **state)
{
	struct sim *s = *state;

	make_job(s, "\"backoffLimit\":0,\"completions\":2,\"parallelism\":2", "\"sim-exit\":\"3\"");
	wait_end(s, "Failed");
	json_t *j = job(s);
	assert_int_equal(json_i64(j, "status.succeeded", 0), 0);
	/* the first may fail before the second could be made */
	assert_in_range(json_i64(j, "status.failed", 0), 1, 2);
	json_decref(j);
	assert_int_equal(held_pods(s), 0);
}

static void test_indexes(void **state)
{
	struct sim *s = *state;

	make_job(s,
		"\"completionMode\":\"Indexed\",\"completions\":5,\"parallelism\":5,"
		"\"backoffLimitPerIndex\":0",
		"\"sim-fail-index\":\"2\"");
	wait_end(s, "Failed");
	check_status(s, 4, 1);
	json_t *j = job(s);
	assert_string_equal(json_str(j, "status.completedIndexes", ""), "0,1,3,4");
	assert_string_equal(json_str(j, "status.failedIndexes", ""), "2");
	json_decref(j);
}

static size_t want_ready;

static bool running(struct sim *s)
{
	json_t *j = job(s);
	bool ok = (size_t)json_i64(j, "status.ready", 0) == want_ready &&
		  (size_t)json_i64(j, "status.active", 0) == want_ready &&
		  json_i64(j, "status.terminating", 0) == 0;

	json_decref(j);
	return ok;
}

static void wait_running(struct sim *s, size_t n)
{
	want_ready = n;
	sim_wait(s, running, "as many pods as wanted");
}

static void test_suspend(void **state)
{
	struct sim *s = *state;

	make_job(s, "\"completions\":4,\"parallelism\":2,\"suspend\":true", "\"a\":\"b\"");
	wait_end(s, "Suspended");
	wait_running(s, 0);
	sim_do(s, "PATCH", JOB, "{\"spec\":{\"suspend\":false}}");
	wait_running(s, 2);
	sim_do(s, "PATCH", JOB, "{\"spec\":{\"parallelism\":3}}");
	wait_running(s, 3);
	sim_do(s, "PATCH", JOB, "{\"spec\":{\"suspend\":true}}");
	wait_running(s, 0);
	check_status(s, 0, 0); /* taken away, not failed */
	sim_do(s, "PATCH", JOB, "{\"spec\":{\"suspend\":false}}");
	wait_running(s, 3);
	sim_do(s, "PATCH", JOB, "{\"spec\":{\"activeDeadlineSeconds\":1}}");
	wait_end(s, "Failed");
	check_status(s, 0, 3);
}

static void test_success_policy_and_ttl(void **state)
{
	struct sim *s = *state;

	make_job(s,
		"\"completionMode\":\"Indexed\",\"completions\":3,\"parallelism\":3,"
		"\"backoffLimit\":9,\"ttlSecondsAfterFinished\":0,"
		"\"podReplacementPolicy\":\"Failed\","
		"\"successPolicy\":{\"rules\":[{\"succeededIndexes\":\"0,2\"}]}",
		"\"sim-fail-index\":\"1\"");
	sim_wait(s, gone, "succeeded, and collected at once");
}

int main(void)
{
#define T(f, u) cmocka_unit_test_setup_teardown(f, u, down)
	const struct CMUnitTest tests[] = {
		T(test_completes, up),
		T(test_conflicts, up_conflicts),
		T(test_fails, up_conflicts),
		T(test_indexes, up_conflicts),
		T(test_suspend, up),
		T(test_success_policy_and_ttl, up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
