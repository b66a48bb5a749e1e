/* SPDX-License-Identifier: Apache-2.0
 * Environment, quality of service, runtime configuration, probes: pure parts of the kubelet. */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "kubelet/check.h"
#include "kubelet/env.h"
#include "kubelet/image.h"
#include "kubelet/spec.h"

static json_t *parse(const char *text)
{
	json_t *j = NULL;
	struct err e = {0};
	if (json_parse(str_of(text), &j, &e) < 0)
		fail_msg("%s: %s", e.msg, text);
	return j;
}

static const struct spec_ctx ctx = {.logs = "/logs",
	.cgroup_root = "/x/n1",
	.cluster_dns = "10.96.0.10",
	.domain = "cluster.local",
	.resolv_conf = "nameserver 9.9.9.9\nsearch lan\n",
	.mem_capacity = 4ULL << 30};

static json_t *objects;
static const json_t *find(void *arg, const char *name)
{
	return json_object_get(json_object_get(objects, arg ? arg : ""), name);
}
static const json_t *find_cm(void *arg, const char *name)
{
	(void)arg;
	return find("cm", name);
}
static const json_t *find_secret(void *arg, const char *name)
{
	(void)arg;
	return find("secret", name);
}

static const char pod_text[] = "{\"metadata\":{\"name\":\"web-1\",\"namespace\":\"shop\",\"uid\":"
			       "\"u1\",\"labels\":{\"b\":\"2\",\"a\":\"x\\\"y\"},"
			       "\"annotations\":{\"k.io/"
			       "n\":\"v\"}},\"spec\":{\"serviceAccountName\":\"sa\",\"containers\":"
			       "[{\"name\":\"c\",\"image\":\"i:1\","
			       "\"resources\":{\"limits\":{\"cpu\":\"1500m\",\"memory\":\"64Mi\"},"
			       "\"requests\":{\"cpu\":\"250m\"}}}]}}";

static const struct {
	const char *env, *want; /* of the whole list as JSON, or the error */
} envs[] = {
	{"[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"$(A)-$(Z)-$$(A)\"}]",
		"[{\"key\":\"A\",\"value\":\"1\"},{\"key\":\"B\",\"value\":\"1-$(Z)-$(A)\"}]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}]",
		"[{\"key\":\"N\",\"value\":\"web-1\"}]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.annotations['k.io/"
	 "n']\"}}}]",
		"[{\"key\":\"N\",\"value\":\"v\"}]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}}]",
		"[{\"key\":\"N\",\"value\":\"10.1.1.1\"}]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\"}}}]",
		"[{\"key\":\"N\",\"value\":\"2\"}]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\","
	 "\"divisor\":\"1m\"}}}]",
		"[{\"key\":\"N\",\"value\":\"1500\"}]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.memory\","
	 "\"divisor\":\"1Mi\"}}}]",
		"[{\"key\":\"N\",\"value\":\"64\"}]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"m\",\"key\":\"k\"}}}]",
		"[{\"key\":\"N\",\"value\":\"mv\"}]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"k\"}}}]",
		"[{\"key\":\"N\",\"value\":\"hi\"}]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"m\",\"key\":\"zz\","
	 "\"optional\":true}}}]",
		"[]"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"none\",\"key\":\"k\"}}}]",
		"configmap \"none\" not found"},
	{"[{\"name\":\"N\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"s\",\"key\":\"zz\"}}}]",
		"couldn't find key zz in Secret shop/s"},
};

static void test_env(void **state)
{
	(void)state;
	json_t *pod = parse(pod_text);
	objects = parse("{\"cm\":{\"m\":{\"data\":{\"k\":\"mv\"}}},\"secret\":{\"s\":{\"data\":{"
			"\"k\":\"aGk=\"}}}}");
	struct env_ctx c = {.pod = pod,
		.pod_ip = "10.1.1.1",
		.host_ip = "10.0.0.1",
		.node_name = "n1",
		.node_cpu_milli = 2000,
		.node_memory = 1 << 30,
		.configmap = find_cm,
		.secret = find_secret};
	for (size_t i = 0; i < ARRAY_LEN(envs); i++) {
		AUTO_JSON json_t *cont = json_deep_copy(
					 json_array_get(json_at(pod, "spec.containers"), 0)),
				 *got = NULL;
		AUTO_BUF struct buf b = {0};
		struct err e = {0};
		(void)json_object_set_new(cont, "env", parse(envs[i].env));
		if (env_build(&c, cont, &got, &e) == 0)
			json_write(got, &b);
		else
			buf_adds(&b, e.msg);
		assert_string_equal(b.p, envs[i].want);
	}
	json_decref(objects);
	json_decref(pod);
}

