/* SPDX-License-Identifier: Apache-2.0
 * Table rows: what kubectl shows of pods in every state, services, nodes, endpoints, events; and
 * that every kind fills exactly its columns. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "api/rules.h"
#include "xebec/base/timefmt.h"

static int64_t now_ns(void)
{
	int64_t t = 0;
	(void)time_parse(STR("2026-01-02T00:10:00Z"), &t);
	return t;
}

/* The cells of one row, joined by '|'; integers without quotes. */
static void row_text(const struct kind *k, const char *obj, struct buf *out)
{
	AUTO_BUF struct buf row = {0};
	struct jv v;
	assert_true(jv_valid(str_of(obj), 64));
	table_row(k, jv_of(str_of(obj)), 0, INCLUDE_NONE, now_ns(), &row);
	assert_true(jv_valid(buf_str(&row), 64));
	v = jv_get(jv_of(buf_str(&row)), "cells");
	jv_each (it, v) {
		if (out->len)
			buf_addc(out, '|');
		if (jv_type(it.v) == JV_STRING)
			jv_unescape(it.v, out);
		else
			buf_add_str(out, jv_bytes(it.v));
	}
}

static void expect(
	const char *group, const char *version, const char *kind, const char *obj, const char *want)
{
	const struct kind *k = kind_by_kind(str_of(group), str_of(version), str_of(kind));
	AUTO_BUF struct buf b = {0};
	assert_non_null(k);
	row_text(k, obj, &b);
	if (strcmp(b.p, want) != 0)
		fail_msg("%s:\n got  %s\n want %s", kind, b.p, want);
}

#define META "\"metadata\":{\"name\":\"p\",\"creationTimestamp\":\"2026-01-02T00:00:00Z\"}"
#define POD(spec, status)                                                                          \
	"{" META ",\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]" spec              \
	"},\"status\":{" status "}}"

