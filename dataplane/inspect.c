/* SPDX-License-Identifier: Apache-2.0
 * Listings of services, backends, connections, endpoints, drops. */
#include "inspect.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <time.h>
#include "xebec/base/timefmt.h"

#define MAX_CPUS 1024

static const char *const reason_names[DROP_MAX] = {
#define DROP(name, text) [DROP_##name] = #name,
#include "xebec/abi/drop.def"
#undef DROP
};
static const char *const reason_texts[DROP_MAX] = {
#define DROP(name, text) [DROP_##name] = text,
#include "xebec/abi/drop.def"
#undef DROP
};
static const char *const count_names[CNT_MAX] = {
	[CNT_REJECT_RST] = "rejects_rst",
	[CNT_REJECT_ICMP] = "rejects_icmp",
	[CNT_ICMP_ERR] = "icmp_errors_translated",
	[CNT_PROMOTED] = "connections_established",
	[CNT_CT_FULL] = "connection_table_full",
	[CNT_SNAT] = "source_translations",
	[CNT_FRAG] = "fragments_matched",
	[CNT_REUSE] = "tuples_reused",
	[CNT_SOCK_KILL] = "sockets_destroyed",
	[CNT_BIND_REFUSED] = "binds_refused",
	[CNT_VX_OUT] = "vxlan_out",
	[CNT_VX_IN] = "vxlan_in",
	[CNT_MASQ] = "masqueraded_flows",
	[CNT_XDP] = "xdp_forwarded",
};

const char *drop_reason_name(uint32_t r)
{
	return r < DROP_MAX ? reason_names[r] : NULL;
}

const char *drop_reason_text(uint32_t r)
{
	return r < DROP_MAX ? reason_texts[r] : NULL;
}

/* ------------------------------------------------------------------ reading */

/* Sum over CPUs of an array of 64-bit counters; zeros when it cannot be read. */
static void percpu_sum(int fd, uint32_t key, uint64_t *out, size_t words)
{
	int cpus = libbpf_num_possible_cpus();
	memset(out, 0, words * sizeof *out);
	if (cpus < 1 || cpus > MAX_CPUS)
		return;
	AUTO_FREE uint64_t *v = calloc((size_t)cpus * words, sizeof *v);
	if (!v || bpf_map_lookup_elem(fd, &key, v))
		return;
	for (size_t i = 0; i < (size_t)cpus * words; i++)
		out[i % words] += v[i];
}

static const char *proto_str(uint8_t proto)
{
	return proto == IPPROTO_TCP    ? "TCP"
	       : proto == IPPROTO_UDP  ? "UDP"
	       : proto == IPPROTO_SCTP ? "SCTP"
	       : proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6
		       ? "ICMP" /* echo: ports are its identifier */
		       : "?";
}

#define ADDR_LEN 56 /* "[address]:port" */

static const char *addr_port(
	const uint8_t *a, uint8_t family, uint16_t port, char out[static ADDR_LEN])
{
	struct ip ip = {.family = family};
	char text[46];
	memcpy(ip.b, a, ip_len(&ip));
	ip_format(&ip, text);
	(void)snprintf(out, ADDR_LEN, family == 6 ? "[%s]:%u" : "%s:%u", text, port);
	return out;
}

static void put_str(json_t *row, const char *key, const char *v)
{
	(void)json_object_set_new(row, key, json_string(v));
}

static void put_int(json_t *row, const char *key, uint64_t v)
{
	(void)json_object_set_new(row, key, json_integer((json_int_t)v));
}

static json_t *row_new(json_t *rows, const char *node)
{
	json_t *row = json_object();
	(void)json_array_append_new(rows, row);
	put_str(row, "node", node);
	return row;
}

static void svc_name(struct maps *m, uint32_t svc, struct xb_svc_info *info)
{
	if (bpf_map_lookup_elem(maps_fd(m, MAP_svc_info), &svc, info)) {
		*info = (struct xb_svc_info){0};
		(void)snprintf(info->name, sizeof info->name, svc ? "#%u" : "-", svc);
	}
	info->name[sizeof info->name - 1] = 0;
}

