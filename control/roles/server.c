/* SPDX-License-Identifier: Apache-2.0
 * `xebec server`: store, API server, controllers and scheduler in one process. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/socket.h>

#include "apiserver/apiserver.h"
#include "roles/options.h"
#include "roles/roles.h"
#include "roles/server_parts.h"
#include "roles/server_pki.h"
#include "xebec/base/httpd.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

enum { IO_THREADS = 2, MAX_BODY = 3 << 20, MAX_HEADER = 256 << 10, MAX_CONNS = 8192, FDS_MAX = 4 };

struct options {
	const char *data_dir, *listen, *advertise, *service_cidr, *cluster_cidr, *node_ports,
		*cluster_dns, *token_file;
	int listen_fds[FDS_MAX];
	size_t n_fds;
	uint16_t port_min, port_max;
};

/* --- options: one table for parsing and help --- */

static const struct opt_row {
	const char *name, *arg, *help;
	size_t offset; /* of a string in struct options; listen-fd has its own place */
} opt_rows[] = {
#define OPT(name, arg, field, help)                                                                \
	{                                                                                          \
		name, arg, help, offsetof(struct options, field)                                   \
	}
	OPT("data-dir", "DIR", data_dir, "keys, store and kubeconfig (/var/lib/xebec)"),
	OPT("listen", "ADDR:PORT", listen, "serve the API here (127.0.0.1:6443)"),
	OPT("listen-fd", "N", listen_fds, "also serve on this inherited listening socket"),
	OPT("advertise", "IP:PORT", advertise, "endpoint of the Service default/kubernetes"),
	OPT("service-cidr", "CIDR", service_cidr,
		"cluster addresses (10.96.0.0/16); IPv4,IPv6 for dual stack"),
	OPT("cluster-cidr", "CIDR", cluster_cidr,
		"pod addresses, a /24 a node (10.244.0.0/16); IPv4,IPv6 for dual stack"),
	OPT("node-port-range", "A-B", node_ports, "node ports (30000-32767)"),
	OPT("cluster-dns", "IP", cluster_dns,
		"address of the DNS Service, or \"none\" (the tenth of the service range)"),
	OPT("token-file", "FILE", token_file, "bearer tokens: token,user,uid,\"group,group\""),
#undef OPT
};

static void usage(FILE *out)
{
	(void)fprintf(out, "usage: xebec server [options]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(opt_rows); i++)
		(void)fprintf(out, "  --%-16s %-10s %s\n", opt_rows[i].name, opt_rows[i].arg,
			opt_rows[i].help);
}

static int bad(const char *what, const char *value)
{
	(void)fprintf(stderr, "xebec server: %s '%s'\n", what, value);
	return -EINVAL;
}

static int take_option(struct options *o, const struct opt_row *row, const char *value)
{
	uint64_t n;
	if (row->offset != offsetof(struct options, listen_fds)) {
		*(const char **)((char *)o + row->offset) = value;
		return 0;
	}
	if (str_u64(str_of(value), &n) < 0 || n > 65535 || o->n_fds == FDS_MAX)
		return bad("listen-fd: not a file descriptor, or too many:", value);
	o->listen_fds[o->n_fds++] = (int)n;
	return 0;
}

static int parse_ports(struct options *o)
{
	struct str s = str_of(o->node_ports), a = str_cut(&s, '-');
	uint64_t lo, hi;
	if (str_u64(a, &lo) < 0 || str_u64(s, &hi) < 0 || lo == 0 || lo > hi || hi > 65535)
		return bad("node-port-range: want A-B within 1-65535, not", o->node_ports);
	o->port_min = (uint16_t)lo;
	o->port_max = (uint16_t)hi;
	return 0;
}

/* 1: help was asked for. */
static int parse_options(int argc, char **argv, struct options *o)
{
	struct option longs[ARRAY_LEN(opt_rows) + 2] = {0};
	for (size_t i = 0; i < ARRAY_LEN(opt_rows); i++)
		longs[i] = (struct option){opt_rows[i].name, required_argument, NULL, (int)i + 256};
	longs[ARRAY_LEN(opt_rows)] = (struct option){"help", no_argument, NULL, 'h'};
	optind = 1;
	for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
		if (c == 'h')
			return 1;
		if (c < 256)
			return -EINVAL;
		int rc = take_option(o, &opt_rows[c - 256], optarg);
		if (rc < 0)
			return rc;
	}
	if (optind < argc)
		return bad("unknown argument", argv[optind]);
	return parse_ports(o);
}

