/* SPDX-License-Identifier: Apache-2.0
 * From the scanned directory to an index. */
#include <errno.h>
#include "store/embedded.h"

static int on_snapshot(void *arg, const char *file, const struct file_head *h)
{
	struct recovery *r = arg;

	(void)file;
	r->en->leases.last_id = h->last_lease;
	return mvcc_load_begin(&r->en->index, h->rev, h->compact_rev);
}

static int load_flush(struct recovery *r)
{
	if (r->n_versions == 0)
		return 0;
	struct store_val *newest = r->versions[0];
	size_t n = r->n_versions;
	r->n_versions = 0;
	(void)store_val_ref(newest);
	int rc = mvcc_load_key(&r->en->index, r->versions, n);
	if (rc == 0)
		rc = leases_move(&r->en->leases, NULL, newest);
	store_val_unref(newest);
	return rc;
}

static int load_version(struct recovery *r, const struct record *rec)
{
	if (r->n_versions > 0 && !str_eq(store_val_key(r->versions[0]), rec->key)) {
		int rc = load_flush(r);
		if (rc < 0)
			return rc;
	}
	if (r->n_versions == r->cap_versions) {
		size_t cap = r->cap_versions ? r->cap_versions * 2 : 16;
		struct store_val **p = reallocarray(r->versions, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		r->versions = p;
		r->cap_versions = cap;
	}
	if (rec->type == REC_PUT && rec->version == 0)
		return -EBADMSG;
	struct store_val *v = store_val_new(rec->key, rec->value);
	if (!v)
		return -ENOMEM;
	v->mod_rev = rec->rev;
	v->create_rev = rec->create_rev;
	v->version = rec->version;
	v->lease = rec->lease;
	r->versions[r->n_versions++] = v;
	return 0;
}

static int on_snapshot_record(void *arg, uint64_t off, const struct record *rec)
{
	struct recovery *r = arg;
	int rc;

	(void)off;
	switch (rec->type) {
	case REC_LEASE:
		return leases_add(&r->en->leases, rec->lease, rec->ttl, true, NULL);
	case REC_PUT:
	case REC_DEL:
		return load_version(r, rec);
	case REC_SNAP_END:
		rc = load_flush(r);
		return rc < 0 ? rc : mvcc_load_end(&r->en->index);
	default:
		return -EBADMSG;
	}
}

static int on_record(void *arg, uint64_t off, const struct frame *f, const struct record *rec)
{
	(void)off;
	(void)f;
	return engine_replay(((struct recovery *)arg)->en, rec);
}

const struct scan_visitor recovery_visitor = {
	.snapshot = on_snapshot,
	.snapshot_record = on_snapshot_record,
	.record = on_record,
};

void recovery_fini(struct recovery *r)
{
	for (size_t i = 0; i < r->n_versions; i++)
		store_val_unref(r->versions[i]);
	free(r->versions);
}
