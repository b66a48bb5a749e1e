/* SPDX-License-Identifier: Apache-2.0
 * kubeconfig files in every shape, and calls over real TLS to a server that asks for certificates.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>
#include "xebec/base/httpd.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"
#include "xebec/client/client.h"

struct world {
	struct loop *loop;
	struct httpd *d;
	char dir[40], addr[32];
	struct buf ca, ca_key, cert, key; /* the cluster's CA; a client's certificate */
	char seen_cn[64], seen_auth[64], seen_path[64];
};

static void handler(void *srv, struct http_exchange *x)
{
	struct world *w = srv;
	(void)snprintf(w->seen_cn, sizeof(w->seen_cn), "%.*s", STR_FMT(x->peer.cert_cn));
	(void)snprintf(w->seen_auth, sizeof(w->seen_auth), "%.*s",
		STR_FMT(http_header_get(x, "authorization")));
	(void)snprintf(w->seen_path, sizeof(w->seen_path), "%.*s", STR_FMT(x->path));
	http_reply(x, 200, "application/json", STR("{}"), NULL, 0);
}

static void start_server(struct world *w)
{
	AUTO_BUF struct buf cert = {0}, key = {0};
	struct err e;
	struct tls_ctx *tls = NULL;
	struct sockaddr_in sa;
	socklen_t n = sizeof(sa);
	static const char *const sans[] = {"IP:127.0.0.1", "DNS:api.example", NULL};
	static const char *const orgs[] = {"system:nodes", NULL};
	const struct pki_request server = {
		.cn = "srv", .sans = sans, .server = true, .valid_seconds = 3600};
	const struct pki_request user = {
		.cn = "system:node:n1", .orgs = orgs, .client = true, .valid_seconds = 3600};
	assert_int_equal(pki_ca_new("ca", &w->ca, &w->ca_key, &e), 0);
	assert_int_equal(
		pki_issue(buf_str(&w->ca), buf_str(&w->ca_key), &server, &cert, &key, &e), 0);
	assert_int_equal(
		pki_issue(buf_str(&w->ca), buf_str(&w->ca_key), &user, &w->cert, &w->key, &e), 0);
	assert_int_equal(
		tls_server_ctx(buf_str(&cert), buf_str(&key), buf_str(&w->ca), &tls, &e), 0);
	const struct httpd_config c = {.handler = handler,
		.srv = w,
		.tls = tls,
		.loop = w->loop,
		.max_body = 1 << 20,
		.max_header = 1 << 16,
		.max_conns = 10,
		.idle_timeout_ns = 60 * NS_PER_SEC,
		.header_timeout_ns = 10 * NS_PER_SEC};
	assert_int_equal(httpd_new(&c, &w->d, &e), 0);
	int fd = net_listen("127.0.0.1:0", &e);
	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
	(void)snprintf(w->addr, sizeof(w->addr), "127.0.0.1:%d", ntohs(sa.sin_port));
	assert_int_equal(httpd_listen_fd(w->d, fd, &e), 0);
	tls_ctx_free(tls);
}

