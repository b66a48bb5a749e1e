/* SPDX-License-Identifier: Apache-2.0
 * Service account tokens: signed JSON Web Tokens (RFC 7515, 7519). */
#include "apiserver/internal.h"

#include <errno.h>
#include "xebec/base/tls.h"

enum { TOKEN_MAX = 16 * 1024, SKEW_SECONDS = 10 };

struct jwt_key {
	struct pki_key *key;
	char kid[44];
};

int jwt_key_load(struct str key_pem, struct jwt_key **ret, struct err *e)
{
	struct jwt_key *k = calloc(1, sizeof(*k));
	AUTO_BUF struct buf pub = {0};
	AUTO_BUF struct buf kid = {0};
	unsigned char sum[32];
	int rc = k ? pki_key_load(key_pem, &k->key, e) : err_set(e, ENOMEM, NULL, "out of memory");
	if (rc == 0)
		rc = pki_key_public_pem(k->key, &pub);
	if (rc < 0) {
		jwt_key_free(k);
		return err_prefix(e, "service account key");
	}
	sha256(buf_str(&pub), sum); /* the key's name: a digest of its public half */
	base64url_encode((struct str){(char *)sum, sizeof(sum)}, &kid);
	(void)str_copy(k->kid, sizeof(k->kid), buf_str(&kid));
	*ret = k;
	return 0;
}

void jwt_key_free(struct jwt_key *k)
{
	if (!k)
		return;
	pki_key_free(k->key);
	free(k);
}

void jwt_jwks(const struct jwt_key *k, struct buf *out)
{
	buf_adds(out, "{\"keys\":[");
	(void)pki_key_jwk(k->key, k->kid, out);
	buf_adds(out, "]}");
}

/* --- sign --- */

static json_t *bound(const char *name, const char *uid)
{
	return name ? json_pack("{s:s,s:s}", "name", name, "uid", uid ? uid : "") : NULL;
}

static json_t *payload(const char *issuer, const struct token_claims *c, int64_t now)
{
	char id[37];
	uuid4(id);
	json_t *aud = json_array();
	for (const char *const *a = c->audiences; *a; a++)
		json_array_append_new(aud, json_string(*a));
	json_t *k8s = json_pack("{s:s,s:{s:s,s:s}}", "namespace", c->ns, "serviceaccount", "name",
		c->sa, "uid", c->sa_uid);
	json_t *pod = bound(c->pod, c->pod_uid), *node = bound(c->node, c->node_uid);
	if (pod)
		json_object_set_new(k8s, "pod", pod);
	if (node)
		json_object_set_new(k8s, "node", node);
	json_t *j = json_pack("{s:o,s:I,s:I,s:s,s:s,s:o,s:I}", "aud", aud, "exp",
		(json_int_t)c->expires, "iat", (json_int_t)now, "iss", issuer, "jti", id,
		"kubernetes.io", k8s, "nbf", (json_int_t)now);
	if (j)
		json_object_set_new(
			j, "sub", json_sprintf("system:serviceaccount:%s:%s", c->ns, c->sa));
	return j;
}

int jwt_sign(const struct jwt_key *k, const char *issuer, const struct token_claims *c,
	int64_t now_ns, struct buf *out)
{
	AUTO_BUF struct buf head = {0};
	AUTO_BUF struct buf body = {0};
	AUTO_BUF struct buf sig = {0};
	AUTO_JSON json_t *j = payload(issuer, c, now_ns / NS_PER_SEC);
	if (!j)
		return -ENOMEM;
	buf_addf(&head, "{\"alg\":\"%s\",\"kid\":\"%s\"}", jws_alg(k->key), k->kid);
	json_write(j, &body);
	base64url_encode(buf_str(&head), out);
	buf_addc(out, '.');
	base64url_encode(buf_str(&body), out);
	int rc = out->err ? -ENOMEM : jws_sign(k->key, buf_str(out), &sig);
	if (rc < 0)
		return rc;
	buf_addc(out, '.');
	buf_add_str(out, buf_str(&sig));
	return out->err ? -ENOMEM : 0;
}

/* --- verify --- */

static int check_claims(const json_t *j, const char *issuer, int64_t now, struct err *e)
{
	if (strcmp(json_str(j, "iss", ""), issuer) != 0)
		return err_set(e, EACCES, "Unauthorized", "the token was issued by somebody else");
	if (json_i64(j, "exp", 0) + SKEW_SECONDS < now)
		return err_set(e, EACCES, "Unauthorized", "the token has expired");
	if (json_i64(j, "nbf", 0) - SKEW_SECONDS > now)
		return err_set(e, EACCES, "Unauthorized", "the token is not valid yet");
	return 0;
}

int jwt_verify(const struct jwt_key *k, const char *issuer, struct str token, int64_t now_ns,
	json_t **ret_claims, struct err *e)
{
	struct str rest = token, head = str_cut(&rest, '.'), body = str_cut(&rest, '.');
	struct str in = {token.p, head.n + 1 + body.n};
	AUTO_BUF struct buf h = {0};
	AUTO_BUF struct buf b = {0};
	AUTO_JSON json_t *hj = NULL;
	AUTO_JSON json_t *j = NULL;
	if (token.n > TOKEN_MAX || in.n >= token.n || base64_decode(head, &h) < 0 ||
		base64_decode(body, &b) < 0 || json_parse(buf_str(&h), &hj, NULL) < 0 ||
		strcmp(json_str(hj, "alg", ""), jws_alg(k->key)) != 0)
		return err_set(e, EACCES, "Unauthorized", "not a token of this cluster");
	if (jws_verify(k->key, in, rest) < 0)
		return err_set(e, EACCES, "Unauthorized", "the token's signature is wrong");
	if (json_parse(buf_str(&b), &j, NULL) < 0 || !json_is_object(j))
		return err_set(e, EACCES, "Unauthorized", "the token's claims are not JSON");
	int rc = check_claims(j, issuer, now_ns / NS_PER_SEC, e);
	if (rc == 0)
		*ret_claims = STEAL(j);
	return rc;
}
