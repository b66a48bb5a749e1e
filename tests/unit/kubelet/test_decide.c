/* SPDX-License-Identifier: Apache-2.0
 * The decision function as tables: a pod's state in one line, the expected actions in another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "kubelet/decide.h"

#define S   1000000000LL
#define NOW (1000000 * S)

/* One container per word: kind (i init, s sidecar, m main, e ephemeral), then its state:
 * - none, c created, r running, R running in an old sandbox, u unknown, xN exited with N, XN exited
 * in an old sandbox; then flags: B busy, U unhealthy, C changed, S started, b back-off 10 s since
 * 3 s, w retry in the future, h has run before. */
static void parse_slot(const char *w, struct pod_view *p)
{
	struct slot_view *s = &p->s[p->n++];
	*s = (struct slot_view){.policy = p->policy, .in_sandbox = true};
	s->kind = *w == 'i'   ? SLOT_INIT
		  : *w == 's' ? SLOT_SIDECAR
		  : *w == 'm' ? SLOT_MAIN
			      : SLOT_EPHEMERAL;
	if (s->kind == SLOT_SIDECAR)
		s->policy = RESTART_ALWAYS;
	if (s->kind == SLOT_INIT && p->policy == RESTART_ALWAYS)
		s->policy = RESTART_ON_FAILURE;
	for (w++; *w && *w != ' '; w++)
		switch (*w) {
		case 'c':
			s->state = INST_CREATED;
			break;
		case 'u':
			s->state = INST_UNKNOWN;
			break;
		case 'R':
			s->in_sandbox = false;
			s->state = INST_RUNNING;
			break;
		case 'r':
			s->state = INST_RUNNING;
			break;
		case 'X':
			s->in_sandbox = false; /* fall through */
		case 'x':
			s->state = INST_EXITED;
			s->exit_code = *++w - '0';
			s->started_at = NOW - 10 * S;
			s->finished_at = NOW - 3 * S;
			break;
		case 'B':
			s->busy = true;
			break;
		case 'U':
			s->unhealthy = true;
			break;
		case 'C':
			s->changed = true;
			break;
		case 'S':
			s->started = true;
			break;
		case 'b':
			s->backoff_ns = 10 * S;
			break;
		case 'w':
			s->retry_at = NOW + 7 * S;
			break;
		case 'h':
			s->ran = true;
			break;
		default:
			break;
		}
}

/* Pod flags: R sandbox ready, N sandbox not ready, - none; T terminating, Z sandbox busy, V volumes
 * missing, D sandbox retry later; A/F/n restart policy. */
static void parse(const char *pod, const char *slots, struct pod_view *p)
{
	*p = (struct pod_view){.now = NOW, .volumes_ready = true};
	for (; *pod; pod++)
		switch (*pod) {
		case 'R':
			p->sandbox_exists = p->sandbox_ready = true;
			break;
		case 'N':
			p->sandbox_exists = true;
			break;
		case 'T':
			p->terminating = true;
			break;
		case 'Z':
			p->sandbox_busy = true;
			break;
		case 'V':
			p->volumes_ready = false;
			break;
		case 'D':
			p->sandbox_retry_at = NOW + 2 * S;
			break;
		case 'A':
			p->policy = RESTART_ALWAYS;
			break;
		case 'F':
			p->policy = RESTART_ON_FAILURE;
			break;
		case 'n':
			p->policy = RESTART_NEVER;
			break;
		default:
			break;
		}
	for (const char *w = slots; w && *w; w = strchr(w, ' ') ? strchr(w, ' ') + 1 : NULL)
		parse_slot(w, p);
}

static void print(const struct pod_view *p, const struct decision *d, char *out, size_t cap)
{
	static const char *const names[] = {[ACT_MAKE_SANDBOX] = "sandbox",
		[ACT_STOP_SANDBOX] = "down",
		[ACT_START] = "start",
		[ACT_KILL] = "kill",
		[ACT_REMOVE] = "remove"};
	static const char *const why[] = {"", "", "!", "~"};
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < d->n; i++) {
		bool sb = d->a[i].kind == ACT_MAKE_SANDBOX || d->a[i].kind == ACT_STOP_SANDBOX;
		n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? " " : "", names[d->a[i].kind]);
		if (!sb)
			n += (size_t)snprintf(
				out + n, cap - n, "%zu%s", d->a[i].slot, why[d->a[i].why]);
	}
	if (d->finished)
		n += (size_t)snprintf(
			out + n, cap - n, "%s%s", n ? " " : "", d->failed ? "failed" : "succeeded");
	if (d->stopped)
		n += (size_t)snprintf(out + n, cap - n, "%sstopped", n ? " " : "");
	if (d->wake_at)
		n += (size_t)snprintf(out + n, cap - n, "%swake%lld", n ? " " : "",
			(long long)((d->wake_at - p->now) / S));
	for (size_t i = 0; i < p->n; i++)
		if (d->crash_loop[i])
			n += (size_t)snprintf(out + n, cap - n, " loop%zu", i);
}