/* ------------------------------------------------------------------ services */

/* Keys of svc4 and svc6. */
static const char *fe_label(const void *key, uint8_t family, char out[static ADDR_LEN])
{
	static const uint8_t any[16];
	const struct xb4_fe_key *k4 = key;
	const struct xb6_fe_key *k6 = key;
	const uint8_t *addr = family == 6 ? k6->addr : k4->addr;
	uint16_t port = family == 6 ? k6->port : k4->port;
	if (memcmp(addr, any, family == 6 ? 16 : 4) == 0)
		(void)snprintf(out, ADDR_LEN, "*:%u", port);
	else
		(void)addr_port(addr, family, port, out);
	return out;
}

static void frontend_join(char **list, const char *label, bool first)
{
	char *joined = NULL, *old = *list;
	int r = !old	? asprintf(&joined, "%s", label)
		: first ? asprintf(&joined, "%s %s", label, old)
			: asprintf(&joined, "%s %s", old, label);
	if (r < 0)
		return;
	free(old);
	*list = joined;
}

static void frontends_read(struct maps *m, uint8_t family, char **out, uint32_t n)
{
	union {
		struct xb4_fe_key v4;
		struct xb6_fe_key v6;
	} key, *prev = NULL;
	int fd = maps_fd(m, family == 6 ? MAP_svc6 : MAP_svc4);
	for (; bpf_map_get_next_key(fd, prev, &key) == 0; prev = &key) {
		struct xb_fe fe;
		char label[ADDR_LEN];
		if (bpf_map_lookup_elem(fd, &key, &fe) || fe.svc >= n)
			continue;
		/* people look for the cluster address at the start */
		frontend_join(&out[fe.svc], fe_label(&key, family, label), fe.kind == FE_CLUSTER);
	}
}

/* "10.96.0.10:80 *:30080" of each service, by index. Free each and the array. */
static char **frontends_of(struct maps *m, uint32_t n)
{
	char **out = calloc(n, sizeof *out);
	for (uint8_t family = 4; out && family <= 6; family += 2)
		frontends_read(m, family, out, n);
	return out;
}

static void flags_text(uint16_t f, char out[static 64])
{
	(void)snprintf(out, 64, "%s%s%s%s%s%s", f & SVC_ETP_LOCAL ? "ext-local " : "",
		f & SVC_ITP_LOCAL ? "int-local " : "", f & SVC_AFFINITY ? "affinity " : "",
		f & SVC_HASH ? "maglev " : "", f & SVC_LEAST ? "least-conn " : "",
		f & SVC_SRC_RANGE ? "src-ranges " : "");
	size_t n = strlen(out);
	if (n)
		out[n - 1] = 0;
	else
		(void)snprintf(out, 64, "-");
}

static int id_cmp(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* How many backends a run of choices names: tables repeat them. */
static uint64_t run_backends(struct maps *m, uint64_t sel)
{
	const struct xb_lut *lut = maps_mem(m, MAP_lut);
	uint32_t base = xb_sel_base(sel), n = xb_sel_count(sel);
	AUTO_FREE uint32_t *ids = calloc(n + 1, sizeof *ids);
	uint64_t found = 0;
	if (!ids || base + n > maps_max(m, MAP_lut))
		return 0;
	for (uint32_t i = 0; i < n; i++)
		ids[i] = lut[base + i].be;
	qsort(ids, n, sizeof *ids, id_cmp);
	for (uint32_t i = 0; i < n; i++)
		found += i == 0 || ids[i] != ids[i - 1];
	return found;
}

static void service_row(
	struct maps *m, const char *node, uint32_t idx, const char *fes, json_t *rows)
{
	const struct xb_svc *s = (const struct xb_svc *)maps_mem(m, MAP_svc_tab) + idx;
	struct xb_svc_info info;
	uint64_t st[sizeof(struct xb_svc_st) / 8];
	char text[64], when[28] = "-";
	json_t *row = row_new(rows, node);
	svc_name(m, idx, &info);
	percpu_sum(maps_fd(m, MAP_svc_st), idx, st, ARRAY_LEN(st));
	flags_text(s->flags, text);
	if (info.programmed_ns)
		time_rfc3339_micro((int64_t)info.programmed_ns, when);
	put_str(row, "service", info.name);
	put_str(row, "frontends", fes);
	put_int(row, "endpoints", run_backends(m, s->sel_cluster.word));
	put_int(row, "local", run_backends(m, s->sel_local.word));
	put_str(row, "options", text);
	put_int(row, "connections", st[0]);
	put_int(row, "refused", st[1]);
	put_int(row, "dropped", st[2]);
	put_int(row, "resourceVersion", info.rv);
	put_str(row, "programmed", when);
	put_int(row, "latencyMicroseconds", info.latency_us);
	put_int(row, "index", idx);
}

static int list_services(struct maps *m, const char *node, json_t *rows)
{
	uint32_t n = maps_max(m, MAP_svc_tab);
	AUTO_FREE char **fes = frontends_of(m, n);
	if (!fes)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (fes[i])
			service_row(m, node, i, fes[i], rows);
		free(fes[i]);
	}
	return 0;
}

