/* SPDX-License-Identifier: Apache-2.0
 * Host ports: CNI port mappings -> rows of the service maps. A file is one JSON object,
 * {"pod":"ns/name","ips":["10.244.1.5"],"mappings":[...]}, named <container>.json. */
#include "hostport.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include "xebec/base/htab.h"

#define SUFFIX	  ".json"
#define MAX_IPS	  2
#define MAX_NODE  64
#define MAX_PORTS 1024

struct pm {		   /* one mapping */
	struct ip host_ip; /* family 0 = every address of the node */
	uint16_t host_port, port;
	uint8_t proto;
};

struct pod_ports {
	char *container, *pod;
	struct ip ips[MAX_IPS];
	size_t n_ips, n;
	struct pm *v;
};

struct hostports {
	char *dir;
	struct htab *pods; /* container -> struct pod_ports */
	struct hostport_sink sink;
	bool started;
};

static void pod_free(void *arg)
{
	struct pod_ports *p = arg;
	if (!p)
		return;
	free(p->container);
	free(p->pod);
	free(p->v);
	free(p);
}

static void cleanup_pod(struct pod_ports **p)
{
	pod_free(*p);
}

/* ------------------------------------------------------------------ reading */

static uint8_t proto_of(struct jv v)
{
	static const struct {
		const char *name;
		uint8_t proto;
	} rows[] = {{"tcp", IPPROTO_TCP}, {"TCP", IPPROTO_TCP}, {"udp", IPPROTO_UDP},
		{"UDP", IPPROTO_UDP}, {"sctp", IPPROTO_SCTP}, {"SCTP", IPPROTO_SCTP}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (jv_is_str(v, rows[i].name))
			return rows[i].proto;
	return jv_present(v) && jv_raw_str(v).n ? 0 : IPPROTO_TCP;
}

static bool is_any(const struct ip *ip)
{
	static const uint8_t zero[16];
	return memcmp(ip->b, zero, 16) == 0;
}

/* 1 = a mapping, 0 = one without a host port, -EINVAL. */
static int pm_read(struct jv v, struct pm *out)
{
	int64_t host = jv_int(jv_get(v, "hostPort"), 0),
		port = jv_int(jv_get(v, "containerPort"), 0);
	struct str ip = jv_raw_str(jv_get(v, "hostIP"));
	*out = (struct pm){.host_port = (uint16_t)host,
		.port = (uint16_t)port,
		.proto = proto_of(jv_get(v, "protocol"))};
	if (host == 0)
		return 0;
	if (host < 0 || host > 65535 || port < 1 || port > 65535 || !out->proto ||
		(ip.n && ip_parse(ip, &out->host_ip)))
		return -EINVAL;
	if (is_any(&out->host_ip) && out->host_ip.family == 4)
		out->host_ip.family = 0; /* 0.0.0.0 is what "no address" is written as, too */
	return 1;
}

static int mappings_read(struct pod_ports *p, struct jv list, struct err *e)
{
	size_t n = jv_len(list);
	if (n > MAX_PORTS)
		return err_set(e, EINVAL, "Invalid", "%zu port mappings: too many", n);
	p->v = calloc(n + 1, sizeof *p->v);
	if (!p->v)
		return err_set(e, ENOMEM, NULL, "out of memory");
	jv_each (it, list) {
		int r = pm_read(it.v, &p->v[p->n]);
		if (r < 0)
			return err_set(
				e, EINVAL, "Invalid", "port mapping %.*s", STR_FMT(jv_bytes(it.v)));
		p->n += (size_t)r;
	}
	return 0;
}

static struct pod_ports *pod_new(const char *container, const char *pod)
{
	struct pod_ports *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	p->container = strdup(container);
	p->pod = strdup(pod);
	if (p->container && p->pod)
		return p;
	pod_free(p);
	return NULL;
}

/* ------------------------------------------------------------------ files */

static void path_of(const struct hostports *h, const char *container, struct buf *out)
{
	buf_addf(out, "%s/%s" SUFFIX, h->dir, container);
}

static int file_load(struct hostports *h, const char *name)
{
	AUTO_BUF struct buf path = {0}, text = {0};
	struct err e = {0};
	path_of(h, name, &path);
	int r = path.err ? path.err : file_read(path.p, 1 << 20, &text);
	if (r < 0)
		return r;
	struct jv v = jv_of(buf_str(&text));
	if (!jv_valid(buf_str(&text), 16))
		return unlink(path.p) < 0 ? -errno : 0; /* not ours, or damaged */
	AUTO_FREE char *pod = jv_strdup(jv_get(v, "pod"));
	AUTO(cleanup_pod) struct pod_ports *p = pod ? pod_new(name, pod) : NULL;
	if (!p)
		return -ENOMEM;
	jv_each (it, jv_get(v, "ips"))
		if (p->n_ips < MAX_IPS && ip_parse(jv_raw_str(it.v), &p->ips[p->n_ips]) == 0)
			p->n_ips++;
	r = mappings_read(p, jv_get(v, "mappings"), &e);
	if (r == 0 && (r = htab_put(h->pods, str_of(p->container), p, NULL)) == 0)
		p = NULL;
	return r == -EINVAL ? 0 : r;
}

/* 0 also for what a killed writer left beside the file: it goes. */
static int file_see(struct hostports *h, const char *file)
{
	AUTO_BUF struct buf path = {0};
	size_t n = strlen(file), k = sizeof(SUFFIX) - 1;
	if (n > k && strcmp(file + n - k, SUFFIX) == 0) {
		AUTO_FREE char *name = str_dup((struct str){file, n - k});
		return name ? file_load(h, name) : -ENOMEM;
	}
	buf_addf(&path, "%s/%s", h->dir, file);
	if (!path.err)
		(void)unlink(path.p);
	return path.err;
}

static int files_load(struct hostports *h, struct err *e)
{
	DIR *d = opendir(h->dir);
	if (!d)
		return err_set(e, errno, NULL, "open '%s'", h->dir);
	int r = 0;
	for (struct dirent *de; r == 0 && (de = readdir(d));)
		if (de->d_name[0] != '.')
			r = file_see(h, de->d_name);
	(void)closedir(d);
	return r < 0 ? err_set(e, r, NULL, "read host ports in '%s'", h->dir) : 0;
}

static int file_save(
	const struct hostports *h, const struct pod_ports *p, struct jv mappings, struct err *e)
{
	AUTO_BUF struct buf path = {0}, text = {0};
	path_of(h, p->container, &path);
	buf_adds(&text, "{\"pod\":");
	buf_add_json_str(&text, str_of(p->pod));
	buf_adds(&text, ",\"ips\":[");
	for (size_t i = 0; i < p->n_ips; i++) {
		char ip[46];
		ip_format(&p->ips[i], ip);
		buf_addf(&text, "%s\"%s\"", i ? "," : "", ip);
	}
	buf_adds(&text, "],\"mappings\":");
	buf_add_str(&text, jv_bytes(mappings));
	buf_adds(&text, "}\n");
	int r = path.err   ? path.err
		: text.err ? text.err
			   : file_write_atomic(path.p, buf_str(&text), 0600);
	return r < 0 ? err_set(e, r, NULL, "write host ports '%s'", path.p ? path.p : "") : 0;
}

static void file_remove(const struct hostports *h, const char *container)
{
	AUTO_BUF struct buf path = {0};
	path_of(h, container, &path);
	if (!path.err)
		(void)unlink(path.p);
}

/* ------------------------------------------------------------------ rows */

static void row_name(const struct pod_ports *p, const struct pm *m, const struct ip *ip,
	char out[static XB_NAME_LEN])
{
	char at[48] = "";
	if (m->host_ip.family) {
		ip_format(&m->host_ip, at + 1);
		at[0] = '@';
	}
	/* The container is part of it: a pod of the same name may come before the old one goes. */
	(void)snprintf(out, XB_NAME_LEN, "%.110s.%.12s%s:%u/%s%s", p->pod, p->container, at,
		m->host_port,
		m->proto == IPPROTO_TCP	  ? "TCP"
		: m->proto == IPPROTO_UDP ? "UDP"
					  : "SCTP",
		ip->family == 6 ? "/v6" : "");
}

/* The frontends of a mapping: its own address, or all of the node's, of the pod's family. */
static size_t frontends(const struct hostports *h, const struct pm *m, uint8_t family,
	struct want_fe out[static MAX_NODE])
{
	struct ip ips[MAX_NODE];
	size_t n = 0, all = 1;
	if (m->host_ip.family && !is_any(&m->host_ip))
		ips[0] = m->host_ip;
	else if (m->host_ip.family == 6 && family != 6)
		return 0; /* :: means IPv6 only */
	else
		all = h->sink.node_ips(h->sink.arg, ips, MAX_NODE);
	for (size_t i = 0; i < all && i < MAX_NODE; i++)
		if (ips[i].family == family)
			out[n++] = (struct want_fe){ips[i], m->host_port, FE_NODEPORT};
	return n;
}

static int row_set(struct hostports *h, const struct pod_ports *p, const struct pm *m,
	const struct ip *ip, struct err *e)
{
	struct want_fe fes[MAX_NODE];
	uint32_t first = 0;
	struct want_be be = {.ip = *ip,
		.port = m->port,
		.flags = (uint16_t)(BE_READY | BE_LOCAL | (ip->family == 6 ? BE_V6 : 0))};
	struct want_svc w = {.proto = m->proto,
		.family = ip->family,
		.port = m->host_port,
		.fes = fes,
		.n_fes = frontends(h, m, ip->family, fes),
		.bes = &be,
		.n_bes = 1,
		.cluster = &first,
		.n_cluster = 1,
		.local = &first,
		.n_local = 1};
	row_name(p, m, ip, w.name);
	return w.n_fes ? h->sink.set(h->sink.arg, &w, e) : 0;
}

static int pod_program(struct hostports *h, const struct pod_ports *p, struct err *e)
{
	int r = 0;
	for (size_t i = 0; h->started && r == 0 && i < p->n; i++)
		for (size_t k = 0; r == 0 && k < p->n_ips; k++)
			r = row_set(h, p, &p->v[i], &p->ips[k], e);
	return r;
}

static void pod_unprogram(struct hostports *h, const struct pod_ports *p)
{
	char name[XB_NAME_LEN];
	for (size_t i = 0; h->started && i < p->n; i++)
		for (size_t k = 0; k < p->n_ips; k++) {
			row_name(p, &p->v[i], &p->ips[k], name);
			h->sink.del(h->sink.arg, name);
		}
	if (h->started)
		h->sink.flush(h->sink.arg);
}

/* ------------------------------------------------------------------ entry points */

int hostports_open(const char *dir, struct hostports **ret, struct err *e)
{
	struct hostports *h = calloc(1, sizeof *h);
	if (!h)
		return err_set(e, ENOMEM, NULL, "out of memory");
	h->dir = strdup(dir);
	h->pods = htab_new();
	int r = h->dir && h->pods ? mkdir_p(dir, 0700) : -ENOMEM;
	r = r < 0 ? err_set(e, r, NULL, "make '%s'", dir) : files_load(h, e);
	if (r < 0) {
		hostports_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void hostports_free(struct hostports *h)
{
	if (!h)
		return;
	if (h->pods)
		htab_free(h->pods, pod_free);
	free(h->dir);
	free(h);
}

int hostports_start(struct hostports *h, const struct hostport_sink *sink, struct err *e)
{
	int r = 0;
	h->sink = *sink;
	h->started = true;
	htab_each (h->pods, it) {
		int one = pod_program(h, it.value, e);
		r = r ? r : one;
	}
	h->sink.flush(h->sink.arg);
	return r;
}

void hostports_refresh(struct hostports *h)
{
	struct err e = {0};
	htab_each (h->pods, it)
		(void)pod_program(h, it.value, &e);
	if (h->started)
		h->sink.flush(h->sink.arg);
}

int hostports_set(struct hostports *h, const char *container, const char *pod, const struct ip *ips,
	size_t n_ips, struct jv mappings, struct err *e)
{
	AUTO(cleanup_pod) struct pod_ports *p = pod_new(container, pod);
	if (!p)
		return err_set(e, ENOMEM, NULL, "out of memory");
	int r = jv_present(mappings) ? mappings_read(p, mappings, e) : 0;
	for (; p->n_ips < MAX_IPS && p->n_ips < n_ips; p->n_ips++)
		p->ips[p->n_ips] = ips[p->n_ips];
	if (r < 0)
		return r;
	hostports_del(h, container);
	if (p->n == 0)
		return 0;
	/* The file first: after a crash in between, the row is made again rather than lost. */
	if ((r = file_save(h, p, mappings, e)) < 0)
		return r;
	if (htab_put(h->pods, str_of(p->container), p, NULL) < 0) {
		file_remove(h, container);
		return err_set(e, ENOMEM, NULL, "out of memory");
	}
	r = pod_program(h, STEAL(p), e);
	if (r < 0)
		hostports_del(h, container);
	else if (h->started)
		h->sink.flush(h->sink.arg);
	return r;
}

void hostports_del(struct hostports *h, const char *container)
{
	struct pod_ports *p = htab_del(h->pods, str_of(container));
	if (!p)
		return;
	pod_unprogram(h, p);
	file_remove(h, container);
	pod_free(p);
}

bool hostports_match(const struct hostports *h, const char *container, struct jv mappings)
{
	const struct pod_ports *have = htab_get(h->pods, str_of(container));
	struct err e = {0};
	AUTO(cleanup_pod) struct pod_ports *want = pod_new(container, "");
	if (!want || (jv_present(mappings) && mappings_read(want, mappings, &e) < 0))
		return false;
	if (!have || want->n == 0)
		return !have && want->n == 0;
	if (have->n != want->n)
		return false;
	for (size_t i = 0; i < want->n; i++) {
		const struct pm *a = &have->v[i], *b = &want->v[i];
		if (a->host_port != b->host_port || a->port != b->port || a->proto != b->proto ||
			memcmp(&a->host_ip, &b->host_ip, sizeof a->host_ip) != 0)
			return false;
	}
	return true;
}

void hostports_sweep(struct hostports *h, bool (*keep)(void *arg, const char *container), void *arg)
{
	bool again = true;
	while (again) { /* a removal ends the walk */
		again = false;
		htab_each (h->pods, it) {
			const struct pod_ports *p = it.value;
			if (keep(arg, p->container))
				continue;
			hostports_del(h, p->container);
			again = true;
			break;
		}
	}
}

size_t hostports_len(const struct hostports *h)
{
	return htab_len(h->pods);
}