static void test_env_from_and_services(void **state)
{
	(void)state;
	AUTO_JSON json_t *pod = parse(pod_text), *got = NULL;
	AUTO_JSON json_t *cont = parse("{\"name\":\"c\",\"envFrom\":[{\"prefix\":\"P_\","
				       "\"configMapRef\":{\"name\":\"m\"}},"
				       "{\"secretRef\":{\"name\":\"gone\",\"optional\":true}}],"
				       "\"env\":[{\"name\":\"P_k\",\"value\":\"own\"}]}");
	AUTO_JSON json_t *svcs =
		parse("[{\"metadata\":{\"name\":\"redis-x\"},\"spec\":{\"clusterIP\":\"10.96.0.7\","
		      "\"ports\":"
		      "[{\"name\":\"main\",\"port\":6379,\"protocol\":\"TCP\"}]}},{\"metadata\":{"
		      "\"name\":\"h\"},\"spec\":{\"clusterIP\":\"None\"}}]");
	objects = parse("{\"cm\":{\"m\":{\"data\":{\"k\":\"mv\",\"l\":\"lv\"}}}}");
	struct env_ctx c = {
		.pod = pod, .configmap = find_cm, .secret = find_secret, .services = svcs};
	assert_int_equal(env_build(&c, cont, &got, NULL), 0);
	AUTO_BUF struct buf b = {0};
	json_write(got, &b);
	static const char *const want[] = {
		"{\"key\":\"REDIS_X_SERVICE_HOST\",\"value\":\"10.96.0.7\"}",
		"{\"key\":\"REDIS_X_SERVICE_PORT_MAIN\",\"value\":\"6379\"}",
		"{\"key\":\"REDIS_X_PORT_6379_TCP\",\"value\":\"tcp://10.96.0.7:6379\"}",
		"{\"key\":\"P_k\",\"value\":\"own\"}", "{\"key\":\"P_l\",\"value\":\"lv\"}"};
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_non_null(strstr(b.p, want[i]));
	assert_null(strstr(b.p, "\"mv\""));
	json_decref(objects);
}

static const struct {
	const char *spec, *want;
} qos[] = {
	{"{\"containers\":[{}]}", "BestEffort"},
	{"{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"1m\"}}}]}", "Burstable"},
	{"{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}",
		"Guaranteed"},
	{"{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},"
	 "\"requests\":{\"cpu\":\"500m\",\"memory\":\"1Gi\"}}}]}",
		"Burstable"},
	{"{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}},{}]}",
		"Burstable"},
};

static void test_qos(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(qos); i++) {
		AUTO_JSON json_t *s = parse(qos[i].spec);
		assert_string_equal(qos_class(s), qos[i].want);
	}
}

static void test_sandbox_config(void **state)
{
	(void)state;
	AUTO_JSON json_t *pod = parse(pod_text);
	AUTO_JSON json_t *cfg = spec_sandbox(&ctx, pod, 3);
	assert_non_null(cfg);
	assert_string_equal(
		json_str(cfg, "linux.cgroup_parent", ""), "/x/n1/kubepods/burstable/podu1");
	assert_string_equal(json_str(cfg, "log_directory", ""), "/logs/shop_web-1_u1");
	assert_int_equal(json_i64(cfg, "metadata.attempt", 0), 3);
	assert_string_equal(json_str(cfg, "hostname", ""), "web-1");
	assert_int_equal(
		json_i64(cfg, "linux.security_context.namespace_options.pid", 9), CRI_NS_CONTAINER);
	AUTO_BUF struct buf b = {0};
	json_write(json_object_get(cfg, "dns_config"), &b);
	assert_string_equal(b.p,
		"{\"servers\":[\"10.96.0.10\"],\"searches\":[\"shop.svc.cluster.local\","
		"\"svc.cluster.local\",\"cluster.local\",\"lan\"],\"options\":[\"ndots:5\"]}");
	(void)json_object_set_new(json_object_get(pod, "spec"), "hostNetwork", json_true());
	AUTO_JSON json_t *host = spec_sandbox(&ctx, pod, 0);
	assert_string_equal(json_str(host, "hostname", "x"), "");
	assert_string_equal(
		json_string_value(json_array_get(json_at(host, "dns_config.servers"), 0)),
		"9.9.9.9");
}

static void test_container_config(void **state)
{
	(void)state;
	AUTO_JSON json_t *pod = parse(pod_text);
	AUTO_JSON json_t *cont =
		parse("{\"name\":\"c\",\"image\":\"i:1\",\"command\":[\"sh\",\"$(A)\"],\"args\":["
		      "\"$$(A)\"],"
		      "\"resources\":{\"limits\":{\"cpu\":\"100m\",\"memory\":\"32Mi\"}},"
		      "\"securityContext\":{\"runAsUser\":0,\"runAsGroup\":5,"
		      "\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"],"
		      "\"add\":[\"CAP_NET_ADMIN\"]},"
		      "\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}}");
	AUTO_JSON json_t *env = parse("[{\"key\":\"A\",\"value\":\"av\"}]"), *mounts = json_array();
	struct container_args a = {.pod = pod,
		.container = cont,
		.attempt = 2,
		.image = "sha256:1",
		.envs = env,
		.mounts = mounts};
	AUTO_JSON json_t *cfg = spec_container(&ctx, &a);
	assert_non_null(cfg);
	AUTO_BUF struct buf b = {0};
	json_write(json_object_get(cfg, "command"), &b);
	json_write(json_object_get(cfg, "args"), &b);
	assert_string_equal(b.p, "[\"sh\",\"av\"][\"$(A)\"]");
	assert_string_equal(json_str(cfg, "log_path", ""), "c/2.log");
	assert_int_equal(json_i64(cfg, "linux.resources.cpu_quota", 0), 10000);
	assert_int_equal(json_i64(cfg, "linux.resources.cpu_shares", 0), 102);
	assert_int_equal(json_i64(cfg, "linux.resources.memory_limit_in_bytes", 0), 32 << 20);
	assert_int_equal(json_i64(cfg, "linux.security_context.run_as_user.value", -1), 0);
	assert_int_equal(json_i64(cfg, "linux.security_context.run_as_group.value", -1), 5);
	assert_true(json_flag(cfg, "linux.security_context.no_new_privs", false));
	assert_string_equal(
		json_string_value(json_array_get(
			json_at(cfg, "linux.security_context.capabilities.add_capabilities"), 0)),
		"NET_ADMIN");
	assert_int_equal(json_i64(cfg, "linux.security_context.seccomp.profile_type", 9),
		CRI_SECCOMP_RUNTIME_DEFAULT);
}

