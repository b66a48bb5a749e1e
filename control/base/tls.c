/* SPDX-License-Identifier: Apache-2.0
 * TLS contexts over OpenSSL: loading PEM, verification rules, ALPN, session resumption. */
#include <errno.h>
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include "base/net_int.h"
#include "xebec/base/tls.h"

#define MAX_ORGS 32 /* groups taken from one certificate */

struct tls_ctx {
	SSL_CTX *ctx;
	atomic_uint refs;
	bool server, verify;
	pthread_mutex_t lock; /* over the two below */
	SSL_SESSION *session; /* client: resumed by the next connection to the same name */
	char *session_name;
};

int tls_error(SSL *ssl, struct err *e, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
	char text[160] = "unknown error";

	if (code)
		ERR_error_string_n(code, text, sizeof(text));
	ERR_clear_error();
	if (verify != X509_V_OK && !SSL_is_server(ssl))
		return err_set(e, EACCES, NULL, "%s: x509: certificate not accepted: %s", what,
			X509_verify_cert_error_string(verify));
	return err_set(e, EPROTO, NULL, "%s: tls: %s", what, text);
}

static BIO *bio_of(struct str s)
{
	return s.n > 0 && s.n < INT32_MAX ? BIO_new_mem_buf(s.p, (int)s.n) : NULL;
}

static int load_chain(SSL_CTX *ctx, struct str cert, struct str key, struct err *e)
{
	BIO *b = bio_of(cert);
	X509 *x = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	int ok = x && SSL_CTX_use_certificate(ctx, x) == 1;

	X509_free(x);
	while (ok && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
			X509_free(x);
			ok = 0;
		}
	}
	ERR_clear_error(); /* the end of the PEM text is reported as an error */
	BIO_free(b);
	if (!ok)
		return err_set(e, EINVAL, NULL, "certificate is not valid PEM");
	b = bio_of(key);
	EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, NULL) : NULL;
	ok = k && SSL_CTX_use_PrivateKey(ctx, k) == 1 && SSL_CTX_check_private_key(ctx) == 1;
	EVP_PKEY_free(k);
	BIO_free(b);
	ERR_clear_error();
	return ok ? 0
		  : err_set(e, EINVAL, NULL, "private key is not valid or not the certificate's");
}

static int load_cas(SSL_CTX *ctx, struct str pem, bool server, struct err *e)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *b = bio_of(pem);
	size_t n = 0;
	X509 *x;

	while (b && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		if (X509_STORE_add_cert(store, x) == 1 &&
			(!server || SSL_CTX_add_client_CA(ctx, x) == 1))
			n++;
		X509_free(x);
	}
	BIO_free(b);
	ERR_clear_error();
	return n > 0 ? 0 : err_set(e, EINVAL, NULL, "no certificate authority in the PEM text");
}

/* The handshake goes on with a bad client certificate: the request is answered with 401, which a
 * user understands better than a TLS alert. tls_peer_identity looks at the result. */
static int accept_any(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
	const unsigned char *in, unsigned inlen, void *arg)
{
	static const unsigned char mine[] = "\x02h2\x08http/1.1";

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto((unsigned char **)out, outlen, mine, sizeof(mine) - 1, in,
		    inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	return SSL_TLSEXT_ERR_OK;
}

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_ctx *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	const char *name = SSL_get_app_data(ssl);

	if (!c || !name)
		return 0;
	pthread_mutex_lock(&c->lock);
	SSL_SESSION_free(c->session);
	c->session = session;
	free(c->session_name);
	c->session_name = strdup(name);
	pthread_mutex_unlock(&c->lock);
	return 1;
}

static struct tls_ctx *ctx_new(bool server, struct err *e)
{
	struct tls_ctx *c = calloc(1, sizeof(*c));

	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes with write(2) */
	if (c)
		c->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!c || !c->ctx) {
		free(c);
		(void)err_set(e, ENOMEM, NULL, "out of memory");
		return NULL;
	}
	atomic_init(&c->refs, 1);
	pthread_mutex_init(&c->lock, NULL);
	c->server = server;
	SSL_CTX_set_app_data(c->ctx, c);
	SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION);
	SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(c->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION |
					    SSL_OP_NO_COMPRESSION |
					    SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_read_ahead(c->ctx, 1);
	return c;
}

int tls_server_ctx(struct str cert_pem, struct str key_pem, struct str client_ca_pem,
	struct tls_ctx **ret, struct err *e)
{
	struct tls_ctx *c = ctx_new(true, e);
	int r = c ? load_chain(c->ctx, cert_pem, key_pem, e) : -ENOMEM;