static const char *be_addr(const struct xb_be *b, char out[static ADDR_LEN])
{
	return addr_port(b->addr, b->flags & BE_V6 ? 6 : 4, b->port, out);
}

static uint32_t open_of(struct maps *m, uint32_t be)
{
	const struct xb_open *o = maps_mem(m, MAP_be_open);
	return be < maps_max(m, MAP_be_open) ? o[be].open : 0;
}

static int list_backends(struct maps *m, const char *node, json_t *rows)
{
	const struct xb_be *be = maps_mem(m, MAP_be_tab);
	for (uint32_t i = 1; i < maps_max(m, MAP_be_tab); i++) {
		const struct xb_be *b = &be[i];
		struct xb_svc_info info;
		uint64_t st[sizeof(struct xb_be_st) / 8];
		char text[64];
		if (!(b->flags & BE_USED))
			continue;
		json_t *row = row_new(rows, node);
		svc_name(m, b->svc, &info);
		percpu_sum(maps_fd(m, MAP_be_st), i, st, ARRAY_LEN(st));
		put_str(row, "service", info.name);
		put_str(row, "backend", be_addr(b, text));
		put_str(row, "state",
			b->flags & BE_READY  ? "ready"
			: b->flags & BE_TERM ? "terminating"
					     : "not ready");
		put_str(row, "where", b->flags & BE_LOCAL ? "local" : "remote");
		put_int(row, "connections", st[4]);
		put_int(row, "open", open_of(m, i)); /* of services that choose by it */
		put_int(row, "packetsIn", st[0]);
		put_int(row, "bytesIn", st[1]);
		put_int(row, "packetsOut", st[2]);
		put_int(row, "bytesOut", st[3]);
		put_int(row, "resets", st[5]);
		put_int(row, "index", i);
	}
	return 0;
}

/* ------------------------------------------------------------------ connections */

static uint32_t tick_now(void)
{
	return (uint32_t)((uint64_t)time_mono() >> XB_TICK_SHIFT);
}

/* An entry of ct4 to ctn6: tuples differ in the length of their addresses only, and what follows
 * `to` is the same. */
struct flow {
	uint8_t family, proto;
	const uint8_t *saddr, *daddr, *to_saddr, *to_daddr;
	uint16_t sport, dport, to_sport, to_dport;
	struct flow_tail {
		uint32_t last, created, svc, be;
		uint16_t be_gen, flags;
	} t;
};
_Static_assert(sizeof(struct xb4_ct) - sizeof(struct xb4_tuple) ==
		       sizeof(struct xb6_ct) - sizeof(struct xb6_tuple),
	"ct");

static void tuple_read(const uint8_t *raw, unsigned len, const uint8_t **saddr,
	const uint8_t **daddr, uint16_t ports[2])
{
	*saddr = raw;
	*daddr = raw + len;
	memcpy(ports, raw + 2 * len, 4);
}