/* --- addresses --- */

/* "https://ADDR:PORT" of a listening socket, any-addresses as loopback. */
static int socket_url(int fd, char *out, size_t cap, char *ret_ip, size_t ip_cap)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &n) < 0)
		return -errno;
	char ip[INET6_ADDRSTRLEN] = "127.0.0.1";
	uint16_t port = 0;
	if (ss.ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&ss;
		port = ntohs(v4->sin_port);
		if (v4->sin_addr.s_addr != htonl(INADDR_ANY))
			(void)inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
	} else if (ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&ss;
		port = ntohs(v6->sin6_port);
		if (!IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
			(void)inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
	}
	bool v6 = strchr(ip, ':') != NULL;
	(void)snprintf(out, cap, "https://%s%s%s:%u", v6 ? "[" : "", ip, v6 ? "]" : "", port);
	(void)snprintf(ret_ip, ip_cap, "%s", ip);
	return 0;
}

/* --- the process --- */

struct server {
	struct options o;
	struct loop *loop;
	struct server_pki pki;
	struct store *store;
	struct apiserver *api;
	struct tls_ctx *tls;
	struct httpd *httpd;
	struct server_parts *parts;
	char url[128], advertise[128], dns[16];
};

static int open_listeners(
	struct server *s, int fds[static FDS_MAX + 1], size_t *ret_n, struct err *e)
{
	size_t n = 0;
	for (; n < s->o.n_fds; n++)
		fds[n] = s->o.listen_fds[n];
	int fd = net_listen(s->o.listen, e);
	if (fd < 0)
		return err_prefix(e, "--listen %s", s->o.listen);
	fds[n++] = fd;
	*ret_n = n;
	return 0;
}

static int open_pki(struct server *s, const int *fds, size_t n, struct err *e)
{
	char ips[FDS_MAX + 3][80], dir[4096], url[128], ip[64];
	const char *sans[FDS_MAX + 12] = {"DNS:localhost", "DNS:kubernetes",
		"DNS:kubernetes.default", "DNS:kubernetes.default.svc",
		"DNS:kubernetes.default.svc.cluster.local", "IP:127.0.0.1"};
	size_t k = 6, m = 0;
	for (size_t i = 0; i < n; i++) {
		if (socket_url(fds[i], url, sizeof(url), ip, sizeof(ip)) < 0)
			return err_set(
				e, EINVAL, NULL, "descriptor %d is not a listening socket", fds[i]);
		if (i == 0)
			(void)snprintf(s->url, sizeof(s->url), "%s", url);
		(void)snprintf(ips[m], sizeof(ips[m]), "IP:%s", ip);
		sans[k++] = ips[m++];
	}
	if (options_nth_address(s->o.service_cidr, 1, ip)) {
		(void)snprintf(ips[m], sizeof(ips[m]), "IP:%s", ip);
		sans[k++] = ips[m++];
	}
	/* without --advertise: where --listen is */
	(void)snprintf(s->advertise, sizeof(s->advertise), "%s",
		s->o.advertise ? s->o.advertise : url + strlen("https://"));
	const char *colon = strrchr(s->advertise, ':');
	if (colon) {
		(void)snprintf(ips[m], sizeof(ips[m]), "IP:%.*s", (int)(colon - s->advertise),
			s->advertise);
		sans[k++] = ips[m++];
	}
	(void)snprintf(dir, sizeof(dir), "%s/pki", s->o.data_dir);
	return server_pki_open(dir, sans, &s->pki, e);
}

/* NULL: no Service for it. */
static const char *cluster_dns(struct server *s)
{
	const char *given = s->o.cluster_dns;
	if (given)
		return strcmp(given, "none") == 0 ? NULL : given;
	return options_nth_address(s->o.service_cidr, 10, s->dns) ? s->dns : NULL;
}

static int open_api(struct server *s, struct err *e)
{
	char dir[4096];
	(void)snprintf(dir, sizeof(dir), "%s/store", s->o.data_dir);
	struct store_embedded_config sc = {.dir = dir};
	int rc = store_open_embedded(&sc, &s->store, e);
	if (rc < 0)
		return err_prefix(e, "store %s", dir);
	struct apiserver_config ac = {.store = s->store,
		.loop = s->loop,
		.service_cidr = s->o.service_cidr,
		.cluster_dns = cluster_dns(s),
		.node_port_min = s->o.port_min,
		.node_port_max = s->o.port_max,
		.advertise = s->advertise,
		.sa_key_pem = buf_str(&s->pki.sa_key),
		.ca_pem = buf_str(&s->pki.ca_crt),
		.kubelet_cert_pem = buf_str(&s->pki.kubelet_crt),
		.kubelet_key_pem = buf_str(&s->pki.kubelet_key),
		.token_file = s->o.token_file};
	return apiserver_new(&ac, &s->api, e);
}

