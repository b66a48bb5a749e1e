/* SPDX-License-Identifier: Apache-2.0
 * Small views on API objects. */
#include "controllers/object.h"

struct owner_ref owner_ref_of(struct jv ref)
{
	return (struct owner_ref){.api_version = jv_raw_str(jv_get(ref, "apiVersion")),
		.kind = jv_raw_str(jv_get(ref, "kind")),
		.name = jv_raw_str(jv_get(ref, "name")),
		.uid = jv_raw_str(jv_get(ref, "uid")),
		.controller = jv_bool(jv_get(ref, "controller"), false),
		.block = jv_bool(jv_get(ref, "blockOwnerDeletion"), false)};
}

bool controller_of(const struct cobj *o, struct owner_ref *ret)
{
	jv_each (it, jv_path(o->v, "metadata.ownerReferences")) {
		struct owner_ref r = owner_ref_of(it.v);
		if (!r.controller)
			continue;
		*ret = r;
		return true;
	}
	return false;
}

bool controlled_by(const struct cobj *o, const struct cobj *owner)
{
	struct owner_ref r;

	return controller_of(o, &r) && str_eqz(r.uid, owner->uid);
}

json_t *owner_json(enum res r, const struct cobj *o)
{
	const struct resource *k = &res_table[r];
	char version[128];

	(void)snprintf(
		version, sizeof(version), "%s%s%s", k->group, k->group[0] ? "/" : "", k->version);
	return json_pack("{s:s,s:s,s:s,s:s,s:b,s:b}", "apiVersion", version, "kind", k->kind,
		"name", o->name, "uid", o->uid, "controller", 1, "blockOwnerDeletion", 1);
}

bool deleting(const struct cobj *o)
{
	return jv_present(jv_path(o->v, "metadata.deletionTimestamp"));
}

struct jv labels_of(const struct cobj *o)
{
	return jv_path(o->v, "metadata.labels");
}

struct str label(const struct cobj *o, const char *name)
{
	return jv_raw_str(jv_get(labels_of(o), name));
}

struct str annotation(const struct cobj *o, const char *name)
{
	return jv_raw_str(jv_get(jv_path(o->v, "metadata.annotations"), name));
}

bool has_labels(struct jv labels, struct jv wanted)
{
	jv_each (it, wanted) {
		bool found = false;
		jv_each (l, labels) {
			if (str_eq(l.key, it.key)) {
				found = str_eq(jv_bytes(l.v), jv_bytes(it.v));
				break;
			}
		}
		if (!found)
			return false;
	}
	return true;
}

bool has_finalizer(struct jv list, const char *name)
{
	jv_each (it, list) {
		if (jv_is_str(it.v, name))
			return true;
	}
	return false;
}

struct jv condition_of(struct jv conditions, const char *type)
{
	jv_each (it, conditions) {
		if (jv_is_str(jv_get(it.v, "type"), type))
			return it.v;
	}
	return (struct jv){0};
}

int64_t time_of(struct jv v)
{
	int64_t ns;

	return time_parse(jv_raw_str(v), &ns) == 0 ? ns : 0;
}

int64_t generation_of(const struct cobj *o)
{
	return jv_int(jv_path(o->v, "metadata.generation"), 0);
}

static enum phase phase_of(struct str s)
{
	static const char *const names[] = {
		[PHASE_PENDING] = "Pending",
		[PHASE_RUNNING] = "Running",
		[PHASE_SUCCEEDED] = "Succeeded",
		[PHASE_FAILED] = "Failed",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqz(s, names[i]))
			return (enum phase)i;
	return s.n == 0 ? PHASE_PENDING : PHASE_UNKNOWN;
}

static int restarts_of(struct jv statuses)
{
	int64_t most = 0;

	jv_each (it, statuses) {
		int64_t n = jv_int(jv_get(it.v, "restartCount"), 0);
		if (n > most)
			most = n;
	}
	return (int)most;
}

static const char *put_str(char **at, struct str s)
{
	char *p = *at;

	memcpy(p, s.p ? s.p : "", s.n);
	p[s.n] = '\0';
	*at += s.n + 1;
	return p;
}

void *pod_decode(struct jv v)
{
	struct jv meta = jv_get(v, "metadata"), spec = jv_get(v, "spec"),
		  status = jv_get(v, "status");
	struct jv ready = condition_of(jv_get(status, "conditions"), "Ready");
	struct jv deleted = jv_get(meta, "deletionTimestamp");
	struct str node = jv_raw_str(jv_get(spec, "nodeName")),
		   ip = jv_raw_str(jv_get(status, "podIP")),
		   host = jv_raw_str(jv_get(spec, "hostname")),
		   sub = jv_raw_str(jv_get(spec, "subdomain"));
	struct pod *p = calloc(1, sizeof(*p) + node.n + ip.n + host.n + sub.n + 4);

	if (!p)
		return NULL;
	char *at = p->data;
	p->phase = phase_of(jv_raw_str(jv_get(status, "phase")));
	p->ready = jv_is_str(jv_get(ready, "status"), "True");
	p->ready_since = p->ready ? time_of(jv_get(ready, "lastTransitionTime")) : 0;
	p->deleting = jv_present(deleted);
	p->deleted_at = time_of(deleted);
	p->created = time_of(jv_get(meta, "creationTimestamp"));
	p->restarts = restarts_of(jv_get(status, "containerStatuses"));
	p->node = put_str(&at, node);
	p->ip = put_str(&at, ip);
	p->hostname = put_str(&at, host);
	p->subdomain = put_str(&at, sub);
	return p;
}

bool pod_available(const struct pod *p, int64_t min_ready_ns, int64_t now, int64_t *ret_wait)
{
	*ret_wait = 0;
	if (!p->ready || p->deleting)
		return false;
	if (min_ready_ns == 0 || p->ready_since + min_ready_ns <= now)
		return true;
	*ret_wait = p->ready_since + min_ready_ns - now;
	return false;
}

uint32_t fnv32a(uint32_t h, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 16777619u;
	return h;
}

void safe_encode(uint32_t n, char out[static 16])
{
	static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
	char digits[16];

	int len = snprintf(digits, sizeof(digits), "%u", n);
	for (int i = 0; i < len; i++)
		out[i] = letters[(unsigned)digits[i] % (sizeof(letters) - 1)];
	out[len] = '\0';
}