static struct flow flow_read(const uint8_t *key, const uint8_t *value, uint8_t family)
{
	struct flow f = {.family = family};
	unsigned len = family == 6 ? 16 : 4;
	size_t tuple = family == 6 ? sizeof(struct xb6_tuple) : sizeof(struct xb4_tuple);
	uint16_t ports[2];
	tuple_read(key, len, &f.saddr, &f.daddr, ports);
	f.sport = ports[0], f.dport = ports[1];
	f.proto = key[2 * len + 4];
	tuple_read(value, len, &f.to_saddr, &f.to_daddr, ports);
	f.to_sport = ports[0], f.to_dport = ports[1];
	memcpy(&f.t, value + tuple, sizeof f.t);
	return f;
}

static const char *ct_state(const struct flow *f)
{
	if (f->t.flags & CT_RST)
		return "reset";
	if (f->t.flags & CT_FIN)
		return "closing";
	if (f->t.flags & CT_HALF)
		return f->proto == IPPROTO_TCP ? "opening" : "one-way";
	return "established";
}

static void connection_row(struct maps *m, const char *node, const struct flow *f, json_t *rows)
{
	char a[ADDR_LEN];
	struct xb_svc_info info;
	uint32_t now = tick_now();
	json_t *row = row_new(rows, node);
	svc_name(m, f->t.svc, &info);
	put_str(row, "proto", proto_str(f->proto));
	put_str(row, "client", addr_port(f->saddr, f->family, f->sport, a));
	put_str(row, "frontend", addr_port(f->daddr, f->family, f->dport, a));
	put_str(row, "backend", addr_port(f->to_daddr, f->family, f->to_dport, a));
	bool same = memcmp(f->saddr, f->to_saddr, f->family == 6 ? 16 : 4) == 0 &&
		    f->sport == f->to_sport;
	put_str(row, "source", same ? "-" : addr_port(f->to_saddr, f->family, f->to_sport, a));
	put_str(row, "state", ct_state(f));
	put_int(row, "ageSeconds", now - f->t.created);
	put_int(row, "idleSeconds", now > f->t.last ? now - f->t.last : 0);
	put_str(row, "service", info.name);
}

/* Who goes where under which address of the node: flows whose source is translated. */
static void nat_row(struct maps *m, const char *node, const struct flow *f, json_t *rows)
{
	char a[ADDR_LEN];
	struct xb_svc_info info;
	uint32_t now = tick_now();
	if (!(f->t.flags & CT_SNAT))
		return;
	json_t *row = row_new(rows, node);
	svc_name(m, f->t.svc, &info);
	put_str(row, "proto", proto_str(f->proto));
	put_str(row, "client", addr_port(f->saddr, f->family, f->sport, a));
	put_str(row, "source", addr_port(f->to_saddr, f->family, f->to_sport, a));
	put_str(row, "destination", addr_port(f->to_daddr, f->family, f->to_dport, a));
	put_str(row, "why",
		f->t.flags & CT_HAIRPIN	    ? "hairpin"
		: f->t.flags & CT_KEEP_PORT ? "masquerade"
					    : "service");
	put_str(row, "portKept", f->sport == f->to_sport ? "yes" : "no");
	put_str(row, "state", ct_state(f));
	put_int(row, "idleSeconds", now > f->t.last ? now - f->t.last : 0);
	put_str(row, "service", info.name);
}

typedef void flow_row(struct maps *m, const char *node, const struct flow *f, json_t *rows);

static int list_flows(struct maps *m, const char *node, json_t *rows, flow_row *put)
{
	static const struct {
		enum map_id id;
		uint8_t family;
	} tables[] = {{MAP_ct4, 4}, {MAP_ctn4, 4}, {MAP_ct6, 6}, {MAP_ctn6, 6}};
	for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
		int fd = maps_fd(m, tables[t].id);
		uint8_t key[sizeof(struct xb6_tuple)], e[sizeof(struct xb6_ct)];
		void *prev = NULL;
		/* A table that changes meanwhile may start over: not for ever. */
		uint32_t left = 2 * maps_max(m, tables[t].id);
		for (; left-- && bpf_map_get_next_key(fd, prev, key) == 0; prev = key) {
			if (bpf_map_lookup_elem(fd, key, e))
				continue;
			struct flow f = flow_read(key, e, tables[t].family);
			if (!(f.t.flags & CT_REV))
				put(m, node, &f, rows);
		}
	}
	return 0;
}

