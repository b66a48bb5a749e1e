/* SPDX-License-Identifier: Apache-2.0
 * Job and its TTL as pure functions: tables in, actions out. */
#include "controllers/job.h"
#include "tables.h"

static struct tables t;

static int fresh(void **state)
{
	(void)state;
	tables_init(&t);
	return 0;
}

static int clear(void **state)
{
	(void)state;
	tables_clear(&t);
	return 0;
}

static void add_job(const char *spec, const char *status)
{
	(void)add(&t, R_JOB,
		"{'metadata':{'name':'j','namespace':'d','uid':'u-j'},'spec':{'selector':{"
		"'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{"
		"'restartPolicy':'Never','containers':[{'name':'c'}]}}%s%s},'status':%s}",
		spec[0] ? "," : "", spec, status);
}

#define STARTED "'startTime':'2026-01-01T11:00:00Z'"
#define INDEXED "'completionMode':'Indexed','completions':4,'parallelism':4"

struct row {
	const char *name, *phase;
	bool loose; /* without the finalizer */
	bool deleting;
	const char *index, *failures, *more; /* more: of the status */
};

static void add_pod(const struct row *r)
{
	(void)add(&t, R_POD,
		"{'metadata':{'name':'%s','namespace':'d','uid':'u-%s','labels':{'a':'b'},"
		"'creationTimestamp':'2026-01-01T10:00:00Z'%s%s,'annotations':{'x':'y'%s%s%s%s%s%s"
		"},'ownerReferences':[{'apiVersion':'batch/v1','kind':'Job','name':'j','uid':'u-j',"
		"'controller':true}]},'spec':{'nodeName':'n'},'status':{'phase':'%s'%s%s}}",
		r->name, r->name, r->loose ? "" : ",'finalizers':['" JOB_FINALIZER "']",
		r->deleting ? ",'deletionTimestamp':'2026-01-01T11:59:00Z'" : "",
		r->index ? ",'" JOB_INDEX "':'" : "", r->index ? r->index : "", r->index ? "'" : "",
		r->failures ? ",'" JOB_FAILURES "':'" : "", r->failures ? r->failures : "",
		r->failures ? "'" : "", r->phase ? r->phase : "Running", r->more ? "," : "",
		r->more ? r->more : "");
}
#define POD(...) add_pod(&(struct row){__VA_ARGS__})

static void go(void)
{
	run(&t, &controller_job, "d", "j");
}

