/* SPDX-License-Identifier: Apache-2.0
 * The schema compiler: what the tables say, and its errors with file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/wait.h>

#include "api/api.h"

static void kinds_are_found(void **state)
{
	(void)state;
	assert_true(kind_count() >= 60);
	for (size_t i = 0; i < kind_count(); i++) {
		const struct kind *k = kind_at(i);
		struct str g = str_of(k->group), v = str_of(k->version);
		assert_ptr_equal(kind_by_resource(g, v, str_of(k->plural)), k);
		assert_ptr_equal(kind_by_kind(g, v, str_of(k->kind)), k);
		assert_non_null(k->type);
		if (k->verbs & VERB_LIST)
			assert_non_null(k->list_type);
	}
	assert_null(kind_by_resource(STR("apps"), STR("v1"), STR("pods")));
	assert_null(kind_by_resource(STR(""), STR("v1"), STR("")));
	const struct kind *pod = kind_by_kind(STR(""), STR("v1"), STR("Pod"));
	assert_string_equal(pod->plural, "pods");
	assert_string_equal(pod->short_names[0], "po");
	assert_string_equal(pod->storage_group, "core");
	assert_true(pod->namespaced && pod->has_status && pod->has_spec && pod->generation);
	assert_int_equal(pod->verbs, 255);
	assert_true(pod->subresources & SUB_LOG && pod->subresources & SUB_EVICTION);
	assert_null(kind_at(kind_count()));
}

static void events_share_storage(void **state)
{
	(void)state;
	const struct kind *e = kind_by_kind(STR("events.k8s.io"), STR("v1"), STR("Event"));
	assert_string_equal(e->storage_group, "core");
	assert_string_equal(e->storage_plural, "events");
}

static void every_field_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < api_schema.n_types; i++) {
		const struct type *t = &api_schema.types[i];
		assert_ptr_equal(type_by_name(t->name), t);
		for (size_t j = 0; j < t->n_fields; j++) {
			const struct field *f = &t->fields[j];
			assert_ptr_equal(type_field(t, str_of(f->name)), f);
			assert_int_equal(f->kind == F_OBJECT && !f->type, 0);
		}
	}
	assert_null(type_field(type_by_name("core.v1.PodSpec"), STR("Containers")));
	assert_null(type_by_name("core.v1.Nope"));
}

static void attributes_arrive(void **state)
{
	(void)state;
	const struct type *c = type_by_name("core.v1.Container");
	const struct field *env = type_field(c, STR("env"));
	assert_true(env->patch_merge && env->list_type == LIST_MAP && env->shape == SHAPE_LIST);
	assert_string_equal(env->merge_key, "name");
	assert_string_equal(env->list_keys[0], "name");
	assert_string_equal(
		type_field(c, STR("terminationMessagePolicy"))->enums[1], "FallbackToLogsOnError");
	const struct type *v = type_by_name("core.v1.Volume");
	assert_int_equal(v->n_embeds, 1);
	assert_int_equal(v->embeds[0].pb, 2);
	assert_int_equal(type_field(v, STR("secret"))->pb, 0);
	assert_int_equal(type_field(v->embeds[0].type, STR("secret"))->pb, 6);
	const struct type *d = type_by_name("apps.v1.DeploymentSpec");
	assert_string_equal(type_field(d, STR("replicas"))->dflt, "1");
	assert_true(type_field(d, STR("replicas"))->nullable);
	assert_true(type_field(d, STR("strategy"))->always);
	assert_true(type_field(d, STR("selector"))->immutable);
}

/* Runs the compiler on a text; returns its exit code and what it complained of. */
static int compile(const char *text, char *msg, size_t cap)
{
	char in[] = "/tmp/schemac-test-XXXXXX", cmd[256];
	AUTO_CLOSE int fd = mkstemp(in);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)snprintf(cmd, sizeof(cmd),
		"build/host/schemac s %s.out %s 2>&1; e=$?; rm -f %s.out; exit $e", in, in, in);
	FILE *p = popen(cmd, "r");
	assert_non_null(p);
	size_t n = fread(msg, 1, cap - 1, p);
	msg[n] = 0;
	int rc = pclose(p);
	unlink(in);
	return WEXITSTATUS(rc);
}

static void errors_name_the_line(void **state)
{
	(void)state;
	static const struct {
		const char *text, *line, *what;
	} bad[] = {
		{"type A\n", ":1:", "package"},
		{"package a\ntype A\n\tx strin 1\n", ":3:", "no type 'strin'"},
		{"package a\ntype A\n\tx string 1\n\tx int32 2\n", ":4:", "declared twice"},
		{"package a\ntype A\n\tx string 1\n\ty int32 1\n", ":4:", "belongs to 'x'"},
		{"package a\ntype A\n\tx string\n", ":3:", "expected"},
		{"package a\ntype A\n\tx string one\n", ":3:", "not a number"},
		{"package a\ntype A\n\tx string 1 requird\n", ":3:", "requird"},
		{"package a\ntype A\ntype A\n", ":", "declared twice"},
		{"package a\ntype A\n\tembed A 1\n", ":2:", "embeds itself"},
		{"package a group=g version=v1\nkind K ks cluster verbs=fly\n",
			":2:", "verb 'fly'"},
		{"package a group=g version=v1\nkind K ks cluster verbs=*\n", ":2:", "no type"},
		{"package a\ntype A\n\tx string 1 default=\"a\n", ":3:", "unbalanced"},
	};
	char msg[4096];
	if (access("build/host/schemac", X_OK) != 0)
		skip();
	assert_int_equal(compile("package a\ntype A\n\tx string 1\n", msg, sizeof(msg)), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(compile(bad[i].text, msg, sizeof(msg)), 1);
		assert_non_null(strstr(msg, bad[i].line));
		assert_non_null(strstr(msg, bad[i].what));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_are_found),
		cmocka_unit_test(events_share_storage),
		cmocka_unit_test(every_field_is_found),
		cmocka_unit_test(attributes_arrive),
		cmocka_unit_test(errors_name_the_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