static int list_connections(struct maps *m, const char *node, json_t *rows)
{
	return list_flows(m, node, rows, connection_row);
}

static int list_nat(struct maps *m, const char *node, json_t *rows)
{
	return list_flows(m, node, rows, nat_row);
}

static void endpoints_read(struct maps *m, const char *node, uint8_t family, json_t *rows)
{
	int fd = maps_fd(m, family == 6 ? MAP_ep6 : MAP_ep4);
	struct ip ip = {.family = family};
	void *prev = NULL;
	for (; bpf_map_get_next_key(fd, prev, ip.b) == 0; prev = ip.b) {
		struct xb6_ep ep; /* begins as xb_ep does */
		char text[46];
		if (bpf_map_lookup_elem(fd, ip.b, &ep))
			continue;
		json_t *row = row_new(rows, node);
		ip_format(&ip, text);
		put_str(row, "pod", text);
		put_int(row, "interface", ep.ifindex);
		(void)snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", ep.mac[0],
			ep.mac[1], ep.mac[2], ep.mac[3], ep.mac[4], ep.mac[5]);
		put_str(row, "mac", text);
	}
}

static int list_endpoints(struct maps *m, const char *node, json_t *rows)
{
	endpoints_read(m, node, 4, rows);
	endpoints_read(m, node, 6, rows);
	return 0;
}

static int list_drops(struct maps *m, const char *node, json_t *rows)
{
	for (uint32_t r = 1; r < DROP_MAX; r++) {
		uint64_t st[2];
		percpu_sum(maps_fd(m, MAP_stat), r, st, 2);
		if (!st[0])
			continue;
		json_t *row = row_new(rows, node);
		put_str(row, "reason", reason_names[r]);
		put_int(row, "packets", st[0]);
		put_int(row, "bytes", st[1]);
		put_str(row, "meaning", reason_texts[r]);
	}
	return 0;
}

/* ------------------------------------------------------------------ entry points */

static const struct {
	const char *name;
	int (*list)(struct maps *m, const char *node, json_t *rows);
} listings[] = {
	{"services", list_services},
	{"backends", list_backends},
	{"connections", list_connections},
	{"nat", list_nat},
	{"endpoints", list_endpoints},
	{"drops", list_drops},
};

const char *const *inspect_names(void)
{
	static const char *names[ARRAY_LEN(listings) + 1];
	for (size_t i = 0; i < ARRAY_LEN(listings); i++)
		names[i] = listings[i].name;
	return names;
}

int inspect_list(const char *what, const char *node, struct maps *m, json_t *rows, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(listings); i++)
		if (strcmp(listings[i].name, what) == 0) {
			int r = listings[i].list(m, node, rows);
			return r ? err_set(e, r, "InternalError", "list %s: %s", what, strerror(-r))
				 : 0;
		}
	return err_set(e, ENOENT, "NotFound", "no listing '%s'", what);
}

/* "latencyMicroseconds" -> "LATENCY-MICROSECONDS" */
static void heading(const char *key, char out[static 48])
{
	size_t n = 0;
	for (; *key && n < 46; key++) {
		bool upper = *key >= 'A' && *key <= 'Z';
		if (upper)
			out[n++] = '-';
		out[n++] = upper ? *key : (char)(*key - ('a' - 'A'));
	}
	out[n] = 0;
}

static const char *cell(const json_t *v, char out[static 32])
{
	if (json_is_string(v))
		return json_string_value(v);
	(void)snprintf(out, 32, "%lld", (long long)json_integer_value(v));
	return out;
}

