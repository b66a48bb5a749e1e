/* SPDX-License-Identifier: Apache-2.0
 * Volumes: emptyDir, hostPath, configMap, secret, downwardAPI, projected, and claims whose
 * persistent volume is a directory of this node. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "kubelet/atomicdir.h"
#include "kubelet/owner.h"
#include "kubelet/volumes.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

struct token { /* a serviceAccountToken source of a projected volume */
	struct list link;
	struct volumes *v;
	const json_t *src; /* in the pod object that was current at volumes_start */
	char *text;
	struct client_call *call;
	struct loop_timer refresh;
};

struct volume {
	char *name, *path;
	bool ro, ready, mounted;
};

struct volumes {
	struct pod *pod;
	json_t *obj; /* keeps token sources alive */
	struct volume *v;
	size_t n;
	struct objref **refs;
	size_t n_refs;
	struct list tokens;
	struct loop_timer retry;
	int64_t delay;
	bool reported;
};

void pod_dir(const struct kubelet *k, const char *uid, struct buf *out)
{
	buf_addf(out, "%s/pods/%s", k->root, uid);
}

const char *volume_path(const struct pod *p, const char *name, bool *ret_ro)
{
	for (size_t i = 0; p->vols && i < p->vols->n; i++)
		if (strcmp(p->vols->v[i].name, name) == 0) {
			*ret_ro = p->vols->v[i].ro;
			return p->vols->v[i].path;
		}
	return NULL;
}

/* --- references --- */

static const json_t *lookup(const struct pod *p, enum obj_kind kind, const char *name)
{
	for (size_t i = 0; p->vols && i < p->vols->n_refs; i++) {
		struct objref *r = p->vols->refs[i];
		if (objref_kind(r) == kind && strcmp(objref_name(r), name) == 0)
			return objref_get(r);
	}
	return NULL;
}

static const json_t *lookup_configmap(void *arg, const char *name)
{
	return lookup(arg, OBJ_CONFIGMAP, name);
}

static const json_t *lookup_secret(void *arg, const char *name)
{
	return lookup(arg, OBJ_SECRET, name);
}

void env_ctx_of(const struct pod *p, struct env_ctx *c)
{
	*c = (struct env_ctx){.pod = p->obj,
		.pod_ip = p->ip,
		.host_ip = p->k->c.node_ip,
		.pod_ips = p->ips,
		.host_ips = node_ips(p->k),
		.node_name = p->k->c.node_name,
		.node_cpu_milli = sysconf(_SC_NPROCESSORS_ONLN) * 1000,
		.node_memory = (int64_t)p->k->mem_capacity,
		.configmap = lookup_configmap,
		.secret = lookup_secret,
		.arg = (void *)p};
}

static void hold(struct volumes *v, enum obj_kind kind, const char *name)
{
	if (!name || !*name)
		return;
	for (size_t i = 0; i < v->n_refs; i++)
		if (objref_kind(v->refs[i]) == kind && strcmp(objref_name(v->refs[i]), name) == 0)
			return;
	struct objref **refs = realloc(v->refs, (v->n_refs + 1) * sizeof(*refs));
	if (!refs)
		return;
	v->refs = refs;
	const char *ns = kind == OBJ_VOLUME ? "" : v->pod->ns;
	struct objref *r = objcache_hold(v->pod->k->objs, kind, ns, name);
	if (r)
		refs[v->n_refs++] = r;
}

static void hold_source(struct volumes *v, const json_t *src)
{
	hold(v, OBJ_CONFIGMAP, json_str(src, "configMap.name", NULL));
	hold(v, OBJ_SECRET, json_str(src, "secret.secretName", NULL));
	hold(v, OBJ_SECRET, json_str(src, "secret.name", NULL));
}

/* A generic ephemeral volume's claim has a name made of the pod's. */
static bool claim_name(const struct pod *p, const json_t *spec, struct buf *out)
{
	const char *name = json_str(spec, "persistentVolumeClaim.claimName", NULL);
	if (name)
		buf_adds(out, name);
	else if (json_is_object(json_object_get(spec, "ephemeral")))
		buf_addf(out, "%s-%s", p->name, json_str(spec, "name", ""));
	return out->len > 0 && !out->err;
}

static void hold_claim(struct volumes *v, const json_t *spec)
{
	AUTO_BUF struct buf name = {0};
	if (claim_name(v->pod, spec, &name))
		hold(v, OBJ_CLAIM, name.p);
}

