/* SPDX-License-Identifier: Apache-2.0
 * A kubeconfig file: current context -> cluster and user -> an HTTPS client. */
#include <errno.h>
#include "xebec/base/json.h"
#include "xebec/base/tls.h"
#include "xebec/base/yaml.h"
#include "xebec/client/client.h"

/* The member `what` of the row called `name` in the list `rows`. */
static json_t *named(const json_t *conf, const char *rows, const char *name, const char *what)
{
	const json_t *list = json_object_get(conf, rows);
	for (size_t i = 0; name && i < json_array_size(list); i++) {
		const json_t *row = json_array_get(list, i);
		if (strcmp(json_str(row, "name", ""), name) == 0)
			return json_object_get(row, what);
	}
	return NULL;
}

/* Paths in the file are relative to the file's own folder. */
static int resolve(const char *config_path, const char *path, struct buf *out)
{
	const char *slash = strrchr(config_path, '/');
	if (path[0] != '/' && slash)
		buf_add(out, config_path, (size_t)(slash - config_path) + 1);
	buf_adds(out, path);
	return out->err;
}

/* PEM text from `key`-data (base64) or the file that `key` names; empty when there is neither. */
static int read_pem(
	const char *config_path, const json_t *o, const char *key, struct buf *out, struct err *e)
{
	char data_key[64];
	(void)snprintf(data_key, sizeof(data_key), "%s-data", key);
	const char *data = json_str(o, data_key, NULL), *path = json_str(o, key, NULL);
	AUTO_BUF struct buf full = {0};
	if (data && data[0]) {
		if (base64_decode(str_of(data), out) < 0)
			return err_set(e, -EINVAL, "BadRequest", "%s: %s is not base64",
				config_path, data_key);
		return 0;
	}
	if (!path || !path[0])
		return 0;
	int r = resolve(config_path, path, &full);
	if (r == 0)
		r = file_read(full.p, 1 << 20, out);
	if (r < 0)
		return err_set(e, r, "BadRequest", "%s: %s: read %s: %s", config_path, key,
			full.p ? full.p : path, strerror(-r));
	return 0;
}

struct secrets {
	struct buf ca, cert, key, token_file;
};

static void secrets_free(struct secrets *s)
{
	if (s->key.p)
		explicit_bzero(s->key.p, s->key.len);
	buf_free(&s->ca);
	buf_free(&s->cert);
	buf_free(&s->key);
	buf_free(&s->token_file);
}

static int connect_as(const char *path, const json_t *cluster, const json_t *user,
	struct client_https_config *c, struct client **ret, struct err *e)
{
	AUTO(secrets_free) struct secrets s = {0};
	const char *token_file = json_str(user, "tokenFile", NULL);
	int r = read_pem(path, cluster, "certificate-authority", &s.ca, e);
	if (r == 0)
		r = read_pem(path, user, "client-certificate", &s.cert, e);
	if (r == 0)
		r = read_pem(path, user, "client-key", &s.key, e);
	if (r == 0 && token_file && token_file[0])
		r = resolve(path, token_file, &s.token_file);
	if (r < 0)
		return r;
	if (!s.cert.len != !s.key.len)
		return err_set(e, -EINVAL, "BadRequest",
			"%s: client-certificate and client-key belong together", path);
	c->ca_pem = buf_str(&s.ca);
	c->cert_pem = buf_str(&s.cert);
	c->key_pem = buf_str(&s.key);
	c->token = json_str(user, "token", NULL);
	c->token_file = c->token ? NULL : s.token_file.p;
	c->server = json_str(cluster, "server", "");
	c->tls_server_name = json_str(cluster, "tls-server-name", NULL);
	c->insecure = json_flag(cluster, "insecure-skip-tls-verify", false);
	return client_new_https(c, ret, e);
}

int client_new_kubeconfig(struct loop *l, const char *path, const char *user_agent,
	struct client **ret, struct err *e)
{
	AUTO_BUF struct buf text = {0};
	AUTO_JSON json_t *conf = NULL;
	int r = file_read(path, 4 << 20, &text);
	if (r < 0)
		return err_set(e, r, NULL, "read kubeconfig %s: %s", path, strerror(-r));
	r = yaml_parse(buf_str(&text), &conf, NULL, e);
	if (r < 0) {
		(void)err_prefix(e, "kubeconfig %s", path);
		return r;
	}
	const char *context = json_str(conf, "current-context", NULL);
	const json_t *ctx = named(conf, "contexts", context, "context");
	if (!ctx)
		return err_set(e, -EINVAL, "BadRequest", "kubeconfig %s: no context '%s'", path,
			context ? context : "");
	const char *cluster_name = json_str(ctx, "cluster", ""),
		   *user_name = json_str(ctx, "user", "");
	const json_t *cluster = named(conf, "clusters", cluster_name, "cluster");
	const json_t *user = named(conf, "users", user_name, "user");
	if (!cluster || (!user && user_name[0]))
		return err_set(e, -EINVAL, "BadRequest", "kubeconfig %s: no %s '%s'", path,
			cluster ? "user" : "cluster", cluster ? user_name : cluster_name);
	struct client_https_config c = {.loop = l, .user_agent = user_agent};
	return connect_as(path, cluster, user, &c, ret, e);
}