#define MAX_COLUMNS 16

void inspect_table(const json_t *rows, FILE *out)
{
	int width[MAX_COLUMNS] = {0};
	json_t *first = json_array_get(rows, 0), *row, *v;
	const char *key;
	char text[48];
	size_t i, c = 0;
	json_object_foreach (first, key, v) {
		heading(key, text);
		if (c < MAX_COLUMNS)
			width[c++] = (int)strlen(text);
	}
	json_array_foreach (rows, i, row) {
		c = 0;
		json_object_foreach (row, key, v) {
			int n = (int)strlen(cell(v, text));
			if (c < MAX_COLUMNS && n > width[c])
				width[c] = n;
			c++;
		}
	}
	c = 0;
	json_object_foreach (first, key, v) {
		heading(key, text);
		(void)fprintf(out, "%-*s  ", width[c++ % MAX_COLUMNS], text);
	}
	(void)fprintf(out, first ? "\n" : "nothing\n");
	json_array_foreach (rows, i, row) {
		c = 0;
		json_object_foreach (row, key, v)
			(void)fprintf(out, "%-*s  ", width[c++ % MAX_COLUMNS], cell(v, text));
		(void)fputc('\n', out);
	}
}

struct drain {
	void (*fn)(void *arg, const struct xb_ev *ev);
	void *arg;
};

static int on_sample(void *ctx, void *data, size_t size)
{
	struct drain *d = ctx;
	if (size >= sizeof(struct xb_ev))
		d->fn(d->arg, data);
	return 0;
}

int inspect_drops(
	struct maps *m, int timeout_ms, void (*fn)(void *arg, const struct xb_ev *ev), void *arg)
{
	struct drain d = {fn, arg};
	struct ring_buffer *rb = ring_buffer__new(maps_fd(m, MAP_ev), on_sample, &d, NULL);
	if (!rb)
		return -errno;
	int r = ring_buffer__poll(rb, timeout_ms);
	ring_buffer__free(rb);
	return r;
}

/* ------------------------------------------------------------------ metrics */

static void metric_head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void metrics_programmer(const struct programmer *p, struct buf *b)
{
	struct programmer_stats s;
	uint64_t sum = 0;
	programmer_stats(p, &s);
	metric_head(b, "xebec_dataplane_publish_latency_seconds", "histogram",
		"Time from the watch event to the kernel.");
	for (size_t i = 0; i < ARRAY_LEN(programmer_le_us); i++) {
		sum += s.latency_le[i];
		if (programmer_le_us[i] == UINT32_MAX)
			buf_addf(b,
				"xebec_dataplane_publish_latency_seconds_bucket{le=\"+Inf\"} %lu\n",
				sum);
		else
			buf_addf(b,
				"xebec_dataplane_publish_latency_seconds_bucket{le=\"%g\"} %lu\n",
				programmer_le_us[i] / 1e6, sum);
	}
	buf_addf(b,
		"xebec_dataplane_publish_latency_seconds_sum %g\n"
		"xebec_dataplane_publish_latency_seconds_count %lu\n",
		(double)s.latency_us_sum / 1e6, s.latency_n);
	metric_head(b, "xebec_dataplane_publish_failures_total", "counter",
		"Services that could not be programmed.");
	buf_addf(b, "xebec_dataplane_publish_failures_total %lu\n", s.failures);
	metric_head(b, "xebec_dataplane_rows", "gauge", "Rows in use, by map.");
	buf_addf(b,
		"xebec_dataplane_rows{map=\"svc_tab\"} %u\nxebec_dataplane_rows{map=\"be_tab\"} "
		"%u\nxebec_dataplane_rows{map=\"lut\"} %u\n",
		s.usage.svc, s.usage.be, s.usage.lut);
	metric_head(b, "xebec_dataplane_connections", "gauge",
		"Tracked directions at the last sweep (two a connection).");
	buf_addf(b, "xebec_dataplane_connections %u\n", s.last_gc.checked);
}

/* Series for at most so many service ports and backends: the rest is in `xebec lb`. */
#define METRICS_MAX 1000