static void hold_container(struct volumes *v, const json_t *c)
{
	size_t i;
	json_t *e;
	json_array_foreach (json_object_get(c, "env"), i, e) {
		hold(v, OBJ_CONFIGMAP, json_str(e, "valueFrom.configMapKeyRef.name", NULL));
		hold(v, OBJ_SECRET, json_str(e, "valueFrom.secretKeyRef.name", NULL));
	}
	json_array_foreach (json_object_get(c, "envFrom"), i, e) {
		hold(v, OBJ_CONFIGMAP, json_str(e, "configMapRef.name", NULL));
		hold(v, OBJ_SECRET, json_str(e, "secretRef.name", NULL));
	}
}

static void hold_all(struct volumes *v)
{
	static const char *const lists[] = {
		"spec.containers", "spec.initContainers", "spec.ephemeralContainers"};
	const json_t *pod = v->pod->obj;
	size_t i, j;
	json_t *e, *s;
	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		json_array_foreach (json_at(pod, lists[l]), i, e)
			hold_container(v, e);
	json_array_foreach (json_at(pod, "spec.volumes"), i, e) {
		hold_source(v, e);
		hold_claim(v, e);
		json_array_foreach (json_at(e, "projected.sources"), j, s)
			hold_source(v, s);
	}
	json_array_foreach (json_at(pod, "spec.imagePullSecrets"), i, e)
		hold(v, OBJ_SECRET, json_str(e, "name", NULL));
}

bool volumes_use(const struct pod *p, enum obj_kind kind, const char *ns, const char *name)
{
	if (!p->vols || strcmp(kind == OBJ_VOLUME ? "" : p->ns, ns) != 0)
		return false;
	for (size_t i = 0; i < p->vols->n_refs; i++)
		if (objref_kind(p->vols->refs[i]) == kind &&
			strcmp(objref_name(p->vols->refs[i]), name) == 0)
			return true;
	return false;
}

/* --- service account tokens --- */

static void token_request(struct token *t);

static void token_again(struct loop_timer *t)
{
	token_request(t->arg);
}

static void token_done(void *arg, const struct client_result *r)
{
	struct token *t = arg;
	struct pod *p = t->v->pod;
	t->call = NULL;
	AUTO_JSON json_t *j = NULL;
	const char *text = NULL;
	if (!r->e && json_parse(r->body, &j, NULL) == 0)
		text = json_str(j, "status.token", NULL);
	if (!text) {
		(void)snprintf(p->vol_error, sizeof(p->vol_error), "fetch token: %s",
			r->e ? r->e->msg : "malformed TokenRequest");
		(void)loop_timer_set(
			p->k->loop, &t->refresh, t->text ? 30 * NS_PER_SEC : NS_PER_SEC);
		return;
	}
	free(t->text);
	t->text = strdup(text);
	int64_t life = json_i64(t->src, "expirationSeconds", 3600);
	/* Rotated at 80 % of its life, at least daily. */
	int64_t after = life * 8 / 10 < 86400 ? life * 8 / 10 : 86400;
	(void)loop_timer_set(p->k->loop, &t->refresh, after * NS_PER_SEC);
	volumes_update(p);
}

static void token_request(struct token *t)
{
	struct pod *p = t->v->pod;
	AUTO_BUF struct buf path = {0}, body = {0};
	const char *aud = json_str(t->src, "audience", "");
	AUTO_JSON json_t *req = json_pack("{s:s, s:s, s:{s:o, s:I, s:{s:s, s:s, s:s, s:s}}}",
		"kind", "TokenRequest", "apiVersion", "authentication.k8s.io/v1", "spec",
		"audiences", *aud ? json_pack("[s]", aud) : json_array(), "expirationSeconds",
		(json_int_t)json_i64(t->src, "expirationSeconds", 3600), "boundObjectRef", "kind",
		"Pod", "apiVersion", "v1", "name", p->name, "uid", p->uid);
	buf_addf(&path, "/api/v1/namespaces/%s/serviceaccounts/%s/token", p->ns,
		json_str(p->obj, "spec.serviceAccountName", "default"));
	json_write(req, &body);
	struct client_request cr = {
		.method = "POST", .path = buf_str(&path), .body = buf_str(&body)};
	if (!t->call)
		t->call = client_send(p->k->client, &cr, token_done, t);
}