static const struct {
	const char *pod, *slots, *want;
} table[] = {
	/* beginning */
	{"-", "m", "sandbox"},
	{"-Z", "m", ""},
	{"-D", "m", "wake2"},
	{"R", "m m", "start0 start1"},
	{"RV", "m", ""},
	{"R", "mB m", "start1"},
	{"R", "mw", "wake7"},
	{"R", "mrS", ""},
	/* restarts and back-off */
	{"RA", "mx1", "start0"},
	{"RA", "mx0", "start0"},
	{"RF", "mx1", "start0"},
	{"RF", "mx0", "down succeeded"},
	{"Rn", "mx1", "down failed"},
	{"Rn", "mx0 mr", ""},
	{"Rn", "mx0 mx0", "down succeeded"},
	{"Rn", "mx0 mx3", "down failed"},
	{"Nn", "mx0 mx0", "succeeded stopped"},
	{"RA", "mx1b", "wake7 loop0"},
	{"RA", "mx1b mr", "wake7 loop0"},
	/* probes, changes, leftovers */
	{"RA", "mrU", "kill0!"},
	{"RA", "mrC", "kill0~"},
	{"RA", "mrUB", ""},
	{"RA", "mc", "remove0"},
	{"RA", "mu", "kill0~"},
	/* a sandbox that died */
	{"NA", "mr", "kill0~"},
	{"NA", "mx1b", "sandbox"},
	{"NA", "mB", ""},
	{"Nn", "mr", "kill0~"},
	{"RA", "mX1b", "start0"},
	/* init containers */
	{"R", "i i m", "start0"},
	{"R", "ir i m", ""},
	{"R", "ix0 i m", "start1"},
	{"R", "ix0 ix0 m", "start2"},
	{"RA", "ix1 m", "start0"},
	{"Rn", "ix1 m", "down failed"},
	{"RA", "ix1b m", "wake7 loop0"},
	{"RA", "i mr", ""},	   /* init instance already collected */
	{"RA", "iX0 m", "start0"}, /* new sandbox: init runs again */
	/* sidecars */
	{"R", "s i m", "start0"},
	{"R", "sr i m", ""},
	{"R", "srS i m", "start1"},
	{"R", "srS ix0 m", "start2"},
	{"R", "sx1 ix0 mr", "start0"},
	{"RF", "srS mx0", "kill0 succeeded"},
	{"RT", "srS sr mr", "kill2"},
	{"RT", "srS sr mx0", "kill1"},
	{"RT", "srS sx0 mx0", "kill0"},
	{"RT", "sx0 sx0 mx0", "down"},
	/* ephemeral */
	{"R", "mrS e", "start1"},
	{"R", "mrS ex1", ""},
	{"R", "mrS eh", ""},
	{"RT", "mr er", "kill0 kill1"},
	/* termination */
	{"RT", "mr m", "kill0"},
	{"RT", "mrB", ""},
	{"RT", "mx0", "down"},
	{"RTZ", "mx0", ""},
	{"NT", "mx0", "stopped"},
	{"-T", "m", "stopped"},
	{"-TZ", "m", ""},
	/* a pod that ran under another life of the runtime */
	{"-n", "mh", "failed stopped"},
	{"-A", "mh", "sandbox"},
};

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct pod_view p;
		struct decision d;
		char got[256];
		parse(table[i].pod, table[i].slots, &p);
		decide(&p, &d);
		print(&p, &d, got, sizeof(got));
		if (strcmp(got, table[i].want) != 0)
			fail_msg("row %zu (%s | %s): got '%s', want '%s'", i, table[i].pod,
				table[i].slots, got, table[i].want);
	}
}

static void test_backoff(void **state)
{
	(void)state;
	static const int64_t want[] = {10, 20, 40, 80, 160, 300, 300};
	int64_t d = 0;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		d = backoff_next(d, S);
		assert_int_equal(d, want[i] * S);
	}
	assert_int_equal(backoff_next(300 * S, 601 * S), 10 * S);
}

/* Whatever the state: no container is acted upon twice, a busy one never, and an alive pod without
 * anything to do, wait for or under way is only one that is complete. */
static void test_invariants(void **state)
{
	(void)state;
	unsigned seed = 12345;
	for (int round = 0; round < 200000; round++) {
		struct pod_view p = {.now = NOW, .volumes_ready = true};
		struct decision d;
		unsigned seen = 0, r = seed = seed * 1103515245u + 12345u;
		p.policy = (r >> 8) % 3;
		p.sandbox_exists = (r >> 10) & 1;
		p.sandbox_ready = p.sandbox_exists && ((r >> 11) & 1);
		p.terminating = ((r >> 12) & 7) == 0;
		p.n = 1 + (r >> 16) % 5;
		for (size_t i = 0; i < p.n; i++) {
			r = seed = seed * 1103515245u + 12345u;
			p.s[i] = (struct slot_view){.kind = i + 1 == p.n ? SLOT_MAIN : (r >> 8) % 3,
				.policy = p.policy,
				.state = (r >> 10) % 5,
				.in_sandbox = (r >> 13) & 1,
				.exit_code = (r >> 14) & 1,
				.busy = ((r >> 15) & 3) == 0,
				.started = (r >> 17) & 1,
				.finished_at = NOW - 3 * S,
				.backoff_ns = ((r >> 18) & 1) * 10 * S};
		}
		decide(&p, &d);
		bool waiting = d.wake_at || d.finished || d.stopped || d.n > 0;
		for (size_t i = 0; i < p.n; i++)
			waiting = waiting || p.s[i].busy || p.s[i].state == INST_RUNNING;
		for (size_t i = 0; i < d.n; i++) {
			if (d.a[i].kind == ACT_MAKE_SANDBOX || d.a[i].kind == ACT_STOP_SANDBOX)
				continue;
			assert_false(seen & (1u << d.a[i].slot));
			seen |= 1u << d.a[i].slot;
			assert_false(p.s[d.a[i].slot].busy);
			if (p.terminating)
				assert_int_not_equal(d.a[i].kind, ACT_START);
		}
		assert_true(waiting);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_invariants),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