static void test_pod_limits(void **state)
{
	(void)state;
	struct pod_limits l;
	AUTO_JSON json_t *s = parse(
		"{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"10Mi\"}}},"
		"{\"resources\":{\"limits\":{\"memory\":\"20Mi\"}}}],\"initContainers\":[{"
		"\"resources\":{\"limits\":{\"memory\":\"50Mi\"}}}]}");
	spec_pod_limits(s, &l);
	assert_int_equal(l.memory, 50 << 20);
	assert_int_equal(l.cpu_quota, 0); /* one container is unlimited */
	assert_int_equal(l.cpu_shares, 1024);
}

static void test_nonroot(void **state)
{
	(void)state;
	static const struct {
		const char *sc, *image;
		int want;
	} rows[] = {{"{}", "{}", 0}, {"{\"runAsNonRoot\":true}", "{}", -EPERM},
		{"{\"runAsNonRoot\":true,\"runAsUser\":7}", "{}", 0},
		{"{\"runAsNonRoot\":true,\"runAsUser\":0}", "{}", -EPERM},
		{"{\"runAsNonRoot\":true}", "{\"uid\":{\"value\":9}}", 0},
		{"{\"runAsNonRoot\":true}", "{\"username\":\"web\"}", -EPERM}};
	AUTO_JSON json_t *pod = parse(pod_text);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON json_t *c = json_object(), *img = parse(rows[i].image);
		(void)json_object_set_new(c, "securityContext", parse(rows[i].sc));
		assert_int_equal(spec_check_nonroot(pod, c, img, NULL), rows[i].want);
	}
}

static void test_images(void **state)
{
	(void)state;
	static const struct {
		const char *c, *want;
	} rows[] = {{"{\"image\":\"a\"}", "Always"}, {"{\"image\":\"r:5000/a\"}", "Always"},
		{"{\"image\":\"a:1\"}", "IfNotPresent"}, {"{\"image\":\"a:latest\"}", "Always"},
		{"{\"image\":\"a@sha256:1\"}", "IfNotPresent"},
		{"{\"image\":\"a:latest\",\"imagePullPolicy\":\"Never\"}", "Never"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_JSON json_t *c = parse(rows[i].c);
		assert_string_equal(image_policy(c), rows[i].want);
	}
	AUTO_JSON json_t *cfg =
		parse("{\"auths\":{\"https://index.docker.io/v1/"
		      "\":{\"username\":\"d\"},\"r.io:5000\":{\"username\":\"r\"}}}");
	AUTO_JSON json_t *a = image_auth("busybox:1", cfg), *b = image_auth("r.io:5000/x", cfg);
	assert_string_equal(json_str(a, "username", ""), "d");
	assert_string_equal(json_str(b, "username", ""), "r");
	assert_null(image_auth("other.io/x", cfg));
}

static void test_probe_counting(void **state)
{
	(void)state;
	AUTO_JSON json_t *j =
		parse("{\"periodSeconds\":5,\"successThreshold\":2,\"failureThreshold\":3}");
	struct probe_spec sp;
	struct probe_state st = {0};
	probe_spec_of(j, &sp);
	assert_int_equal(sp.period_ns, 5000000000LL);
	assert_int_equal(sp.timeout_ns, 1000000000LL);
	/* result, changed?, passing? */
	static const char script[] = "+n +Y +n -n -n +n -n -n -Y -n +n +Y";
	static const char passing[] = "011111110001";
	size_t i = 0;
	for (const char *p = script; *p; p += p[2] ? 3 : 2, i++) {
		assert_int_equal(probe_step(&st, &sp, p[0] == '+'), p[1] == 'Y');
		assert_int_equal(st.passing, passing[i] == '1');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_env),
		cmocka_unit_test(test_env_from_and_services), cmocka_unit_test(test_qos),
		cmocka_unit_test(test_sandbox_config), cmocka_unit_test(test_container_config),
		cmocka_unit_test(test_pod_limits), cmocka_unit_test(test_nonroot),
		cmocka_unit_test(test_images), cmocka_unit_test(test_probe_counting)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