struct sample { /* of one service port or backend: read once, written to several series */
	struct xb_svc_info info;
	char backend[64];
	uint64_t st[6];
};
struct series {
	const char *name, *help;
};

static void series_add(
	struct buf *b, const struct series *rows, size_t n_rows, const struct sample *v, size_t n)
{
	for (size_t k = 0; k < n_rows; k++) {
		metric_head(b, rows[k].name, "counter", rows[k].help);
		for (size_t i = 0; i < n; i++) {
			buf_addf(b, "%s{service=", rows[k].name);
			buf_add_json_str(b, str_of(v[i].info.name));
			if (v[i].backend[0])
				buf_addf(b, ",backend=\"%s\"", v[i].backend);
			buf_addf(b, "} %lu\n", v[i].st[k]);
		}
	}
}

static void metrics_services(struct maps *m, struct sample *v, struct buf *b)
{
	static const struct series rows[] = {
		{"xebec_service_connections_total", "New connections, by service port."},
		{"xebec_service_refused_total", "Connections refused for want of endpoints."},
		{"xebec_service_dropped_total", "Connections dropped, for whatever reason."}};
	uint32_t key, *prev = NULL;
	size_t n = 0;
	for (; n < METRICS_MAX && bpf_map_get_next_key(maps_fd(m, MAP_svc_info), prev, &key) == 0;
		prev = &key, n++) {
		v[n].backend[0] = 0;
		svc_name(m, key, &v[n].info);
		percpu_sum(maps_fd(m, MAP_svc_st), key, v[n].st, sizeof(struct xb_svc_st) / 8);
	}
	series_add(b, rows, ARRAY_LEN(rows), v, n);
}

static void metrics_backends(struct maps *m, struct sample *v, struct buf *b)
{
	static const struct series rows[] = {
		{"xebec_backend_packets_in_total", "Packets to the backend."},
		{"xebec_backend_bytes_in_total", "Bytes to the backend."},
		{"xebec_backend_packets_out_total", "Packets of the backend."},
		{"xebec_backend_bytes_out_total", "Bytes of the backend."},
		{"xebec_backend_connections_total", "Connections given to the backend."},
		{"xebec_backend_resets_total", "Resets that the backend sent."}};
	const struct xb_be *be = maps_mem(m, MAP_be_tab);
	size_t n = 0;
	for (uint32_t i = 1; i < maps_max(m, MAP_be_tab) && n < METRICS_MAX; i++) {
		if (!(be[i].flags & BE_USED))
			continue;
		svc_name(m, be[i].svc, &v[n].info);
		(void)be_addr(&be[i], v[n].backend);
		percpu_sum(maps_fd(m, MAP_be_st), i, v[n].st, sizeof(struct xb_be_st) / 8);
		n++;
	}
	series_add(b, rows, ARRAY_LEN(rows), v, n);
}

void inspect_metrics(struct maps *m, const struct programmer *p, struct buf *b)
{
	uint64_t st[2];
	metric_head(b, "xebec_dataplane_drops_total", "counter", "Packets dropped, by reason.");
	for (uint32_t r = 1; r < DROP_MAX; r++) {
		percpu_sum(maps_fd(m, MAP_stat), r, st, 2);
		buf_addf(b, "xebec_dataplane_drops_total{reason=\"%s\"} %lu\n", reason_names[r],
			st[0]);
	}
	metric_head(
		b, "xebec_dataplane_events_total", "counter", "What the programs did, by kind.");
	for (uint32_t i = CNT_FIRST; i < CNT_MAX; i++) {
		percpu_sum(maps_fd(m, MAP_stat), i, st, 2);
		buf_addf(b, "xebec_dataplane_events_total{kind=\"%s\"} %lu\n", count_names[i],
			st[0]);
	}
	AUTO_FREE struct sample *v = calloc(METRICS_MAX, sizeof *v);
	if (v) {
		metrics_services(m, v, b);
		metrics_backends(m, v, b);
	}
	if (p)
		metrics_programmer(p, b);
}