static void tokens_begin(struct volumes *v)
{
	size_t i, j;
	json_t *vol, *src;
	json_array_foreach (json_at(v->obj, "spec.volumes"), i, vol) {
		json_array_foreach (json_at(vol, "projected.sources"), j, src) {
			const json_t *sat = json_object_get(src, "serviceAccountToken");
			struct token *t = json_is_object(sat) ? calloc(1, sizeof(*t)) : NULL;
			if (!t)
				continue;
			*t = (struct token){
				.v = v, .src = sat, .refresh = {.fn = token_again, .arg = t}};
			list_push(&v->tokens, &t->link);
			token_request(t);
		}
	}
}

static const char *token_for(const struct volumes *v, const json_t *src)
{
	list_each (it, &v->tokens) {
		struct token *t = list_entry(it, struct token, link);
		if (t->src == src || (t->text && json_equal(t->src, src)))
			return t->text;
	}
	return NULL;
}

/* --- content --- */

/* -EAGAIN: not known yet. */
static int object_payload(struct volumes *v, enum obj_kind kind, const json_t *src,
	const char *name, int64_t mode, struct payload *out, struct err *e)
{
	const char *what = kind == OBJ_SECRET ? "secret" : "configmap", *k;
	const json_t *items = json_object_get(src, "items"), *obj = NULL;
	bool optional = json_flag(src, "optional", false), known = false;
	size_t i;
	json_t *it, *val;
	for (i = 0; i < v->n_refs; i++)
		if (objref_kind(v->refs[i]) == kind && strcmp(objref_name(v->refs[i]), name) == 0) {
			known = objref_synced(v->refs[i]);
			obj = objref_get(v->refs[i]);
		}
	if (!known)
		return err_set(e, EAGAIN, NULL, "%s \"%s\" is not known yet", what, name);
	if (!obj && optional)
		return 0;
	if (!obj)
		return err_set(e, ENOENT, NULL, "%s \"%s\" not found", what, name);
	AUTO_JSON json_t *data = json_object(); /* key -> text or base64, with a mark */
	json_object_foreach (json_object_get(obj, "data"), k, val)
		(void)json_object_set_new(
			data, k, json_pack("{s:O, s:b}", "v", val, "b64", kind == OBJ_SECRET));
	json_object_foreach (json_object_get(obj, "binaryData"), k, val)
		(void)json_object_set_new(data, k, json_pack("{s:O, s:b}", "v", val, "b64", 1));
	AUTO_JSON json_t *all = json_array();
	if (json_is_array(items))
		(void)json_array_extend(all, (json_t *)items);
	else
		json_object_foreach (data, k, val)
			(void)json_array_append_new(
				all, json_pack("{s:s, s:s}", "key", k, "path", k));
	json_array_foreach (all, i, it) {
		const char *key = json_str(it, "key", "");
		const json_t *entry = json_object_get(data, key);
		AUTO_BUF struct buf raw = {0};
		if (!entry && optional)
			continue;
		if (!entry)
			return err_set(
				e, ENOENT, NULL, "references non-existent %s key: %s", what, key);
		const char *text = json_str(entry, "v", "");
		if (!json_flag(entry, "b64", false))
			buf_adds(&raw, text);
		else if (base64_decode(str_of(text), &raw) < 0)
			return err_set(e, EINVAL, NULL, "%s key %s is not base64", what, key);
		int r = payload_add(out, json_str(it, "path", ""), buf_str(&raw),
			(unsigned)json_i64(it, "mode", mode));
		if (r < 0)
			return err_set(e, r, NULL, "bad path '%s'", json_str(it, "path", ""));
	}
	return 0;
}

static const json_t *first_container(const struct pod *p)
{
	return json_array_get(json_at(p->obj, "spec.containers"), 0);
}

static int downward_payload(
	struct volumes *v, const json_t *src, int64_t mode, struct payload *out, struct err *e)
{
	struct env_ctx ctx;
	size_t i;
	json_t *it;
	env_ctx_of(v->pod, &ctx);
	json_array_foreach (json_object_get(src, "items"), i, it) {
		AUTO_BUF struct buf text = {0};
		const json_t *f = json_object_get(it, "fieldRef");
		int r = f ? field_ref(&ctx, json_str(f, "fieldPath", ""), &text, e)
			  : resource_ref(&ctx, first_container(v->pod),
				    json_object_get(it, "resourceFieldRef"), &text, e);
		if (r < 0)
			return r;
		r = payload_add(out, json_str(it, "path", ""), buf_str(&text),
			(unsigned)json_i64(it, "mode", mode));
		if (r < 0)
			return err_set(e, r, NULL, "bad path '%s'", json_str(it, "path", ""));
	}
	return 0;
}

