/* SPDX-License-Identifier: Apache-2.0
 * Certificates, keys and JWS signatures: ECDSA P-256 for what we make, RSA too for what we read. */
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <openssl/core_names.h>
#include <time.h>
#include "xebec/base/tls.h"

#define DAY_SECONDS	   86400L
#define CA_VALID_DAYS	   3650L
#define LEAF_VALID_DAYS	   365L
#define CLOCK_SKEW_SECONDS 300L /* peers' clocks may be behind ours */
#define P256_BYTES	   32

struct pki_key {
	EVP_PKEY *pkey;
	bool rsa;
};

static int crypto_fail(struct err *e, const char *what)
{
	char text[160];

	ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
	ERR_clear_error();
	return err_set(e, EINVAL, NULL, "%s: %s", what, text);
}

static BIO *bio_of(struct str s)
{
	return s.n > 0 && s.n < INT32_MAX ? BIO_new_mem_buf(s.p, (int)s.n) : NULL;
}

static void take_bio(BIO *b, struct buf *out)
{
	char *p = NULL;
	long n = BIO_get_mem_data(b, &p);

	if (n > 0)
		buf_add(out, p, (size_t)n);
}

static int write_key(EVP_PKEY *k, struct buf *out)
{
	BIO *b = BIO_new(BIO_s_mem());
	int ok = b && PEM_write_bio_PrivateKey(b, k, NULL, NULL, 0, NULL, NULL) == 1;

	if (ok)
		take_bio(b, out);
	BIO_free(b);
	return ok && out->err == 0 ? 0 : -ENOMEM;
}

static int write_cert(X509 *x, struct buf *out)
{
	BIO *b = BIO_new(BIO_s_mem());
	int ok = b && PEM_write_bio_X509(b, x) == 1;

	if (ok)
		take_bio(b, out);
	BIO_free(b);
	return ok && out->err == 0 ? 0 : -ENOMEM;
}

static bool add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = ext && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool add_name(X509_NAME *n, const char *field, const char *value)
{
	return X509_NAME_add_entry_by_txt(
		       n, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0) == 1;
}

/* Version, serial, validity, key: what every certificate has. */
static X509 *cert_begin(EVP_PKEY *key, long valid_seconds)
{
	X509 *x = X509_new();
	unsigned char serial[16];
	BIGNUM *bn;

	if (!x)
		return NULL;
	random_bytes(serial, sizeof(serial));
	serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive, full length */
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) != NULL;
	BN_free(bn);
	if (!ok || X509_set_version(x, X509_VERSION_3) != 1 ||
		!X509_gmtime_adj(X509_getm_notBefore(x), -CLOCK_SKEW_SECONDS) ||
		!X509_gmtime_adj(X509_getm_notAfter(x), valid_seconds) ||
		X509_set_pubkey(x, key) != 1) {
		X509_free(x);
		return NULL;
	}
	return x;
}

int pki_ca_new(const char *cn, struct buf *cert_pem, struct buf *key_pem, struct err *e)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = key ? cert_begin(key, CA_VALID_DAYS * DAY_SECONDS) : NULL;
	int r = 0;

	if (!x || !add_name(X509_get_subject_name(x), "CN", cn) ||
		X509_set_issuer_name(x, X509_get_subject_name(x)) != 1 ||
		!add_ext(x, x, NID_basic_constraints, "critical,CA:TRUE") ||
		!add_ext(x, x, NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign") ||
		!add_ext(x, x, NID_subject_key_identifier, "hash") ||
		X509_sign(x, key, EVP_sha256()) == 0)
		r = crypto_fail(e, "make the certificate authority");
	if (r == 0 && (write_cert(x, cert_pem) != 0 || write_key(key, key_pem) != 0))
		r = err_set(e, ENOMEM, NULL, "out of memory");
	X509_free(x);
	EVP_PKEY_free(key);
	return r;
}

static bool add_sans(X509 *x, X509 *ca, const char *const *sans)
{
	AUTO_BUF struct buf list = {0};

	for (; sans && *sans; sans++) {
		if (strchr(*sans, ',') || strchr(*sans, '\n'))
			return false; /* would be read as another name */
		if (list.len > 0)
			buf_addc(&list, ',');
		buf_adds(&list, *sans);
	}
	if (list.len == 0)
		return true;
	return list.err == 0 && add_ext(x, ca, NID_subject_alt_name, list.p);
}