	if (r == 0 && client_ca_pem.n > 0) {
		r = load_cas(c->ctx, client_ca_pem, true, e);
		SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, accept_any);
		c->verify = true;
	}
	if (r != 0) {
		tls_ctx_free(c);
		return r;
	}
	/* Stateless tickets: nothing to bound on the server. */
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(c->ctx, (const unsigned char *)"xebec", 5);
	SSL_CTX_set_num_tickets(c->ctx, 1);
	SSL_CTX_set_alpn_select_cb(c->ctx, select_alpn, NULL);
	*ret = c;
	return 0;
}

int tls_client_ctx(struct str ca_pem, struct str cert_pem, struct str key_pem, struct tls_ctx **ret,
	struct err *e)
{
	struct tls_ctx *c = ctx_new(false, e);
	int r = c ? 0 : -ENOMEM;

	if (r == 0 && ca_pem.n > 0) {
		r = load_cas(c->ctx, ca_pem, false, e);
		SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
		c->verify = true;
	}
	if (r == 0 && cert_pem.n > 0)
		r = load_chain(c->ctx, cert_pem, key_pem, e);
	if (r != 0) {
		tls_ctx_free(c);
		return r;
	}
	SSL_CTX_set_session_cache_mode(
		c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(c->ctx, keep_session);
	*ret = c;
	return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c)
{
	if (c)
		atomic_fetch_add(&c->refs, 1);
	return c;
}

void tls_ctx_free(struct tls_ctx *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	SSL_SESSION_free(c->session);
	free(c->session_name);
	SSL_CTX_free(c->ctx);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static int set_alpn(SSL *ssl, const char *alpn)
{
	unsigned char wire[64];
	size_t n = 0;
	struct str rest = str_of(alpn);

	while (rest.n > 0) {
		struct str one = str_cut(&rest, ',');
		if (n + one.n + 1 > sizeof(wire) || one.n == 0)
			return -EINVAL;
		wire[n++] = (unsigned char)one.n;
		memcpy(wire + n, one.p, one.n);
		n += one.n;
	}
	return n == 0 || SSL_set_alpn_protos(ssl, wire, (unsigned)n) == 0 ? 0 : -EINVAL;
}

static int set_name(struct tls_ctx *c, SSL *ssl, const char *name)
{
	unsigned char ip[16];
	bool numeric = inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;

	if (!numeric && SSL_set_tlsext_host_name(ssl, name) != 1)
		return -ENOMEM;
	if (!c->verify)
		return 0;
	int ok = numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name)
			 : SSL_set1_host(ssl, name);
	return ok == 1 ? 0 : -EINVAL;
}

static void resume(struct tls_ctx *c, SSL *ssl, const char *name)
{
	pthread_mutex_lock(&c->lock);
	if (c->session && c->session_name && strcmp(c->session_name, name) == 0)
		SSL_set_session(ssl, c->session);
	pthread_mutex_unlock(&c->lock);
}

SSL *tls_session_new(
	struct tls_ctx *c, int fd, const char *server_name, const char *alpn, struct err *e)
{
	SSL *ssl = SSL_new(c->ctx);

	if (!ssl || SSL_set_fd(ssl, fd) != 1)
		goto fail;
	if (c->server) {
		SSL_set_accept_state(ssl);
		return ssl;
	}
	SSL_set_connect_state(ssl);
	if (alpn && set_alpn(ssl, alpn) != 0)
		goto fail;
	if (server_name && *server_name) {
		if (set_name(c, ssl, server_name) != 0)
			goto fail;
		SSL_set_app_data(ssl, (char *)server_name);
		resume(c, ssl, server_name);
	}
	return ssl;
fail:
	SSL_free(ssl);
	ERR_clear_error();
	(void)err_set(e, EINVAL, NULL, "cannot make a TLS session for '%s'",
		server_name ? server_name : "");
	return NULL;
}

static struct str name_entry(X509_NAME *name, int i, struct arena *a)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
	struct str s = {0};

	/* A NUL inside a name is an attempt to look like somebody else. */
	if (n > 0 && !memchr(utf8, 0, (size_t)n)) {
		s.p = arena_strdup(a, (struct str){(char *)utf8, (size_t)n});
		s.n = s.p ? (size_t)n : 0;
	}
	OPENSSL_free(utf8);
	return s;
}

void tls_peer_identity(SSL *ssl, struct arena *a, struct http_peer *peer)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);

	if (!cert)
		return;
	if (SSL_get_verify_result(ssl) != X509_V_OK) {
		peer->cert_bad = true;
		return;
	}
	X509_NAME *name = X509_get_subject_name(cert);
	struct str *orgs = arena_alloc(a, MAX_ORGS * sizeof(*orgs));
	int i = X509_NAME_get_index_by_NID(name, NID_commonName, -1);

	if (i >= 0)
		peer->cert_cn = name_entry(name, i, a);
	peer->cert_orgs = orgs;
	i = -1;
	while (orgs && peer->n_cert_orgs < MAX_ORGS &&
		(i = X509_NAME_get_index_by_NID(name, NID_organizationName, i)) >= 0)
		orgs[peer->n_cert_orgs++] = name_entry(name, i, a);
}