static int projected_payload(
	struct volumes *v, const json_t *vol, int64_t mode, struct payload *out, struct err *e)
{
	size_t i;
	json_t *s;
	json_array_foreach (json_object_get(vol, "sources"), i, s) {
		const json_t *src, *tok;
		int r = 0;
		if ((src = json_object_get(s, "configMap")))
			r = object_payload(
				v, OBJ_CONFIGMAP, src, json_str(src, "name", ""), mode, out, e);
		else if ((src = json_object_get(s, "secret")))
			r = object_payload(
				v, OBJ_SECRET, src, json_str(src, "name", ""), mode, out, e);
		else if ((src = json_object_get(s, "downwardAPI")))
			r = downward_payload(v, src, mode, out, e);
		else if ((tok = json_object_get(s, "serviceAccountToken"))) {
			const char *text = token_for(v, tok);
			if (!text)
				return err_set(e, EAGAIN, NULL, "%s",
					*v->pod->vol_error ? v->pod->vol_error
							   : "token is not there yet");
			r = payload_add(
				out, json_str(tok, "path", ""), str_of(text), (unsigned)mode);
		} else
			r = err_set(e, ENOTSUP, NULL, "unsupported projected source");
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- one volume --- */

static int64_t fs_group(const struct pod *p)
{
	return json_i64(p->obj, "spec.securityContext.fsGroup", -1);
}

static bool is_mount(const char *path)
{
	AUTO_BUF struct buf up = {0};
	struct stat a, b;
	buf_addf(&up, "%s/..", path);
	return !up.err && stat(path, &a) == 0 && stat(up.p, &b) == 0 && a.st_dev != b.st_dev;
}

static int mount_tmpfs(const char *path, int64_t bytes, const char *mode, struct err *e)
{
	AUTO_BUF struct buf opt = {0};
	int r = mkdir_p(path, 0755);
	if (r < 0)
		return err_set(e, r, NULL, "make '%s'", path);
	if (is_mount(path))
		return 0;
	buf_addf(&opt, "mode=%s", mode);
	if (bytes > 0)
		buf_addf(&opt, ",size=%lld", (long long)bytes);
	if (opt.err || mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, opt.p) < 0)
		return err_set(e, errno, NULL, "mount tmpfs on '%s': %s", path, strerror(errno));
	return 0;
}

static int setup_empty_dir(struct volumes *v, struct volume *vol, const json_t *src, struct err *e)
{
	int64_t gid = fs_group(v->pod);
	if (vol->ready)
		return 0;
	if (strcmp(json_str(src, "medium", ""), "Memory") == 0) {
		int64_t size = quantity_milli(json_object_get(src, "sizeLimit"), 0) / 1000;
		int r = mount_tmpfs(vol->path, size, "0777", e);
		if (r < 0)
			return r;
	}
	int r = mkdir_p(vol->path, 0777);
	if (r < 0)
		return err_set(e, r, NULL, "make '%s'", vol->path);
	if (gid >= 0)
		(void)!chown(vol->path, (uid_t)-1, (gid_t)gid);
	return chmod(vol->path, gid >= 0 ? 02777 : 0777) < 0
		       ? err_set(e, errno, NULL, "chmod '%s'", vol->path)
		       : 0;
}

static int setup_host_path(struct volume *vol, const json_t *src, struct err *e)
{
	static const struct {
		const char *type, *what;
		mode_t fmt;
		bool create;
	} rules[] = {{"DirectoryOrCreate", "directory", S_IFDIR, true},
		{"Directory", "directory", S_IFDIR, false}, {"FileOrCreate", "file", S_IFREG, true},
		{"File", "file", S_IFREG, false}, {"Socket", "socket", S_IFSOCK, false},
		{"CharDevice", "character device", S_IFCHR, false},
		{"BlockDevice", "block device", S_IFBLK, false}};
	const char *type = json_str(src, "type", ""), *path = json_str(src, "path", "");
	struct stat st;
	free(vol->path);
	vol->path = strdup(path);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		if (strcmp(type, rules[i].type) != 0)
			continue;
		bool there = stat(path, &st) == 0;
		if (!there && rules[i].create && rules[i].fmt == S_IFDIR)
			(void)mkdir_p(path, 0755);
		else if (!there && rules[i].create) {
			AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
			(void)fd;
		}
		if (stat(path, &st) < 0 || (st.st_mode & S_IFMT) != rules[i].fmt)
			return err_set(e, EINVAL, NULL,
				"hostPath type check failed: %s is not a %s", path, rules[i].what);
	}
	/* The runtime makes an absent directory; so do we, before it is asked. */
	if (!*type && stat(path, &st) < 0)
		(void)mkdir_p(path, 0755);
	return vol->path ? 0 : -ENOMEM;
}