static bool fill_leaf(X509 *x, X509 *ca, const struct pki_request *r)
{
	X509_NAME *subject = X509_get_subject_name(x);
	const char *eku = r->server && r->client ? "serverAuth,clientAuth"
			  : r->server		 ? "serverAuth"
						 : "clientAuth";

	for (const char *const *o = r->orgs; o && *o; o++) {
		if (!add_name(subject, "O", *o))
			return false;
	}
	return add_name(subject, "CN", r->cn) &&
	       X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 &&
	       add_ext(x, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_ext(x, ca, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
	       add_ext(x, ca, NID_ext_key_usage, eku) &&
	       add_ext(x, ca, NID_authority_key_identifier, "keyid") && add_sans(x, ca, r->sans);
}

int pki_issue(struct str ca_cert_pem, struct str ca_key_pem, const struct pki_request *req,
	struct buf *cert_pem, struct buf *key_pem, struct err *e)
{
	BIO *b = bio_of(ca_cert_pem), *kb = bio_of(ca_key_pem);
	X509 *ca = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL, *x = NULL;
	EVP_PKEY *ca_key = kb ? PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL) : NULL, *key = NULL;
	long valid =
		req->valid_seconds > 0 ? (long)req->valid_seconds : LEAF_VALID_DAYS * DAY_SECONDS;
	int r = 0;

	if (!ca || !ca_key || X509_check_private_key(ca, ca_key) != 1) {
		r = crypto_fail(e, "read the certificate authority");
		goto out;
	}
	key = EVP_EC_gen("P-256");
	x = key ? cert_begin(key, valid) : NULL;
	if (!x || !fill_leaf(x, ca, req) || X509_sign(x, ca_key, EVP_sha256()) == 0)
		r = crypto_fail(e, "issue a certificate");
	else if (write_cert(x, cert_pem) != 0 || write_key(key, key_pem) != 0)
		r = err_set(e, ENOMEM, NULL, "out of memory");
out:
	X509_free(x);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
	BIO_free(b);
	BIO_free(kb);
	return r;
}

int pki_key_new(struct buf *key_pem, struct err *e)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	int r = key ? write_key(key, key_pem) : -EIO;

	EVP_PKEY_free(key);
	return r == 0 ? 0 : crypto_fail(e, "make a key");
}

int pki_cert_info(struct str cert_pem, struct buf *cn, int64_t *not_after)
{
	BIO *b = bio_of(cert_pem);
	X509 *x = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	struct tm tm;
	int r = -EINVAL;

	if (x && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1) {
		char name[256] = "";
		(void)X509_NAME_get_text_by_NID(
			X509_get_subject_name(x), NID_commonName, name, sizeof(name));
		buf_adds(cn, name);
		*not_after = (int64_t)timegm(&tm);
		r = cn->err;
	}
	X509_free(x);
	BIO_free(b);
	ERR_clear_error();
	return r;
}

static EVP_PKEY *read_any_key(struct str pem)
{
	EVP_PKEY *k = NULL;
	BIO *b;

	if ((b = bio_of(pem)) != NULL)
		k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
	BIO_free(b);
	if (!k && (b = bio_of(pem)) != NULL) {
		k = PEM_read_bio_PUBKEY(b, NULL, NULL, NULL);
		BIO_free(b);
	}
	if (!k && (b = bio_of(pem)) != NULL) {
		X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
		k = x ? X509_get_pubkey(x) : NULL;
		X509_free(x);
		BIO_free(b);
	}
	ERR_clear_error();
	return k;
}

int pki_key_load(struct str pem, struct pki_key **ret, struct err *e)
{
	EVP_PKEY *k = read_any_key(pem);
	bool rsa = k && EVP_PKEY_get_base_id(k) == EVP_PKEY_RSA;
	char group[32] = "";

	if (k && !rsa)
		(void)EVP_PKEY_get_group_name(k, group, sizeof(group), NULL);
	struct pki_key *p =
		k && (rsa || strcmp(group, "prime256v1") == 0) ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		EVP_PKEY_free(k);
		return err_set(e, EINVAL, NULL, "not a PEM key of type RSA or ECDSA P-256");
	}
	p->pkey = k;
	p->rsa = rsa;
	*ret = p;
	return 0;
}

void pki_key_free(struct pki_key *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->pkey);
	free(k);
}

