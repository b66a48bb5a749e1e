/* SPDX-License-Identifier: Apache-2.0
 * The control plane's keys and certificates: made at the first start, kept afterwards. */
#include "roles/server_pki.h"

#include <errno.h>
#include "xebec/base/tls.h"

#define YEAR_SECONDS (365LL * 24 * 3600)

static int load(const char *dir, const char *name, struct buf *out)
{
	char path[4096];
	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return file_read(path, 1 << 20, out);
}

static int save(
	const char *dir, const char *name, const struct buf *b, unsigned mode, struct err *e)
{
	char path[4096];
	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, NULL, "%s/%s", dir, name);
	int rc = file_write_atomic(path, buf_str(b), mode);
	return rc < 0 ? err_set(e, -rc, NULL, "cannot write %s", path) : 0;
}

static int save_pair(const char *dir, const char *name, const struct buf *crt,
	const struct buf *key, struct err *e)
{
	char file[64];
	(void)snprintf(file, sizeof(file), "%s.key", name);
	int rc = save(dir, file, key, 0600, e);
	(void)snprintf(file, sizeof(file), "%s.crt", name);
	return rc < 0 ? rc : save(dir, file, crt, 0644, e);
}

/* 0: both are there; -ENOENT: none or one. */
static int load_pair(const char *dir, const char *name, struct buf *crt, struct buf *key)
{
	char file[64];
	(void)snprintf(file, sizeof(file), "%s.crt", name);
	int rc = load(dir, file, crt);
	(void)snprintf(file, sizeof(file), "%s.key", name);
	if (rc == 0)
		rc = load(dir, file, key);
	if (rc < 0) {
		buf_clear(crt);
		buf_clear(key);
	}
	return rc;
}

static int issue(struct server_pki *p, const char *dir, const char *name,
	const struct pki_request *q, struct buf *crt, struct buf *key, struct err *e)
{
	int rc = pki_issue(buf_str(&p->ca_crt), buf_str(&p->ca_key), q, crt, key, e);
	return rc < 0 ? rc : save_pair(dir, name, crt, key, e);
}

static int authority(struct server_pki *p, const char *dir, struct err *e)
{
	if (load_pair(dir, "ca", &p->ca_crt, &p->ca_key) == 0)
		return 0;
	int rc = pki_ca_new("xebec-ca", &p->ca_crt, &p->ca_key, e);
	return rc < 0 ? rc : save_pair(dir, "ca", &p->ca_crt, &p->ca_key, e);
}

static int client(struct server_pki *p, const char *dir, const char *name, const char *cn,
	struct buf *crt, struct buf *key, struct err *e)
{
	static const char *const masters[] = {"system:masters", NULL};
	const struct pki_request q = {
		.cn = cn, .orgs = masters, .client = true, .valid_seconds = 10 * YEAR_SECONDS};
	return load_pair(dir, name, crt, key) == 0 ? 0 : issue(p, dir, name, &q, crt, key, e);
}

static int token_key(struct server_pki *p, const char *dir, struct err *e)
{
	AUTO_BUF struct buf pub = {0};
	struct pki_key *k = NULL;
	int rc = load(dir, "sa.key", &p->sa_key);
	if (rc < 0) {
		buf_clear(&p->sa_key);
		rc = pki_key_new(&p->sa_key, e);
		if (rc == 0)
			rc = save(dir, "sa.key", &p->sa_key, 0600, e);
	}
	if (rc == 0)
		rc = pki_key_load(buf_str(&p->sa_key), &k, e);
	if (rc == 0)
		rc = pki_key_public_pem(k, &pub);
	pki_key_free(k);
	return rc < 0 ? rc : save(dir, "sa.pub", &pub, 0644, e);
}

int server_pki_open(const char *dir, const char *const *sans, struct server_pki *ret, struct err *e)
{
	const struct pki_request server = {.cn = "kube-apiserver",
		.sans = sans,
		.server = true,
		.valid_seconds = YEAR_SECONDS};
	struct server_pki p = {0};
	int rc = mkdir_p(dir, 0700);
	if (rc < 0)
		return err_set(e, -rc, NULL, "cannot make %s", dir);
	rc = authority(&p, dir, e);
	if (rc == 0)
		rc = issue(&p, dir, "server", &server, &p.server_crt, &p.server_key, e);
	if (rc == 0)
		rc = client(&p, dir, "admin", "kubernetes-admin", &p.admin_crt, &p.admin_key, e);
	if (rc == 0)
		rc = client(&p, dir, "kubelet-client", "kube-apiserver-kubelet-client",
			&p.kubelet_crt, &p.kubelet_key, e);
	if (rc == 0)
		rc = token_key(&p, dir, e);
	if (rc < 0) {
		server_pki_free(&p);
		return err_prefix(e, "keys and certificates");
	}
	*ret = p;
	return 0;
}

void server_pki_free(struct server_pki *p)
{
	struct buf *const all[] = {&p->ca_crt, &p->ca_key, &p->server_crt, &p->server_key,
		&p->admin_crt, &p->admin_key, &p->kubelet_crt, &p->kubelet_key, &p->sa_key};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		buf_free(all[i]);
}

int server_kubeconfig_write(
	const char *path, const char *url, const struct server_pki *p, struct err *e)
{
	AUTO_BUF struct buf b = {0};
	buf_adds(&b,
		"apiVersion: v1\nkind: Config\nclusters:\n- name: xebec\n  cluster:\n    server: ");
	buf_adds(&b, url);
	buf_adds(&b, "\n    certificate-authority-data: ");
	base64_encode(buf_str(&p->ca_crt), &b);
	buf_adds(&b, "\nusers:\n- name: admin\n  user:\n    client-certificate-data: ");
	base64_encode(buf_str(&p->admin_crt), &b);
	buf_adds(&b, "\n    client-key-data: ");
	base64_encode(buf_str(&p->admin_key), &b);
	buf_adds(&b, "\ncontexts:\n- name: xebec\n  context:\n    cluster: xebec\n    user: admin\n"
		     "current-context: xebec\n");
	int rc = b.err ? b.err : file_write_atomic(path, buf_str(&b), 0600);
	return rc < 0 ? err_set(e, -rc, NULL, "cannot write %s", path) : 0;
}
