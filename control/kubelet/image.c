/* SPDX-License-Identifier: Apache-2.0
 * Image presence and pulls. */
#include "kubelet/image.h"
#include "kubelet/volumes.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

struct image_op {
	struct pod *p;
	char *slot, *image;
	const char *policy;
	void (*done)(void *arg, const struct image_result *r);
	void *arg;
	struct cri_call *call;
	int64_t began;
	bool pulled;
};

static void image_free(struct image_op *o)
{
	pod_unref(o->p);
	free(o->slot);
	free(o->image);
	free(o);
}

void image_cancel(struct image_op *o)
{
	if (!o)
		return;
	if (o->call)
		o->p->k->cri->ops->cancel(o->call);
	image_free(o);
}

/* The tag or digest part of a reference, NULL when there is none. */
static const char *tag_of(const char *image)
{
	const char *slash = strrchr(image, '/'), *at = strchr(image, '@');
	return at ? at : strchr(slash ? slash : image, ':');
}

const char *image_policy(const json_t *c)
{
	const char *p = json_str(c, "imagePullPolicy", "");
	const char *tag = tag_of(json_str(c, "image", ""));
	if (*p)
		return p;
	return !tag || strcmp(tag, ":latest") == 0 ? "Always" : "IfNotPresent";
}

static void finish(struct image_op *o, const char *reason, const char *msg, const json_t *image)
{
	struct image_result r = {.reason = reason, .message = msg, .image = image};
	o->done(o->arg, &r);
	image_free(o);
}

/* The registry of a reference as Docker's configuration names it. */
static void registry_of(const char *image, struct buf *out)
{
	size_t n = strcspn(image, "/");
	if (image[n] == '/' && (memchr(image, '.', n) || memchr(image, ':', n) ||
				       strncmp(image, "localhost", n) == 0))
		buf_add(out, image, n);
	else
		buf_adds(out, "index.docker.io");
}

json_t *image_auth(const char *image, const json_t *cfg)
{
	AUTO_BUF struct buf reg = {0};
	const char *k;
	json_t *v;
	registry_of(image, &reg);
	json_object_foreach (json_object_get(cfg, "auths"), k, v) {
		const char *host = strstr(k, "://") ? strstr(k, "://") + 3 : k;
		if (reg.err || strncmp(host, reg.p, reg.len) != 0 ||
			(host[reg.len] != '\0' && host[reg.len] != '/'))
			continue;
		return json_pack("{s:s, s:s, s:s, s:s}", "username", json_str(v, "username", ""),
			"password", json_str(v, "password", ""), "auth", json_str(v, "auth", ""),
			"identity_token", json_str(v, "identitytoken", ""));
	}
	return NULL;
}

static json_t *auth_for(struct image_op *o)
{
	struct env_ctx ctx;
	size_t i;
	json_t *ref;
	env_ctx_of(o->p, &ctx);
	json_array_foreach (json_at(o->p->obj, "spec.imagePullSecrets"), i, ref) {
		const json_t *sec = ctx.secret(ctx.arg, json_str(ref, "name", ""));
		const json_t *text =
			json_object_get(json_object_get(sec, "data"), ".dockerconfigjson");
		AUTO_BUF struct buf raw = {0};
		AUTO_JSON json_t *cfg = NULL;
		if (json_is_string(text) &&
			base64_decode(str_of(json_string_value(text)), &raw) == 0 &&
			json_parse(buf_str(&raw), &cfg, NULL) == 0) {
			json_t *a = image_auth(o->image, cfg);
			if (a)
				return a;
		}
	}
	return NULL;
}

static void ask(struct image_op *o);

static void on_pull(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct image_op *o = arg;
	struct slot *s = pod_slot(o->p, o->slot);
	(void)status;
	(void)resp;
	o->call = NULL;
	if (e) {
		pod_event(o->p, s, true, "Failed", "Failed to pull image \"%s\": %s", o->image,
			e->msg);
		pod_event(o->p, s, true, "Failed", "Error: ErrImagePull");
		finish(o, "ErrImagePull", e->msg, NULL);
		return;
	}
	char took[16];
	time_duration_short(loop_now(o->p->k->loop) - o->began, took);
	pod_event(
		o->p, s, false, "Pulled", "Successfully pulled image \"%s\" in %s", o->image, took);
	o->pulled = true;
	ask(o);
}

static void pull(struct image_op *o)
{
	json_t *req = json_pack("{s:{s:s}}", "image", "image", o->image);
	json_t *auth = auth_for(o);
	if (auth)
		(void)json_object_set_new(req, "auth", auth);
	pod_event(
		o->p, pod_slot(o->p, o->slot), false, "Pulling", "Pulling image \"%s\"", o->image);
	o->began = loop_now(o->p->k->loop);
	o->call = cri_send(o->p->k->cri, CRI_PullImage, req, on_pull, o);
	if (!o->call)
		finish(o, "ErrImagePull", "out of memory", NULL);
}

static void on_status(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct image_op *o = arg;
	struct slot *s = pod_slot(o->p, o->slot);
	const json_t *image = json_object_get(resp, "image");
	(void)status;
	o->call = NULL;
	if (e) {
		pod_event(o->p, s, true, "InspectFailed", "Failed to inspect image \"%s\": %s",
			o->image, e->msg);
		finish(o, "ImageInspectError", e->msg, NULL);
		return;
	}
	bool present = json_is_object(image) && *json_str(image, "id", "");
	if (present && (o->pulled || strcmp(o->policy, "Always") != 0)) {
		if (!o->pulled)
			pod_event(o->p, s, false, "Pulled",
				"Container image \"%s\" already present on machine", o->image);
		finish(o, NULL, NULL, image);
	} else if (o->pulled)
		finish(o, "ErrImagePull", "the pulled image is not there", NULL);
	else if (strcmp(o->policy, "Never") == 0) {
		AUTO_BUF struct buf msg = {0};
		buf_addf(&msg, "Container image \"%s\" is not present with pull policy of Never",
			o->image);
		pod_event(o->p, s, true, "ErrImageNeverPull", "%s", msg.p);
		finish(o, "ErrImageNeverPull", msg.p, NULL);
	} else
		pull(o);
}

static void ask(struct image_op *o)
{
	o->call = cri_send(o->p->k->cri, CRI_ImageStatus,
		json_pack("{s:{s:s}}", "image", "image", o->image), on_status, o);
	if (!o->call)
		finish(o, "ImageInspectError", "out of memory", NULL);
}

struct image_op *image_ensure(struct pod *p, const struct slot *s,
	void (*done)(void *arg, const struct image_result *r), void *arg)
{
	struct image_op *o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	*o = (struct image_op){.p = pod_ref(p),
		.slot = strdup(s->name),
		.image = strdup(json_str(s->spec, "image", "")),
		.policy = image_policy(s->spec),
		.done = done,
		.arg = arg};
	o->call = cri_send(p->k->cri, CRI_ImageStatus,
		json_pack("{s:{s:s}}", "image", "image", o->image), on_status, o);
	if (!o->call) {
		image_free(o);
		return NULL;
	}
	return o;
}