static int open_http(struct server *s, const int *fds, size_t n, struct err *e)
{
	int rc = tls_server_ctx(buf_str(&s->pki.server_crt), buf_str(&s->pki.server_key),
		buf_str(&s->pki.ca_crt), &s->tls, e);
	if (rc < 0)
		return rc;
	struct httpd_config hc = {.handler = apiserver_handle,
		.srv = s->api,
		.tls = s->tls,
		.threads = IO_THREADS,
		.max_body = MAX_BODY,
		.refusal = apiserver_refusal,
		.max_header = MAX_HEADER,
		.max_conns = MAX_CONNS,
		.idle_timeout_ns = 180 * NS_PER_SEC,
		.header_timeout_ns = 60 * NS_PER_SEC};
	rc = httpd_new(&hc, &s->httpd, e);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = httpd_listen_fd(s->httpd, fds[i], e);
	return rc;
}

static void on_signal(int sig, void *arg)
{
	struct server *s = arg;
	log_info("signal %d: stopping", sig);
	loop_stop(s->loop);
}

static int start(struct server *s, struct err *e)
{
	static const int signals[] = {SIGINT, SIGTERM};
	int fds[FDS_MAX + 1];
	size_t n = 0;
	char path[4096];
	int rc = mkdir_p(s->o.data_dir, 0700);
	if (rc < 0)
		return err_set(e, -rc, NULL, "cannot make %s", s->o.data_dir);
	(void)signal(SIGPIPE, SIG_IGN);
	s->loop = loop_new();
	if (!s->loop)
		return err_set(e, errno, NULL, "event loop");
	rc = loop_signals(s->loop, signals, ARRAY_LEN(signals), on_signal, s);
	if (rc == 0)
		rc = open_listeners(s, fds, &n, e);
	if (rc == 0)
		rc = open_pki(s, fds, n, e);
	if (rc == 0)
		rc = open_api(s, e);
	if (rc == 0)
		rc = open_http(s, fds, n, e);
	struct server_parts_config pc = {.handler = apiserver_handle,
		.srv = s->api,
		.cluster_cidr = s->o.cluster_cidr,
		.service_cidr = s->o.service_cidr,
		.ca_pem = buf_str(&s->pki.ca_crt)};
	if (rc == 0)
		rc = server_parts_start(&pc, &s->parts, e);
	if (rc < 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/admin.kubeconfig", s->o.data_dir);
	return server_kubeconfig_write(path, s->url, &s->pki, e);
}

/* Transactions answer in their order: after this one, no callback of another is to come. */
static void store_barrier(struct store *s)
{
	struct store_txn t = {
		.key = STR("/barrier"), .compare = true, .expect_mod_rev = UINT64_MAX, .del = true};
	struct store_txn_result r = {0};
	struct err e = {0};
	if (store_txn_sync(s, &t, &r, &e) == 0)
		store_val_unref(r.cur);
}

static void stop(struct server *s)
{
	server_parts_halt(s->parts);
	if (s->httpd)
		httpd_stop(s->httpd);
	if (s->store)
		store_barrier(s->store);
	server_parts_free(s->parts);
	httpd_free(s->httpd);
	apiserver_free(s->api);
	if (s->store)
		s->store->ops->close(s->store);
	tls_ctx_free(s->tls);
	server_pki_free(&s->pki);
	if (s->loop)
		loop_free(s->loop);
}

int role_server(int argc, char **argv)
{
	struct server s = {.o = {.data_dir = "/var/lib/xebec",
				   .listen = "127.0.0.1:6443",
				   .service_cidr = "10.96.0.0/16",
				   .cluster_cidr = "10.244.0.0/16",
				   .node_ports = "30000-32767"}};
	struct err e = {0};
	int rc = parse_options(argc, argv, &s.o);
	if (rc) {
		usage(rc > 0 ? stdout : stderr);
		return rc > 0 ? 0 : 2;
	}
	log_init("server", LOG_LEVEL_INFO);
	rc = start(&s, &e);
	if (rc == 0) {
		log_info("serving %s", s.url);
		rc = loop_run(s.loop);
	} else {
		log_error("%s", e.msg);
	}
	stop(&s);
	return rc < 0;
}