static void pods(void **state)
{
	static const struct {
		const char *obj, *want;
	} rows[] = {
		{POD("", "\"phase\":\"Pending\""),
			"p|0/2|Pending|0|10m|<none>|<none>|<none>|<none>"},
		{POD(",\"nodeName\":\"n\"", "\"phase\":\"Running\",\"podIP\":\"10.0.0.2\","
					    "\"podIPs\":[{\"ip\":\"10.0.0.1\"}],"
					    "\"containerStatuses\":[{\"name\":\"a\",\"ready\":true,"
					    "\"state\":{\"running\":{}}},"
					    "{\"name\":\"b\",\"ready\":false,\"restartCount\":3,"
					    "\"state\":{\"running\":{}},"
					    "\"lastState\":{\"terminated\":{\"finishedAt\":\"2026-"
					    "01-02T00:05:00Z\"}}}]"),
			"p|1/2|Running|3 (5m ago)|10m|10.0.0.1|n|<none>|<none>"},
		{POD("", "\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"a\",\"ready\":"
			 "true,"
			 "\"state\":{\"running\":{}}},{\"name\":\"b\",\"restartCount\":1,\"state\":"
			 "{"
			 "\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]"),
			"p|1/2|CrashLoopBackOff|1|10m|<none>|<none>|<none>|<none>"},
		{POD("", "\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"a\",\"state\":{"
			 "\"terminated\":{\"exitCode\":7}}},{\"name\":\"b\",\"state\":{"
			 "\"terminated\":{"
			 "\"exitCode\":0,\"reason\":\"Completed\"}}}]"),
			"p|0/2|ExitCode:7|0|10m|<none>|<none>|<none>|<none>"},
		{POD("", "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":"
			 "\"True\"}],\"containerStatuses\":[{\"name\":\"a\",\"state\":{"
			 "\"terminated\":{"
			 "\"exitCode\":0,\"reason\":\"Completed\"}}},{\"name\":\"b\",\"ready\":"
			 "true,"
			 "\"state\":{\"running\":{}}}]"),
			"p|1/2|Running|0|10m|<none>|<none>|<none>|<none>"},
		{POD("", "\"phase\":\"Succeeded\",\"containerStatuses\":[{\"name\":\"a\",\"state\":"
			 "{"
			 "\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\"}}}]"),
			"p|0/2|Completed|0|10m|<none>|<none>|<none>|<none>"},
		{POD("", "\"phase\":\"Failed\",\"reason\":\"Evicted\""),
			"p|0/2|Evicted|0|10m|<none>|<none>|<none>|<none>"},
		{POD(",\"initContainers\":[{\"name\":\"i\"},{\"name\":\"j\"}]",
			 "\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"i\","
			 "\"state\":{"
			 "\"terminated\":{\"exitCode\":0}}},{\"name\":\"j\",\"state\":{\"running\":"
			 "{}}}]"),
			"p|0/2|Init:1/2|0|10m|<none>|<none>|<none>|<none>"},
		{POD(",\"initContainers\":[{\"name\":\"i\"}]",
			 "\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"i\","
			 "\"restartCount\":2,\"state\":{\"waiting\":{\"reason\":"
			 "\"CrashLoopBackOff\"}}}]"),
			"p|0/2|Init:CrashLoopBackOff|2|10m|<none>|<none>|<none>|<none>"},
		{POD(",\"initContainers\":[{\"name\":\"i\"}]",
			 "\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"i\","
			 "\"state\":{"
			 "\"terminated\":{\"exitCode\":1,\"reason\":\"Error\"}}}]"),
			"p|0/2|Init:Error|0|10m|<none>|<none>|<none>|<none>"},
		{POD(",\"initContainers\":[{\"name\":\"i\",\"restartPolicy\":\"Always\"}]",
			 "\"phase\":\"Running\",\"initContainerStatuses\":[{\"name\":\"i\","
			 "\"started\":"
			 "true,\"ready\":true,\"restartCount\":1,\"state\":{\"running\":{}}}],"
			 "\"containerStatuses\":[{\"name\":\"a\",\"ready\":true,\"state\":{"
			 "\"running\":{"
			 "}}},{\"name\":\"b\",\"ready\":true,\"state\":{\"running\":{}}}]"),
			"p|3/3|Running|1|10m|<none>|<none>|<none>|<none>"},
		{POD(",\"readinessGates\":[{\"conditionType\":\"g/h\"},{\"conditionType\":\"x\"}]",
			 "\"phase\":\"Pending\",\"nominatedNodeName\":\"m\",\"conditions\":[{"
			 "\"type\":"
			 "\"g/h\",\"status\":\"True\"},{\"type\":\"PodScheduled\",\"reason\":"
			 "\"SchedulingGated\",\"status\":\"False\"}]"),
			"p|0/2|SchedulingGated|0|10m|<none>|<none>|m|1/2"},
		{"{\"metadata\":{\"name\":\"p\",\"creationTimestamp\":\"2026-01-02T00:00:00Z\","
		 "\"deletionTimestamp\":\"2026-01-02T00:09:00Z\"},\"spec\":{\"containers\":[{}]},"
		 "\"status\":{\"phase\":\"Running\"}}",
			"p|0/1|Terminating|0|10m|<none>|<none>|<none>|<none>"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect("", "v1", "Pod", rows[i].obj, rows[i].want);
}

static void services(void **state)
{
	(void)state;
	expect("", "v1", "Service",
		"{" META
		",\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.9\",\"clusterIPs\":["
		"\"10.96.0.9\"],\"selector\":{\"b\":\"2\",\"a\":\"1\"},\"ports\":[{\"port\":80,"
		"\"nodePort\":30080,\"protocol\":\"TCP\"},{\"port\":53,\"protocol\":\"UDP\"}]}}",
		"p|NodePort|10.96.0.9|<none>|80:30080/TCP,53/UDP|10m|a=1,b=2");
	expect("", "v1", "Service",
		"{" META ",\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"x.example\"}}",
		"p|ExternalName|<none>|x.example|<none>|10m|<none>");
	expect("", "v1", "Service",
		"{" META ",\"spec\":{\"type\":\"LoadBalancer\",\"clusterIPs\":[\"10.96.0.9\"]}}",
		"p|LoadBalancer|10.96.0.9|<pending>|<none>|10m|<none>");
	expect("", "v1", "Service",
		"{" META ",\"spec\":{\"type\":\"LoadBalancer\",\"clusterIPs\":[\"10.96.0.9\"],"
		"\"externalIPs\":[\"1.1.1.1\"]},\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":"
		"\"2.2.2.2\"},{\"hostname\":\"lb.x\"}]}}}",
		"p|LoadBalancer|10.96.0.9|2.2.2.2,lb.x,1.1.1.1|<none>|10m|<none>");
}

static void endpoints(void **state)
{
	(void)state;
	expect("", "v1", "Endpoints", "{" META "}", "p|<none>|10m");
	expect("", "v1", "Endpoints",
		"{" META
		",\"subsets\":[{\"addresses\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}],"
		"\"ports\":[{\"port\":80},{\"port\":81}]}]}",
		"p|10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...|10m");
	expect("discovery.k8s.io", "v1", "EndpointSlice",
		"{" META ",\"addressType\":\"IPv4\",\"ports\":[{\"port\":80},{\"name\":\"x\"}],"
		"\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]},{\"addresses\":[\"10.0.0.2\"]}]}",
		"p|IPv4|80,*|10.0.0.1,10.0.0.2|10m");
	expect("discovery.k8s.io", "v1", "EndpointSlice", "{" META ",\"addressType\":\"IPv6\"}",
		"p|IPv6|<unset>|<unset>|10m");
}

static void nodes(void **state)
{
	(void)state;
	expect("", "v1", "Node",
		"{\"metadata\":{\"name\":\"n\",\"creationTimestamp\":\"2026-01-02T00:09:30Z\","
		"\"labels\":{\"node-role.kubernetes.io/worker\":\"\",\"node-role.kubernetes.io/"
		"control-plane\":\"\"}},\"spec\":{\"unschedulable\":true},\"status\":{"
		"\"conditions\":[{"
		"\"type\":\"Ready\",\"status\":\"True\"}],\"addresses\":[{\"type\":\"InternalIP\","
		"\"address\":\"172.31.0.2\"}],\"nodeInfo\":{\"kubeletVersion\":\"v1.36.0\","
		"\"osImage\":"
		"\"Debian\",\"kernelVersion\":\"6.18\",\"containerRuntimeVersion\":\"containerd://"
		"1\"}}}",
		"n|Ready,SchedulingDisabled|control-plane,worker|30s|v1.36.0|172.31.0.2|<none>|"
		"Debian|"
		"6.18|containerd://1");
	expect("", "v1", "Node",
		"{\"metadata\":{\"name\":\"n\"},\"status\":{\"conditions\":[{\"type\":"
		"\"Ready\",\"status\":\"Unknown\"}]}}",
		"n|NotReady|<none>|<unknown>||<none>|<none>|<unknown>|<unknown>|<unknown>");
}

static void events(void **state)
{
	(void)state;
	expect("", "v1", "Event",
		"{" META
		",\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"x\",\"fieldPath\":\"f\"},"
		"\"reason\":\"R\",\"type\":\"Normal\",\"message\":\" said \\\"hi\\\" "
		"\\n\",\"count\":3,"
		"\"firstTimestamp\":\"2026-01-02T00:00:00Z\",\"lastTimestamp\":\"2026-01-02T00:09:"
		"00Z\","
		"\"source\":{\"component\":\"kubelet\",\"host\":\"n\"}}",
		"60s|Normal|R|pod/x|f|kubelet, n|said \"hi\"|10m|3|p");
	expect("events.k8s.io", "v1", "Event",
		"{" META
		",\"regarding\":{\"kind\":\"Node\",\"name\":\"n\"},\"reason\":\"R\",\"type\":"
		"\"Warning\",\"note\":\"m\",\"eventTime\":\"2026-01-02T00:08:00.000000Z\","
		"\"firstTimestamp\":null,\"reportingController\":\"s\",\"reportingInstance\":"
		"\"i\"}",
		"2m|Warning|R|node/n||s, i|m|2m|1|p");
}

/* An empty object fills every column of every kind with a string, a number or a boolean. */
static void every_kind(void **state)
{
	(void)state;
	for (size_t i = 0; i < kind_count(); i++) {
		const struct kind *k = kind_at(i);
		AUTO_BUF struct buf cols = {0}, row = {0};
		size_t n;
		table_columns(k, &cols);
		table_row(k, jv_of(STR("{\"metadata\":{}}")), 5, INCLUDE_OBJECT, now_ns(), &row);
		assert_true(jv_valid(buf_str(&cols), 16));
		assert_true(jv_valid(buf_str(&row), 16));
		n = jv_len(jv_of(buf_str(&cols)));
		if (jv_len(jv_get(jv_of(buf_str(&row)), "cells")) != n)
			fail_msg("%s: %zu columns, %s", k->kind, n, row.p);
		assert_true(jv_is_str(
			jv_path(jv_of(buf_str(&row)), "object.metadata.resourceVersion"), "5"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods),
		cmocka_unit_test(services),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(nodes),
		cmocka_unit_test(events),
		cmocka_unit_test(every_kind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
