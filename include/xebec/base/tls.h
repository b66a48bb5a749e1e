/* SPDX-License-Identifier: Apache-2.0
 * TLS contexts and the small PKI a cluster needs (OpenSSL): CA, leaf certificates, PEM. ECDSA
 * P-256. TLS >= 1.2. */
#ifndef XEBEC_BASE_TLS_H
#define XEBEC_BASE_TLS_H

#include "xebec/base/buf.h"
#include "xebec/base/err.h"

struct tls_ctx; /* refcounted, shared between threads */

/* PEM text, not file names. client_ca NULL = clients are not asked for certificates; with it they
 * are asked, verified, not required. */
int tls_server_ctx(struct str cert_pem, struct str key_pem, struct str client_ca_pem,
	struct tls_ctx **ret, struct err *e);
/* ca_pem empty = no verification (insecure-skip-tls-verify). cert/key empty = no client
 * certificate. */
int tls_client_ctx(struct str ca_pem, struct str cert_pem, struct str key_pem, struct tls_ctx **ret,
	struct err *e);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);
void tls_ctx_free(struct tls_ctx *c);

struct pki_request {
	const char *cn;
	const char *const *orgs; /* NULL-terminated, may be NULL */
	const char *const *sans; /* "DNS:localhost", "IP:127.0.0.1" NULL-terminated, may be NULL */
	bool server, client;	 /* extended key usage */
	int64_t valid_seconds;
};
int pki_ca_new(const char *cn, struct buf *cert_pem, struct buf *key_pem, struct err *e);
int pki_issue(struct str ca_cert_pem, struct str ca_key_pem, const struct pki_request *r,
	struct buf *cert_pem, struct buf *key_pem, struct err *e);
int pki_key_new(struct buf *key_pem, struct err *e); /* key pair for signing tokens (PEM) */

/* A parsed key, immutable: any thread. PEM private key, public key or certificate. */
struct pki_key;
int pki_key_load(struct str pem, struct pki_key **ret, struct err *e);
void pki_key_free(struct pki_key *k);
int pki_key_public_pem(const struct pki_key *k, struct buf *out);
const char *jws_alg(const struct pki_key *k); /* "ES256" or "RS256" */
/* Signs "header.payload"; appends the base64url signature. */
int jws_sign(const struct pki_key *k, struct str signing_input, struct buf *sig);
/* 0, or -EBADMSG when the base64url signature is not of this key. The caller has compared alg. */
int jws_verify(const struct pki_key *k, struct str signing_input, struct str sig);
/* The public key as a JSON Web Key:
 * {"use":"sig","kty":"EC","kid":kid,"alg":..,"crv":..,"x":..,"y":..}
 */
int pki_key_jwk(const struct pki_key *k, const char *kid, struct buf *out);

/* Subject of a PEM certificate and its end of validity; cn is NUL-terminated. -EINVAL. */
int pki_cert_info(struct str cert_pem, struct buf *cn, int64_t *not_after);

void base64_encode(struct str in, struct buf *out);
int base64_decode(
	struct str in, struct buf *out); /* standard or URL alphabet, padding optional; -EINVAL */
void base64url_encode(struct str in, struct buf *out);
void random_bytes(void *p, size_t n);
void uuid4(char out[static 37]);
void sha256(struct str in, unsigned char out[static 32]);

#endif
