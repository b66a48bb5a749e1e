/* SPDX-License-Identifier: Apache-2.0
 * Start and stop of the node agent. */
#include <errno.h>
#include "kubelet/kubelet.h"
#include "kubelet/node.h"
#include "kubelet/objcache.h"
#include "kubelet/pod.h"
#include "kubelet/server.h"

static char *text_of(const char *path)
{
	AUTO_BUF struct buf b = {0};
	return file_read(path, 1 << 16, &b) == 0 && b.p ? buf_steal(&b) : strdup("");
}

static int make_dirs(struct kubelet *k, struct err *e)
{
	AUTO_BUF struct buf logs = {0}, pods = {0};
	if (k->c.log_dir)
		buf_adds(&logs, k->c.log_dir);
	else
		buf_addf(&logs, "%s/logs", k->c.root_dir);
	buf_addf(&pods, "%s/pods", k->c.root_dir);
	if (logs.err || pods.err)
		return err_set(e, ENOMEM, NULL, "out of memory");
	int r = mkdir_p(pods.p, 0755);
	if (r == 0)
		r = mkdir_p(logs.p, 0755);
	if (r < 0)
		return err_set(e, r, NULL, "kubelet: make '%s': %s", pods.p, strerror(-r));
	k->root = strdup(k->c.root_dir);
	k->logs = buf_steal(&logs);
	k->domain = strdup(k->c.cluster_domain ? k->c.cluster_domain : "cluster.local");
	k->resolv_conf = text_of(k->c.resolv_conf ? k->c.resolv_conf : "/etc/resolv.conf");
	return k->root && k->logs && k->domain && k->resolv_conf
		       ? 0
		       : err_set(e, ENOMEM, NULL, "out of memory");
}

int kubelet_start_cri(
	const struct kubelet_config *cfg, struct cri *cri, struct kubelet **ret, struct err *e)
{
	struct kubelet *k = calloc(1, sizeof(*k));
	if (!k) {
		cri->ops->free(cri);
		return err_set(e, ENOMEM, NULL, "out of memory");
	}
	k->c = *cfg;
	k->loop = cfg->loop;
	k->client = cfg->client;
	k->cri = cri;
	list_init(&k->pods);
	k->pool = pool_new(2);
	k->rec = event_recorder_new(cfg->client, "kubelet", cfg->node_name);
	int r = k->pool && k->rec ? make_dirs(k, e) : err_set(e, ENOMEM, NULL, "out of memory");
	if (r == 0)
		r = node_start(k, e);
	if (r == 0)
		r = pods_start(k, e);
	if (r == 0 && cfg->listen)
		r = server_start(k, e);
	if (r < 0) {
		kubelet_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

int kubelet_start(const struct kubelet_config *cfg, struct kubelet **ret, struct err *e)
{
	struct cri *cri;
	int r = cri_open(cfg->loop, cfg->runtime, &cri, e);
	return r < 0 ? r : kubelet_start_cri(cfg, cri, ret, e);
}

void kubelet_free(struct kubelet *k)
{
	if (!k)
		return;
	k->closing = true;
	server_stop(k);
	node_stop(k);
	pods_stop(k);
	pool_free(k->pool);
	k->cri->ops->free(k->cri);
	objcache_free(k->objs);
	event_recorder_free(k->rec);
	free(k->root);
	free(k->logs);
	free(k->domain);
	free(k->resolv_conf);
	free(k->selector);
	free(k);
}