static size_t acts(const char *what)
{
	size_t n = 0;

	for (const char *p = t.text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

#define assert_not(what)                                                                           \
	do {                                                                                       \
		if (acted(&t, (what)))                                                             \
			fail_msg("unexpected: %s\nin:\n%s", (what), t.text);                       \
	} while (0)

static void test_starts(void **state)
{
	(void)state;
	add_job("'completions':3,'parallelism':2", "{}");
	go();
	assert_int_equal(acts("create pods"), 2);
	assert_acted(&t, "'startTime':'" NOW_TEXT "'");
	assert_acted(&t, "'finalizers':['" JOB_FINALIZER "'],'generateName':'j-'}");
	/* suspended: neither */
	tables_clear(&t);
	add_job("'completions':3,'suspend':true", "{}");
	go();
	assert_int_equal(acts("create pods"), 0);
	assert_not("startTime");
	assert_acted(&t, "event j Suspended Job suspended");
	/* somebody else's */
	tables_clear(&t);
	add_job("'managedBy':'example.com/other'", "{}");
	go();
	assert_lines(&t, 0);
}

/* One pod from its end to the counter, in three passes. */
static void test_counts_once(void **state)
{
	(void)state;
	add_job("'completions':2,'parallelism':2", "{" STARTED ",'active':2,'ready':0}");
	POD(.name = "p", .phase = "Succeeded");
	POD(.name = "q");
	go();
	assert_acted(&t, "'uncountedTerminatedPods':{'succeeded':['u-p']}");
	assert_not("'succeeded':1");
	assert_acted(&t, "patch pods d/p {'metadata':{'uid':'u-p','finalizers':null}}");
	assert_int_equal(acts("create pods"), 0);
	/* listed, still held: nothing is counted twice */
	tables_clear(&t);
	add_job("'completions':2,'parallelism':2",
		"{" STARTED ",'active':1,'ready':0,'terminating':0,'uncountedTerminatedPods':{"
		"'succeeded':['u-p']}}");
	POD(.name = "p", .phase = "Succeeded");
	POD(.name = "q");
	go();
	assert_lines(&t, 1);
	assert_acted(&t, "patch pods d/p");
	/* let go, or even gone: counted */
	for (int gone = 0; gone < 2; gone++) {
		tables_clear(&t);
		add_job("'completions':2,'parallelism':2",
			"{" STARTED ",'active':1,'ready':0,'terminating':0,"
			"'uncountedTerminatedPods':{'succeeded':['u-p']}}");
		if (!gone)
			POD(.name = "p", .phase = "Succeeded", .loose = true);
		POD(.name = "q");
		go();
		assert_lines(&t, 1);
		assert_acted(&t, "'uncountedTerminatedPods':{}");
		assert_acted(&t, "'succeeded':1");
	}
}

static void test_completes(void **state)
{
	(void)state;
	add_job("'completions':1", "{" STARTED ",'active':1}");
	POD(.name = "p", .phase = "Succeeded");
	go();
	assert_acted(&t, "'type':'SuccessCriteriaMet','status':'True'");
	assert_not("'type':'Complete'");
	tables_clear(&t);
	add_job("'completions':1",
		"{" STARTED ",'uncountedTerminatedPods':{'succeeded':['u-p']},'conditions':[{"
		"'type':'SuccessCriteriaMet','status':'True','reason':'CompletionsReached',"
		"'message':'m'}]}");
	POD(.name = "p", .phase = "Succeeded", .loose = true);
	go();
	assert_acted(&t, "'type':'Complete','status':'True'");
	assert_acted(&t, "'completionTime':'" NOW_TEXT "'");
	assert_acted(&t, "event j Completed Job completed");
}

static void test_backoff(void **state)
{
	static const char ended[] =
		"'containerStatuses':[{'name':'c','state':{'terminated':{'exitCode':1,"
		"'finishedAt':'2026-01-01T11:59:55Z'}}}]";

	(void)state;
	add_job("'backoffLimit':2", "{" STARTED "}");
	POD(.name = "p", .phase = "Failed", .more = ended);
	go();
	assert_int_equal(acts("create pods"), 0);
	assert_int_equal(t.requeue, 5 * NS_PER_SEC);
	t.now += 5 * NS_PER_SEC;
	go();
	assert_int_equal(acts("create pods"), 1);
	/* one too many */
	tables_clear(&t);
	add_job("'backoffLimit':2", "{" STARTED ",'failed':2}");
	POD(.name = "p", .phase = "Failed", .more = ended);
	POD(.name = "q");
	go();
	assert_acted(&t, "'type':'FailureTarget','status':'True'");
	assert_acted(&t, "'reason':'BackoffLimitExceeded'");
	assert_acted(&t, "delete pods d/q");
	assert_not("'type':'Failed'");
	/* restarts in place count as well */
	tables_clear(&t);
	(void)add(&t, R_JOB,
		"{'metadata':{'name':'j','namespace':'d','uid':'u-j'},'spec':{'backoffLimit':2,"
		"'selector':{'matchLabels':{'a':'b'}},'template':{'spec':{'restartPolicy':"
		"'OnFailure'}}}}");
	POD(.name = "q", .more = "'containerStatuses':[{'name':'c','restartCount':2}]");
	go();
	assert_acted(&t, "'reason':'BackoffLimitExceeded'");
}

static void test_deadline(void **state)
{
	(void)state;
	add_job("'activeDeadlineSeconds':3700", "{" STARTED ",'active':1}");
	POD(.name = "q");
	go();
	assert_int_equal(t.requeue, 100 * NS_PER_SEC);
	t.now += 100 * NS_PER_SEC;
	go();
	assert_acted(&t, "'reason':'DeadlineExceeded'");
	assert_acted(&t, "delete pods d/q");
}

static void test_indexed(void **state)
{
	(void)state;
	add_job(INDEXED, "{" STARTED ",'completedIndexes':'1'}");
	POD(.name = "p0", .index = "0");
	POD(.name = "p2", .index = "2", .phase = "Succeeded");
	POD(.name = "again", .index = "1", .phase = "Succeeded");
	go();
	assert_acted(&t, "'completedIndexes':'1,2'");
	assert_acted(&t, "'succeeded':2");
	assert_int_equal(acts("create pods"), 1);
	assert_acted(&t, "'" JOB_INDEX "':'3'");
	assert_acted(&t, "'generateName':'j-3-'");
	assert_acted(&t, "'hostname':'j-3'");
	assert_acted(&t, "JOB_COMPLETION_INDEX");
	/* two for one index, and one for none */
	tables_clear(&t);
	add_job(INDEXED, "{" STARTED "}");
	for (int i = 0; i < 4; i++)
		add_pod(&(struct row){.name = (const char *[]){"a", "b", "c", "d"}[i],
			.index = (const char *[]){"0", "1", "2", "3"}[i]});
	POD(.name = "twice", .index = "2");
	POD(.name = "beyond", .index = "9");
	go();
	assert_int_equal(acts("delete pods"), 2);
	assert_acted(&t, "delete pods d/beyond");
	assert_acted(&t, "patch pods d/beyond {'metadata':{'uid':'u-beyond','finalizers':null}}");
}

static void test_limit_per_index(void **state)
{
	(void)state;
	add_job(INDEXED ",'backoffLimitPerIndex':1,'backoffLimit':2147483647",
		"{" STARTED ",'completedIndexes':'2,3'}");
	POD(.name = "p0", .index = "0", .failures = "1", .phase = "Failed");
	POD(.name = "p1", .index = "1", .failures = "0", .phase = "Failed");
	go();
	assert_acted(&t, "'failedIndexes':'0'");
	assert_acted(&t, "'uncountedTerminatedPods':{'failed':['u-p0']}");
	assert_not("patch pods d/p1"); /* until its index has another pod */
	assert_int_equal(acts("create pods"), 1);
	assert_acted(&t, "'" JOB_FAILURES "':'1'");
	/* all decided */
	tables_clear(&t);
	add_job(INDEXED ",'backoffLimitPerIndex':0,'backoffLimit':2147483647",
		"{" STARTED ",'completedIndexes':'1-3'}");
	POD(.name = "p0", .index = "0", .phase = "Failed");
	go();
	assert_acted(&t, "'reason':'FailedIndexes','message':'Job has failed indexes'");
	/* too many of them */
	tables_clear(&t);
	add_job(INDEXED ",'backoffLimitPerIndex':0,'maxFailedIndexes':0,'backoffLimit':9",
		"{" STARTED "}");
	POD(.name = "p0", .index = "0", .phase = "Failed");
	POD(.name = "p1", .index = "1");
	go();
	assert_acted(&t, "'reason':'MaxFailedIndexesExceeded'");
	assert_acted(&t, "delete pods d/p1");
}

#define EXIT(code)                                                                                 \
	"'containerStatuses':[{'name':'c','state':{'terminated':{'exitCode':" #code "}}}]"
#define RULES(action, what)                                                                        \
	"'podReplacementPolicy':'Failed','podFailurePolicy':{'rules':[{'action':'" action          \
	"'," what "}]}"
#define ON_EXIT "'onExitCodes':{'operator':'In','values':[42]}"

static void test_failure_policy(void **state)
{
	(void)state;
	add_job(RULES("FailJob", ON_EXIT), "{" STARTED "}");
	POD(.name = "p", .phase = "Failed", .more = EXIT(42));
	go();
	assert_acted(&t,
		"'reason':'PodFailurePolicy','message':'Container c for pod d/p failed with "
		"exit code 42 matching FailJob rule at index 0'");
	tables_clear(&t);
	add_job(RULES("FailJob", ON_EXIT), "{" STARTED "}");
	POD(.name = "p", .phase = "Failed", .more = EXIT(41));
	go();
	assert_not("FailureTarget");
	assert_acted(&t, "'failed':['u-p']");
	/* a disruption that does not count */
	tables_clear(&t);
	add_job(RULES("Ignore", "'onPodConditions':[{'type':'DisruptionTarget'}]"),
		"{" STARTED "}");
	POD(.name = "p", .phase = "Failed",
		.more = "'conditions':[{'type':'DisruptionTarget','status':'True'}]");
	go();
	assert_not("u-p']");
	assert_acted(&t, "patch pods d/p");
	assert_int_equal(acts("create pods"), 1);
	/* the index is lost at once */
	tables_clear(&t);
	add_job(INDEXED ",'backoffLimitPerIndex':5,'backoffLimit':9," RULES("FailIndex", ON_EXIT),
		"{" STARTED "}");
	POD(.name = "p", .phase = "Failed", .index = "1", .more = EXIT(42));
	go();
	assert_acted(&t, "'failedIndexes':'1'");
	assert_int_equal(acts("create pods"), 3);
	/* replaced when it has ended, not before */
	tables_clear(&t);
	add_job("'podReplacementPolicy':'Failed'", "{" STARTED "}");
	POD(.name = "p", .deleting = true);
	go();
	assert_int_equal(acts("create pods"), 0);
	assert_not("u-p']");
	assert_acted(&t, "'terminating':1");
}

static void test_success_policy(void **state)
{
	static const struct {
		const char *rule, *done;
		bool enough;
	} rows[] = {
		{"'succeededCount':2", "0,3", true},
		{"'succeededCount':2", "3", false},
		{"'succeededIndexes':'0,2-3'", "0,2", false},
		{"'succeededIndexes':'0,2-3'", "0,2,3", true},
		{"'succeededIndexes':'0,2-3','succeededCount':1", "2", true},
		{"'succeededIndexes':'0','succeededCount':1", "2", false},
	};
	char spec[300], status[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		tables_clear(&t);
		(void)snprintf(spec, sizeof(spec), INDEXED ",'successPolicy':{'rules':[{%s}]}",
			rows[i].rule);
		(void)snprintf(status, sizeof(status), "{" STARTED ",'completedIndexes':'%s'}",
			rows[i].done);
		add_job(spec, status);
		POD(.name = "p", .index = "1");
		go();
		assert_int_equal(acted(&t, "'reason':'SuccessPolicy'"), rows[i].enough);
		assert_int_equal(acts("delete pods d/p"), rows[i].enough);
	}
}

static void test_suspend(void **state)
{
	(void)state;
	add_job("'suspend':true", "{" STARTED ",'active':1}");
	POD(.name = "p");
	go();
	/* let go before it is deleted: it counts as no failure */
	const char *patch = strstr(t.text, "patch pods d/p"), *del = strstr(t.text, "delete pods");
	assert_true(patch && del && patch < del);
	tables_clear(&t);
	add_job("'suspend':false",
		"{" STARTED ",'conditions':[{'type':'Suspended','status':'True'}]}");
	go();
	assert_acted(&t, "event j Resumed Job resumed");
	assert_acted(&t, "'startTime':'" NOW_TEXT "'");
	assert_int_equal(acts("create pods"), 1);
}

static void test_shrinks(void **state)
{
	(void)state;
	add_job("'completions':9,'parallelism':1", "{" STARTED "}");
	POD(.name = "p", .phase = "Pending");
	POD(.name = "q");
	go();
	assert_int_equal(acts("delete pods"), 1);
	assert_acted(&t, "delete pods d/p");
	/* a work queue: nobody new after the first success, done with the last */
	tables_clear(&t);
	add_job("'parallelism':3", "{" STARTED ",'succeeded':1}");
	POD(.name = "p");
	go();
	assert_int_equal(acts("create pods"), 0);
	assert_not("SuccessCriteriaMet");
	tables_clear(&t);
	add_job("'parallelism':3", "{" STARTED ",'succeeded':1}");
	go();
	assert_acted(&t, "'type':'Complete'");
}

static void test_lets_go(void **state)
{
	(void)state;
	POD(.name = "p"); /* its Job is gone */
	go();
	assert_acted(&t, "patch pods d/p {'metadata':{'uid':'u-p','finalizers':null}}");
	tables_clear(&t);
	(void)add(&t, R_POD,
		"{'metadata':{'name':'o','namespace':'d','uid':'u-o','labels':{'a':'b'},"
		"'finalizers':['" JOB_FINALIZER "','keep']},'status':{'phase':'Running'}}");
	run(&t, &controller_job, "d", "pod:o");
	assert_acted(&t, "'finalizers':['keep']");
	add_job("", "{" STARTED "}"); /* about to adopt it */
	run(&t, &controller_job, "d", "pod:o");
	assert_lines(&t, 0);
	go();
	assert_acted(&t, "'ownerReferences':[{'apiVersion':'batch/v1','kind':'Job'");
	assert_acted(&t, "'finalizers':['keep','" JOB_FINALIZER "']");
}

static void test_ttl(void **state)
{
	(void)state;
	add_job("'ttlSecondsAfterFinished':60",
		"{'conditions':[{'type':'Complete','status':'True','lastTransitionTime':"
		"'2026-01-01T11:59:30Z'}]}");
	run(&t, &controller_ttl_after_finished, "d", "j");
	assert_int_equal(t.requeue, 30 * NS_PER_SEC);
	assert_lines(&t, 0);
	t.now += 30 * NS_PER_SEC;
	run(&t, &controller_ttl_after_finished, "d", "j");
	assert_acted(&t, "delete jobs d/j");
}

static void test_index_sets(void **state)
{
	static const int64_t add_order[] = {5, 3, 4, 9, 0, 8, 1, 3};
	struct rc rc;
	struct indexes s = {0}, other = {0};

	(void)state;
	rc_init(&rc, &t.cache, &t.cfg, 0);
	for (size_t i = 0; i < ARRAY_LEN(add_order); i++)
		indexes_add(&rc, &s, add_order[i], add_order[i]);
	assert_string_equal(indexes_text(&rc, &s), "0,1,3-5,8,9");
	assert_int_equal(indexes_count(&s), 7);
	assert_true(indexes_have(&s, 4) && !indexes_have(&s, 2) && !indexes_have(&s, 10));
	indexes_parse(&rc, &other, STR("0-3,x,7-8,2147483647"));
	assert_int_equal(indexes_common(&s, &other), 4);
	indexes_add(&rc, &s, 2, 7);
	assert_string_equal(indexes_text(&rc, &s), "0-9");
	rc_fini(&rc);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, clear)
	const struct CMUnitTest tests[] = {
		T(test_starts),
		T(test_counts_once),
		T(test_completes),
		T(test_backoff),
		T(test_deadline),
		T(test_indexed),
		T(test_limit_per_index),
		T(test_failure_policy),
		T(test_success_policy),
		T(test_suspend),
		T(test_shrinks),
		T(test_lets_go),
		T(test_ttl),
		T(test_index_sets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
