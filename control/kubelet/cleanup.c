/* SPDX-License-Identifier: Apache-2.0
 * Removal of what a pod leaves: sandboxes with their containers, volumes, logs, cgroup. Also for
 * pods that only the runtime or the disk remembers. */
#include <dirent.h>
#include "kubelet/cgroup.h"
#include "kubelet/cleanup.h"
#include "kubelet/spec.h"
#include "kubelet/volumes.h"
#include "xebec/base/timefmt.h"

struct cleanup {
	struct kubelet *k;
	struct pod *p; /* NULL for an orphan */
	void (*done)(struct pod *p);
	char *uid, *logs, *cgroup;
	json_t *sandboxes; /* ids still to be removed */
	struct loop_timer retry;
	struct pool_job job;
	unsigned tries;
};

static void next(struct cleanup *c);

static void cleanup_drop(struct cleanup *c)
{
	loop_timer_cancel(&c->retry);
	json_decref(c->sandboxes);
	free(c->uid);
	free(c->logs);
	free(c->cgroup);
	free(c);
}

static void files_work(struct pool_job *j)
{
	struct cleanup *c = j->arg;
	AUTO_BUF struct buf dir = {0};
	pod_dir(c->k, c->uid, &dir);
	if (!dir.err)
		volumes_teardown(dir.p);
	if (c->logs)
		(void)rm_rf(c->logs);
	if (c->cgroup)
		cgroup_remove(c->cgroup);
}

static void files_done(struct pool_job *j)
{
	struct cleanup *c = j->arg;
	struct pod *p = c->p;
	void (*done)(struct pod *) = c->done;
	(void)json_object_del(c->k->orphans, c->uid);
	cleanup_drop(c);
	if (p) {
		if (!p->k->closing)
			done(p);
		pod_unref(p);
	}
}

static void retry_later(struct cleanup *c)
{
	/* The runtime may be away for long: what is left is tried again for ever, slowly. */
	c->tries++;
	int64_t wait = c->tries < 5 ? NS_PER_SEC : 10 * NS_PER_SEC;
	(void)loop_timer_set(c->k->loop, &c->retry, wait);
}

static void on_removed(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct cleanup *c = arg;
	(void)resp;
	if (e && status != CRI_NOT_FOUND) {
		retry_later(c);
		return;
	}
	(void)json_array_remove(c->sandboxes, 0);
	next(c);
}

static void on_stopped(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct cleanup *c = arg;
	(void)resp;
	if (e && status != CRI_NOT_FOUND) {
		retry_later(c);
		return;
	}
	if (!cri_send(c->k->cri, CRI_RemovePodSandbox,
		    json_pack("{s:O}", "pod_sandbox_id", json_array_get(c->sandboxes, 0)),
		    on_removed, c))
		retry_later(c);
}

static void next(struct cleanup *c)
{
	if (json_array_size(c->sandboxes) == 0) {
		c->job = (struct pool_job){
			.work = files_work, .done = files_done, .arg = c, .loop = c->k->loop};
		pool_submit(c->k->pool, &c->job);
		return;
	}
	if (!cri_send(c->k->cri, CRI_StopPodSandbox,
		    json_pack("{s:O}", "pod_sandbox_id", json_array_get(c->sandboxes, 0)),
		    on_stopped, c))
		retry_later(c);
}

static void on_retry(struct loop_timer *t)
{
	next(t->arg);
}

static struct cleanup *cleanup_new(struct kubelet *k, const char *uid)
{
	struct cleanup *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->k = k;
	c->uid = strdup(uid);
	c->sandboxes = json_array();
	c->retry = (struct loop_timer){.fn = on_retry, .arg = c};
	return c;
}

void pod_cleanup(struct pod *p, void (*done)(struct pod *p))
{
	AUTO_BUF struct buf logs = {0}, cg = {0};
	struct spec_ctx ctx;
	struct cleanup *c = cleanup_new(p->k, p->uid);
	if (!c)
		return;
	spec_ctx_of(p, &ctx);
	spec_log_dir(&ctx, p->obj, &logs);
	spec_cgroup(&ctx, p->obj, &cg);
	c->p = pod_ref(p);
	c->done = done;
	c->logs = buf_steal(&logs);
	c->cgroup = buf_steal(&cg);
	(void)json_array_extend(c->sandboxes, p->old_sandboxes ? p->old_sandboxes : c->sandboxes);
	if (p->sandbox)
		(void)json_array_append_new(c->sandboxes, json_string(p->sandbox));
	volumes_free(p->vols);
	p->vols = NULL;
	next(c);
}

/* --- orphans --- */

struct cgroup_search {
	const char *uid;
	char *path;
};

static void match_cgroup(void *arg, const char *path, const char *uid)
{
	struct cgroup_search *s = arg;
	if (!s->path && strcmp(uid, s->uid) == 0)
		s->path = strdup(path);
}

static char *find_logs(const struct kubelet *k, const char *uid)
{
	char *found = NULL;
	size_t n = strlen(uid);
	DIR *d = opendir(k->logs);
	for (struct dirent *de; d && !found && (de = readdir(d));) {
		AUTO_BUF struct buf path = {0};
		size_t m = strlen(de->d_name);
		if (m <= n || strcmp(de->d_name + m - n, uid) != 0)
			continue;
		buf_addf(&path, "%s/%s", k->logs, de->d_name);
		found = buf_steal(&path);
	}
	if (d)
		(void)closedir(d);
	return found;
}

void orphan_cleanup(struct kubelet *k, const char *uid, const json_t *sandboxes)
{
	struct cgroup_search s = {.uid = uid};
	if (json_object_get(k->orphans, uid))
		return;
	struct cleanup *c = cleanup_new(k, uid);
	if (!c)
		return;
	(void)json_object_set_new(k->orphans, uid, json_true());
	(void)json_array_extend(c->sandboxes, (json_t *)sandboxes);
	cgroup_pods(k->c.cgroup_root, match_cgroup, &s);
	c->cgroup = s.path;
	c->logs = find_logs(k, uid);
	next(c);
}

void orphan_files(struct kubelet *k, const json_t *sandboxes_by_uid)
{
	AUTO_BUF struct buf dir = {0};
	AUTO_JSON json_t *none = json_array(), *uids = json_object();
	const char *uid;
	json_t *v;
	buf_addf(&dir, "%s/pods", k->root);
	DIR *d = dir.err ? NULL : opendir(dir.p);
	for (struct dirent *de; d && (de = readdir(d));)
		if (de->d_name[0] != '.')
			(void)json_object_set_new(uids, de->d_name, json_true());
	if (d)
		(void)closedir(d);
	json_object_foreach (uids, uid, v) {
		if (!pod_find_uid(k, uid) && !json_object_get(sandboxes_by_uid, uid))
			orphan_cleanup(k, uid, none);
	}
}