int pki_key_public_pem(const struct pki_key *k, struct buf *out)
{
	BIO *b = BIO_new(BIO_s_mem());
	int ok = b && PEM_write_bio_PUBKEY(b, k->pkey) == 1;

	if (ok)
		take_bio(b, out);
	BIO_free(b);
	return ok && out->err == 0 ? 0 : -ENOMEM;
}

const char *jws_alg(const struct pki_key *k)
{
	return k->rsa ? "RS256" : "ES256";
}

/* JWS wants r and s as 32 bytes each (RFC 7518 3.4), OpenSSL speaks DER. */
static int der_to_raw(const unsigned char *der, size_t n, unsigned char raw[2 * P256_BYTES])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	int ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, P256_BYTES) == P256_BYTES &&
		 BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + P256_BYTES, P256_BYTES) == P256_BYTES;

	ECDSA_SIG_free(sig);
	return ok ? 0 : -EINVAL;
}

static int raw_to_der(const unsigned char *raw, unsigned char **ret)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, P256_BYTES, NULL);
	BIGNUM *s = BN_bin2bn(raw + P256_BYTES, P256_BYTES, NULL);

	if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
		BN_free(r);
		BN_free(s);
		ECDSA_SIG_free(sig);
		return -ENOMEM;
	}
	int n = i2d_ECDSA_SIG(sig, ret);
	ECDSA_SIG_free(sig);
	return n;
}

int jws_sign(const struct pki_key *k, struct str in, struct buf *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[1024], raw[2 * P256_BYTES];
	size_t n = sizeof(sig);
	int r = -EINVAL;

	if (ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
		EVP_DigestSign(ctx, sig, &n, (const unsigned char *)in.p, in.n) == 1)
		r = 0;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	if (r == 0 && !k->rsa)
		r = der_to_raw(sig, n, raw);
	if (r != 0)
		return r;
	base64url_encode(
		k->rsa ? (struct str){(char *)sig, n} : (struct str){(char *)raw, sizeof(raw)},
		out);
	return out->err;
}

int jws_verify(const struct pki_key *k, struct str in, struct str b64)
{
	AUTO_BUF struct buf sig = {0};
	unsigned char *der = NULL;
	const unsigned char *p;
	size_t n;

	if (base64_decode(b64, &sig) != 0 || sig.len == 0)
		return -EBADMSG;
	p = (const unsigned char *)sig.p;
	n = sig.len;
	if (!k->rsa) {
		int len = n == 2 * P256_BYTES ? raw_to_der(p, &der) : -1;
		if (len <= 0)
			return -EBADMSG;
		p = der;
		n = (size_t)len;
	}
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) == 1 &&
		 EVP_DigestVerify(ctx, p, n, (const unsigned char *)in.p, in.n) == 1;
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(der);
	ERR_clear_error();
	return ok ? 0 : -EBADMSG;
}

static bool add_bn(const EVP_PKEY *k, const char *param, int width, struct buf *out)
{
	unsigned char bytes[1024];
	BIGNUM *bn = NULL;
	int n;

	if (EVP_PKEY_get_bn_param(k, param, &bn) != 1)
		return false;
	n = width				     ? BN_bn2binpad(bn, bytes, width)
	    : BN_num_bytes(bn) <= (int)sizeof(bytes) ? BN_bn2bin(bn, bytes)
						     : -1;
	BN_free(bn);
	if (n > 0)
		base64url_encode((struct str){(char *)bytes, (size_t)n}, out);
	return n > 0;
}

int pki_key_jwk(const struct pki_key *k, const char *kid, struct buf *out)
{
	bool ok;

	buf_addf(out, "{\"use\":\"sig\",\"kty\":\"%s\",\"kid\":", k->rsa ? "RSA" : "EC");
	buf_add_json_str(out, str_of(kid));
	buf_addf(out, ",\"alg\":\"%s\",", jws_alg(k));
	buf_adds(out, k->rsa ? "\"n\":\"" : "\"crv\":\"P-256\",\"x\":\"");
	ok = add_bn(k->pkey, k->rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X,
		k->rsa ? 0 : P256_BYTES, out);
	buf_adds(out, k->rsa ? "\",\"e\":\"" : "\",\"y\":\"");
	ok = ok && add_bn(k->pkey, k->rsa ? OSSL_PKEY_PARAM_RSA_E : OSSL_PKEY_PARAM_EC_PUB_Y,
			   k->rsa ? 0 : P256_BYTES, out);
	buf_adds(out, "\"}");
	return ok ? out->err : -EINVAL;
}