/* --- claims --- */

/* A held object. -EAGAIN: not known yet. */
static int held(const struct volumes *v, enum obj_kind kind, const char *name, const json_t **ret,
	struct err *e)
{
	const char *what = kind == OBJ_CLAIM ? "persistentvolumeclaim" : "persistentvolume";
	bool known = false;
	*ret = NULL;
	for (size_t i = 0; i < v->n_refs; i++)
		if (objref_kind(v->refs[i]) == kind && strcmp(objref_name(v->refs[i]), name) == 0) {
			known = objref_synced(v->refs[i]);
			*ret = objref_get(v->refs[i]);
		}
	if (!known)
		return err_set(e, EAGAIN, NULL, "%s \"%s\" is not known yet", what, name);
	return *ret ? 0 : err_set(e, ENOENT, NULL, "%s \"%s\" not found", what, name);
}

/* The volume that a claim is bound to. Both must name each other: a claim alone may name any. */
static int bound_volume(
	struct volumes *v, const char *claim, const json_t *spec, const json_t **ret, struct err *e)
{
	const json_t *pvc = NULL, *pv = NULL;
	int r = held(v, OBJ_CLAIM, claim, &pvc, e);
	if (r < 0)
		return r;
	const char *volume = json_str(pvc, "spec.volumeName", "");
	const char *uid = json_str(pvc, "metadata.uid", "");
	if (json_is_object(json_object_get(spec, "ephemeral"))) {
		const char *owner = json_str(
			json_array_get(json_at(pvc, "metadata.ownerReferences"), 0), "uid", "");
		if (strcmp(owner, v->pod->uid) != 0)
			return err_set(e, EPERM, NULL,
				"persistentvolumeclaim \"%s\" was not created for this pod", claim);
	}
	if (json_is_string(json_at(pvc, "metadata.deletionTimestamp")) && !v->pod->told)
		return err_set(
			e, ENOENT, NULL, "persistentvolumeclaim \"%s\" is being deleted", claim);
	if (!*volume || strcmp(json_str(pvc, "status.phase", ""), "Bound") != 0)
		return err_set(e, ENOENT, NULL, "persistentvolumeclaim \"%s\" is not bound", claim);
	hold(v, OBJ_VOLUME, volume);
	r = held(v, OBJ_VOLUME, volume, &pv, e);
	if (r < 0)
		return r;
	if (strcmp(json_str(pv, "spec.claimRef.uid", ""), uid) != 0)
		return err_set(e, EPERM, NULL,
			"persistentvolume \"%s\" is not bound to persistentvolumeclaim \"%s\"",
			volume, claim);
	*ret = pv;
	return 0;
}

static int setup_local(struct volumes *v, struct volume *vol, const json_t *src, struct err *e)
{
	const char *path = json_str(src, "path", "");
	int64_t gid = fs_group(v->pod);
	bool always =
		strcmp(json_str(v->pod->obj, "spec.securityContext.fsGroupChangePolicy", "Always"),
			"Always") == 0;
	struct stat st;
	if (stat(path, &st) < 0)
		return err_set(e, errno, NULL, "path \"%s\": %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTSUP, NULL, "path \"%s\" is not a directory", path);
	if (gid >= 0 && !vol->ro) {
		int r = owner_set_group(path, (gid_t)gid, always);
		if (r < 0)
			return err_set(
				e, r, NULL, "set the group of \"%s\": %s", path, strerror(-r));
	}
	free(vol->path);
	vol->path = strdup(path);
	return vol->path ? 0 : err_set(e, ENOMEM, NULL, "out of memory");
}

