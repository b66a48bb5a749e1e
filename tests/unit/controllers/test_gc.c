/* SPDX-License-Identifier: Apache-2.0
 * The garbage collector's graph and decisions, without an API. */
#include "controllers/gc_graph.h"
#include "tables.h"

static struct tables t;
static struct graph *g;
static char woken[1000];

static void wake(void *arg, const char *uid)
{
	(void)arg;
	size_t n = strlen(woken);
	if (n + 40 < sizeof(woken))
		(void)snprintf(woken + n, sizeof(woken) - n, "%s ", uid);
}

static int up(void **state)
{
	(void)state;
	tables_init(&t);
	g = graph_new();
	woken[0] = '\0';
	return 0;
}

static int down(void **state)
{
	(void)state;
	graph_free(g);
	tables_clear(&t);
	return 0;
}

/* owners: "uid" not blocking, "uid!" blocking, separated by spaces; finalizer NULL = not deleting.
 */
static void seen(const char *uid, const char *owners, const char *finalizer, bool gone_soon)
{
	AUTO_BUF struct buf refs = {0};
	struct str rest = str_of(owners);

	while (rest.n > 0) {
		struct str o = str_cut(&rest, ' ');
		bool block = o.n > 0 && o.p[o.n - 1] == '!';
		o.n -= block;
		buf_addf(&refs,
			"%s{'apiVersion':'v1','kind':'K','name':'n-%.*s','uid':'%.*s',"
			"'blockOwnerDeletion':%s}",
			refs.len ? "," : "", STR_FMT(o), STR_FMT(o), block ? "true" : "false");
	}
	struct cobj *o = add(&t, R_CM,
		"{'metadata':{'name':'n-%s','namespace':'d','uid':'%s','ownerReferences':[%s],"
		"'finalizers':[%s%s%s]%s}}",
		uid, uid, refs.p ? refs.p : "", finalizer ? "'" : "", finalizer ? finalizer : "",
		finalizer ? "'" : "",
		finalizer || gone_soon ? ",'deletionTimestamp':'2026-01-01T00:00:00Z'" : "");
	assert_int_equal(graph_seen(g, &res_table[R_CM], o, wake, NULL), 0);
}

static struct gc_step decide(const char *uid)
{
	const struct gnode *n = graph_find(g, uid);

	assert_non_null(n);
	return gc_decide(n);
}

static void gone(const char *uid)
{
	woken[0] = '\0';
	graph_gone(g, uid, wake, NULL);
}

static void test_background(void **state)
{
	(void)state;
	seen("o", "", NULL, false);
	seen("d", "o", NULL, false);
	assert_int_equal(decide("d").verb, GC_NOTHING);
	gone("o");
	assert_string_equal(woken, "d ");
	assert_int_equal(decide("d").verb, GC_DELETE);
	assert_string_equal(decide("d").propagation, "Background");
	gone("d");
	assert_null(graph_find(g, "d"));
	assert_null(graph_find(g, "o")); /* nothing is kept of what is gone */
}

static void test_unknown_owner_is_probed(void **state)
{
	(void)state;
	seen("d", "o", NULL, false);
	struct gc_step s = decide("d");
	assert_int_equal(s.verb, GC_PROBE);
	assert_string_equal(s.ref->name, "n-o");
	/* it is only late */
	seen("o", "", NULL, false);
	assert_int_equal(decide("d").verb, GC_NOTHING);
	/* or it was never there */
	seen("e", "p", NULL, false);
	gone("p");
	assert_int_equal(decide("e").verb, GC_DELETE);
}

static void test_one_owner_left(void **state)
{
	(void)state;
	seen("a", "", NULL, false);
	seen("b", "", NULL, false);
	seen("d", "a b", NULL, false);
	gone("a");
	assert_int_equal(decide("d").verb, GC_DROP_REFS);
	seen("d", "b", NULL, false);
	assert_int_equal(decide("d").verb, GC_NOTHING);
}

static void test_foreground(void **state)
{
	(void)state;
	seen("o", "", NULL, false);
	seen("d", "o!", NULL, false);
	seen("x", "o", NULL, false); /* does not hold the owner up */
	seen("dd", "d!", NULL, false);
	seen("o", "", "foregroundDeletion", false);
	assert_non_null(strstr(woken, "d "));
	assert_int_equal(decide("o").verb, GC_NOTHING); /* waits for d */
	assert_int_equal(decide("d").verb, GC_DELETE);
	assert_string_equal(decide("d").propagation, "Foreground"); /* it has one of its own */
	seen("d", "o!", "foregroundDeletion", false);
	assert_int_equal(decide("dd").verb, GC_DELETE);
	gone("dd");
	assert_non_null(strstr(woken, "d "));
	assert_int_equal(decide("d").verb, GC_FINALIZE);
	assert_string_equal(decide("d").finalizer, "foregroundDeletion");
	gone("d");
	assert_non_null(strstr(woken, "o "));
	assert_int_equal(decide("o").verb, GC_FINALIZE);
	gone("o");
	assert_int_equal(decide("x").verb, GC_DELETE);
}

static void test_orphan(void **state)
{
	(void)state;
	seen("o", "", NULL, false);
	seen("d", "o", NULL, false);
	seen("o", "", "orphan", false);
	struct gc_step s = decide("o");
	assert_int_equal(s.verb, GC_ORPHAN);
	assert_string_equal(s.dep->uid, "d");
	assert_int_equal(decide("d").verb, GC_NOTHING);
	woken[0] = '\0';
	seen("d", "", NULL, false);
	assert_string_equal(woken, "o ");
	s = decide("o");
	assert_int_equal(s.verb, GC_FINALIZE);
	assert_string_equal(s.finalizer, "orphan");
	gone("o");
	assert_int_equal(decide("d").verb, GC_NOTHING);
}

/* Two that own each other, both to go in the foreground: neither waits for ever. */
static void test_circle(void **state)
{
	(void)state;
	seen("a", "b!", "foregroundDeletion", false);
	seen("b", "a!", NULL, false);
	assert_int_equal(decide("b").verb, GC_DELETE);
	seen("b", "a!", NULL, true); /* b goes, with a finalizer of somebody else's */
	assert_int_equal(decide("b").verb, GC_NOTHING);
	gone("b");
	assert_int_equal(decide("a").verb, GC_FINALIZE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, up, down)
	const struct CMUnitTest tests[] = {T(test_background), T(test_unknown_owner_is_probed),
		T(test_one_owner_left), T(test_foreground), T(test_orphan), T(test_circle)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