static void write_file(struct world *w, const char *name, struct str text)
{
	char path[100];
	(void)snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	assert_int_equal(file_write_atomic(path, text, 0600), 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	strcpy(w->dir, "/tmp/xebec-kubeconfig-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->loop = loop_new();
	start_server(w);
	write_file(w, "ca.crt", buf_str(&w->ca));
	write_file(w, "me.crt", buf_str(&w->cert));
	write_file(w, "me.key", buf_str(&w->key));
	write_file(w, "token", STR("from-file\n"));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	httpd_free(w->d);
	loop_free(w->loop);
	(void)rm_rf(w->dir);
	buf_free(&w->ca);
	buf_free(&w->ca_key);
	buf_free(&w->cert);
	buf_free(&w->key);
	free(w);
	return 0;
}

struct outcome {
	int calls, code;
};

static void on_done(void *arg, const struct client_result *r)
{
	struct outcome *o = arg;
	o->calls++;
	o->code = r->e ? r->e->code : 0;
}

/* Writes the config, opens it, makes one call. */
static int try(struct world *w, const char *cluster, const char *user, struct err *e)
{
	AUTO_BUF struct buf conf = {0}, path = {0};
	struct client *c = NULL;
	struct outcome o = {0};
	buf_addf(&conf,
		"apiVersion: v1\nkind: Config\ncurrent-context: x\n"
		"contexts:\n- {name: y, context: {cluster: none, user: none}}\n"
		"- name: x\n  context: {cluster: k, user: u}\n"
		"clusters:\n- name: k\n  cluster: {%s}\nusers:\n- name: u\n  user: {%s}\n",
		cluster, user);
	write_file(w, "config", buf_str(&conf));
	buf_addf(&path, "%s/config", w->dir);
	w->seen_cn[0] = w->seen_auth[0] = w->seen_path[0] = '\0';
	int r = client_new_kubeconfig(w->loop, path.p, "test", &c, e);
	if (r < 0)
		return r;
	const struct client_request q = {.method = "GET", .path = STR("/api/v1/nodes")};
	assert_non_null(client_send(c, &q, on_done, &o));
	int64_t end = time_mono() + 8 * NS_PER_SEC;
	while (!o.calls && time_mono() < end)
		assert_int_equal(loop_poll(w->loop, 50), 0);
	client_free(c);
	assert_int_equal(o.calls, 1);
	return o.code;
}

static void test_certificates(void **state)
{
	struct world *w = *state;
	AUTO_BUF struct buf cluster = {0}, user = {0};
	struct err e = {0};
	/* Files beside the config, named relatively. */
	buf_addf(&cluster, "server: 'https://%s', certificate-authority: ca.crt", w->addr);
	assert_int_equal(
		try(w, cluster.p, "client-certificate: me.crt, client-key: me.key", &e), 0);
	assert_string_equal(w->seen_cn, "system:node:n1");
	assert_string_equal(w->seen_auth, "");
	/* The same as data; a path prefix. */
	buf_clear(&cluster);
	buf_addf(&cluster, "server: 'https://%s/k8s/', certificate-authority-data: ", w->addr);
	base64_encode(buf_str(&w->ca), &cluster);
	buf_adds(&user, "client-certificate-data: ");
	base64_encode(buf_str(&w->cert), &user);
	buf_adds(&user, ", client-key-data: ");
	base64_encode(buf_str(&w->key), &user);
	assert_int_equal(try(w, cluster.p, user.p, &e), 0);
	assert_string_equal(w->seen_cn, "system:node:n1");
	assert_string_equal(w->seen_path, "/k8s/api/v1/nodes");
}

static void test_tokens(void **state)
{
	struct world *w = *state;
	AUTO_BUF struct buf cluster = {0};
	struct err e = {0};
	buf_addf(&cluster,
		"server: 'https://%s', certificate-authority: ca.crt, tls-server-name: api.example",
		w->addr);
	assert_int_equal(try(w, cluster.p, "token: abc", &e), 0);
	assert_string_equal(w->seen_auth, "Bearer abc");
	assert_string_equal(w->seen_cn, "");
	assert_int_equal(try(w, cluster.p, "tokenFile: token", &e), 0);
	assert_string_equal(w->seen_auth, "Bearer from-file");
}

static void test_verification(void **state)
{
	struct world *w = *state;
	AUTO_BUF struct buf cluster = {0}, other = {0}, other_key = {0};
	struct err e = {0};
	/* Another CA, a wrong name, no CA at all: no call gets through. */
	assert_int_equal(pki_ca_new("other", &other, &other_key, &e), 0);
	write_file(w, "other.crt", buf_str(&other));
	static const char *const tails[] = {"certificate-authority: other.crt",
		"certificate-authority: ca.crt, tls-server-name: wrong.example", "extra: 1"};
	for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
		buf_clear(&cluster);
		buf_addf(&cluster, "server: 'https://%s', %s", w->addr, tails[i]);
		assert_true(try(w, cluster.p, "token: abc", &e) < 0);
		assert_string_equal(w->seen_path, "");
	}
	buf_clear(&cluster);
	buf_addf(&cluster, "server: 'https://%s', insecure-skip-tls-verify: true", w->addr);
	assert_int_equal(try(w, cluster.p, "token: abc", &e), 0);
}

static void test_bad_files(void **state)
{
	struct world *w = *state;
	struct err e = {0};
	struct client *c;
	assert_int_equal(client_new_kubeconfig(w->loop, "/nonexistent/k", "t", &c, &e), -ENOENT);
	assert_int_equal(try(w, "server: 'ftp://x'", "token: a", &e), -EINVAL);
	assert_int_equal(try(w, "server: 'https://x:99999'", "token: a", &e), -EINVAL);
	assert_int_equal(try(w, "server: 'https://x', certificate-authority: none", "token: a", &e),
		-ENOENT);
	assert_non_null(strstr(e.msg, "certificate-authority: read"));
	assert_int_equal(
		try(w, "server: 'https://x', certificate-authority-data: '***'", "token: a", &e),
		-EINVAL);
	assert_int_equal(try(w, "server: 'https://x', certificate-authority: ca.crt",
				 "client-certificate: me.crt", &e),
		-EINVAL);
	assert_int_equal(try(w, "[", "", &e), -EINVAL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_certificates), T(test_tokens), T(test_verification), T(test_bad_files)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