static int setup_claim(
	struct volumes *v, struct volume *vol, const char *claim, const json_t *spec, struct err *e)
{
	const json_t *pv = NULL;
	int r = vol->ready ? 0 : bound_volume(v, claim, spec, &pv, e);
	if (r < 0 || vol->ready)
		return r;
	vol->ro = json_flag(spec, "persistentVolumeClaim.readOnly", false);
	if (strcmp(json_str(pv, "spec.volumeMode", "Filesystem"), "Filesystem") != 0)
		return err_set(e, ENOTSUP, NULL, "block volumes are not supported on this node");
	const json_t *local = json_at(pv, "spec.local"), *host = json_at(pv, "spec.hostPath");
	if (json_is_object(local))
		return setup_local(v, vol, local, e);
	if (json_is_object(host))
		return setup_host_path(vol, host, e);
	return err_set(e, ENOTSUP, NULL,
		"persistentvolume \"%s\" is neither local nor hostPath: not supported on this node",
		json_str(pv, "metadata.name", ""));
}

enum content { C_NONE, C_CONFIGMAP, C_SECRET, C_DOWNWARD, C_PROJECTED };

static int setup_content(
	struct volumes *v, struct volume *vol, enum content what, const json_t *src, struct err *e)
{
	struct payload pay = {0};
	int64_t mode = json_i64(src, "defaultMode", 0644);
	int r = 0;
	vol->ro = true;
	if (what == C_CONFIGMAP)
		r = object_payload(v, OBJ_CONFIGMAP, src, json_str(src, "name", ""), mode, &pay, e);
	else if (what == C_SECRET)
		r = object_payload(
			v, OBJ_SECRET, src, json_str(src, "secretName", ""), mode, &pay, e);
	else if (what == C_DOWNWARD)
		r = downward_payload(v, src, mode, &pay, e);
	else
		r = projected_payload(v, src, mode, &pay, e);
	/* Secrets never touch a disk. */
	if (r == 0 && !vol->mounted && (what == C_SECRET || what == C_PROJECTED)) {
		r = mount_tmpfs(vol->path, 0, "0755", e);
		vol->mounted = r == 0;
	}
	if (r == 0)
		r = atomicdir_write(vol->path, &pay, fs_group(v->pod), e);
	payload_free(&pay);
	return r < 0 ? r : 0;
}

static int setup_volume(struct volumes *v, struct volume *vol, const json_t *spec, struct err *e)
{
	static const struct {
		const char *member;
		enum content what;
	} contents[] = {{"configMap", C_CONFIGMAP}, {"secret", C_SECRET},
		{"downwardAPI", C_DOWNWARD}, {"projected", C_PROJECTED}};
	const json_t *src = json_object_get(spec, "hostPath");
	if (json_is_object(src))
		return vol->ready ? 0 : setup_host_path(vol, src, e);
	for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
		src = json_object_get(spec, contents[i].member);
		if (json_is_object(src))
			return setup_content(v, vol, contents[i].what, src, e);
	}
	AUTO_BUF struct buf claim = {0};
	if (claim_name(v->pod, spec, &claim))
		return setup_claim(v, vol, claim.p, spec, e);
	src = json_object_get(spec, "emptyDir");
	if (json_is_object(src) || json_object_size(spec) == 1)
		return setup_empty_dir(v, vol, src, e);
	const char *k = "";
	json_t *val;
	json_object_foreach ((json_t *)spec, k, val) {
		if (strcmp(k, "name") != 0)
			break;
	}
	return err_set(e, ENOTSUP, NULL, "volumes of type %s are not supported on this node", k);
}

/* --- the whole --- */

static void volumes_fail(struct volumes *v, const struct volume *vol, const struct err *e)
{
	struct pod *p = v->pod;
	bool news = strcmp(p->vol_error, e->msg) != 0;
	(void)snprintf(p->vol_error, sizeof(p->vol_error), "%s", e->msg);
	/* what is missing is often just being made: told when it still is at the next try */
	bool settled = e->code != -ENOENT || v->delay;
	if (e->code != -EAGAIN && settled && (news || !v->reported)) {
		v->reported = true;
		pod_event(p, NULL, true, "FailedMount",
			"MountVolume.SetUp failed for volume \"%s\" : %s", vol->name, e->msg);
	}
	if (e->code == -EAGAIN)
		return; /* an answer is under way and will call us */
	v->delay = v->delay ? v->delay * 2 : 500 * NS_PER_MS;
	if (v->delay > 30 * NS_PER_SEC)
		v->delay = 30 * NS_PER_SEC;
	(void)loop_timer_set(p->k->loop, &v->retry, v->delay);
}

/* The environment's objects must be known, though they may be absent: that is the container's
 * error, not the pod's. */
static bool refs_known(const struct volumes *v)
{
	for (size_t i = 0; i < v->n_refs; i++)
		if (!objref_synced(v->refs[i]))
			return false;
	return true;
}

static const json_t *volume_spec(const struct pod *p, const char *name)
{
	size_t i;
	json_t *e;
	json_array_foreach (json_at(p->obj, "spec.volumes"), i, e) {
		if (strcmp(json_str(e, "name", ""), name) == 0)
			return e;
	}
	return NULL;
}

void volumes_update(struct pod *p)
{
	struct volumes *v = p->vols;
	bool all = true;
	if (!v || !p->obj || p->state >= POD_STOPPED)
		return;
	for (size_t i = 0; i < v->n; i++) {
		struct err e = {0};
		const json_t *spec = volume_spec(p, v->v[i].name);
		int r = spec ? setup_volume(v, &v->v[i], spec, &e) : 0;
		if (r == 0) {
			v->v[i].ready = true;
			continue;
		}
		if (!v->v[i].ready)
			all = false;
		if (!e.code)
			e.code = r;
		/* A mounted volume keeps its last good content. */
		if (!v->v[i].ready)
			volumes_fail(v, &v->v[i], &e);
	}
	if (all && refs_known(v) && !p->volumes_ready) {
		p->volumes_ready = true;
		p->vol_error[0] = '\0';
		v->reported = false;
	}
	pod_sync(p);
}

static void volumes_retry(struct loop_timer *t)
{
	volumes_update(t->arg);
}

int volumes_start(struct pod *p, struct err *e)
{
	size_t i;
	json_t *spec;
	struct volumes *v = calloc(1, sizeof(*v));
	const json_t *list = json_at(p->obj, "spec.volumes");
	if (!v)
		return err_set(e, ENOMEM, NULL, "out of memory");
	*v = (struct volumes){.pod = p, .retry = {.fn = volumes_retry, .arg = p}};
	list_init(&v->tokens);
	v->obj = json_incref(p->obj);
	v->v = calloc(json_array_size(list) + 1, sizeof(*v->v));
	json_array_foreach (list, i, spec) {
		AUTO_BUF struct buf path = {0};
		pod_dir(p->k, p->uid, &path);
		buf_addf(&path, "/volumes/%s", json_str(spec, "name", ""));
		if (!v->v || path.err)
			break;
		v->v[v->n++] = (struct volume){
			.name = strdup(json_str(spec, "name", "")), .path = buf_steal(&path)};
	}
	p->vols = v;
	hold_all(v);
	tokens_begin(v);
	volumes_update(p);
	return 0;
}

void volumes_free(struct volumes *v)
{
	if (!v)
		return;
	loop_timer_cancel(&v->retry);
	list_each_safe (it, &v->tokens) {
		struct token *t = list_entry(it, struct token, link);
		loop_timer_cancel(&t->refresh);
		if (t->call)
			client_cancel(t->call);
		free(t->text);
		free(t);
	}
	for (size_t i = 0; i < v->n_refs; i++)
		objref_drop(v->refs[i]);
	for (size_t i = 0; i < v->n; i++) {
		free(v->v[i].name);
		free(v->v[i].path);
	}
	json_decref(v->obj);
	free(v->refs);
	free(v->v);
	free(v);
}

void volumes_teardown(const char *dir)
{
	AUTO_BUF struct buf vols = {0};
	buf_addf(&vols, "%s/volumes", dir);
	DIR *d = vols.err ? NULL : opendir(vols.p);
	for (struct dirent *de; d && (de = readdir(d));) {
		AUTO_BUF struct buf path = {0};
		if (de->d_name[0] == '.')
			continue;
		buf_addf(&path, "%s/%s", vols.p, de->d_name);
		if (!path.err && is_mount(path.p))
			(void)umount2(path.p, MNT_DETACH);
	}
	if (d)
		(void)closedir(d);
	(void)rm_rf(dir);
}
