/* SPDX-License-Identifier: Apache-2.0
 * The embedded back end: the engine with a journal of log segments and snapshots in a directory. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include "store/embedded.h"
#include "store/snapshot.h"
#include "store/wal.h"
#include "xebec/base/timefmt.h"

#define SEGMENT_BYTES (64u << 20)
#define RETRY_NS      (5 * NS_PER_SEC) /* after a snapshot that failed */

struct embedded {
	struct journal base; /* first */
	const struct store_io *io;
	int dirfd, lockfd;
	struct wal wal;
	uint64_t snapshot_bytes, since_snapshot, last_frame;
	_Atomic uint64_t commits, snapshot_errors, snapshot_rev;

	pthread_t thread;
	bool running;
	int64_t not_before; /* commit thread */
	pthread_mutex_t mu; /* guards what follows */
	pthread_cond_t cond;
	struct snapshot *job; /* to do or being done */
	bool finished, failed;
	uint64_t done_frame;
	_Atomic bool stop;
};

static int embedded_commit(struct journal *j, struct buf *frame, struct err *e)
{
	struct embedded *em = (struct embedded *)j;
	size_t n = frame->len;
	int r = wal_append(&em->wal, frame, &em->last_frame, e);

	if (r < 0)
		return r;
	em->since_snapshot += n;
	em->commits++;
	return 0;
}

/* The snapshot thread: one job at a time. */
static void *snapshot_main(void *arg)
{
	struct embedded *em = arg;

	pthread_mutex_lock(&em->mu);
	for (;;) {
		while (!em->stop && (!em->job || em->finished))
			pthread_cond_wait(&em->cond, &em->mu);
		if (em->stop)
			break;
		struct snapshot *s = em->job;
		pthread_mutex_unlock(&em->mu);
		int r = snapshot_write(em->io, em->dirfd, s, &em->stop, NULL);
		if (r == 0)
			em->snapshot_rev = s->view->rev;
		else if (r != -ECANCELED)
			em->snapshot_errors++;
		pthread_mutex_lock(&em->mu);
		em->failed = r < 0;
		em->done_frame = s->frame;
		em->finished = true;
	}
	pthread_mutex_unlock(&em->mu);
	return NULL;
}

/* Takes the result of a finished job. Returns whether a new one may start. */
static bool snapshot_collect(struct embedded *em)
{
	struct snapshot *done = NULL;
	bool failed = false;

	pthread_mutex_lock(&em->mu);
	bool idle = !em->job || em->finished;
	if (em->job && em->finished) {
		done = em->job;
		em->job = NULL;
		em->finished = false;
		failed = em->failed;
	}
	pthread_mutex_unlock(&em->mu);
	if (done && !failed)
		wal_recycle(&em->wal, done->frame);
	if (done && failed) { /* as if it had not been tried, but not at once */
		em->not_before = time_mono() + RETRY_NS;
		em->since_snapshot += em->snapshot_bytes;
	}
	snapshot_free(done);
	return idle;
}

static void embedded_applied(struct journal *j, const struct journal_state *st)
{
	struct embedded *em = (struct embedded *)j;
	struct snapshot *s;

	if (!snapshot_collect(em) || em->since_snapshot < em->snapshot_bytes ||
		(em->not_before && time_mono() < em->not_before))
		return;
	if (snapshot_new(st, em->last_frame, &s) < 0)
		return;
	em->since_snapshot = 0;
	em->not_before = 0;
	pthread_mutex_lock(&em->mu);
	em->job = s;
	pthread_cond_signal(&em->cond);
	pthread_mutex_unlock(&em->mu);
}

static void embedded_stats(struct journal *j, struct store_stats *out)
{
	struct embedded *em = (struct embedded *)j;

	out->wal_bytes = em->wal.bytes;
	out->fsyncs = em->wal.fsyncs;
	out->fsync_ns_total = em->wal.fsync_ns_total;
	out->fsync_ns_max = em->wal.fsync_ns_max;
	out->commits = em->commits;
	out->snapshot_rev = em->snapshot_rev;
	out->snapshot_errors = em->snapshot_errors;
}

static void embedded_free(struct embedded *em)
{
	if (em->running) {
		pthread_mutex_lock(&em->mu);
		em->stop = true;
		pthread_cond_signal(&em->cond);
		pthread_mutex_unlock(&em->mu);
		pthread_join(em->thread, NULL);
	}
	snapshot_free(em->job);
	wal_close(&em->wal);
	if (em->lockfd >= 0)
		(void)close(em->lockfd);
	if (em->dirfd >= 0)
		(void)close(em->dirfd);
	pthread_cond_destroy(&em->cond);
	pthread_mutex_destroy(&em->mu);
	free(em);
}

/* With a closing record as the last one, damage to the last write is told from a torn tail. */
static void embedded_close(struct journal *j)
{
	struct embedded *em = (struct embedded *)j;
	static const char head[FRAME_HEAD_LEN];
	AUTO_BUF struct buf b = {0};
	uint64_t frame;

	buf_add(&b, head, sizeof(head));
	record_add(&b, &(struct record){.type = REC_CLOSE});
	if (b.err == 0 && em->wal.n_segs > 0)
		(void)wal_append(&em->wal, &b, &frame, NULL);
	embedded_free(em);
}

static const struct journal_ops embedded_journal_ops = {
	.commit = embedded_commit,
	.applied = embedded_applied,
	.stats = embedded_stats,
	.close = embedded_close,
};
static const struct store_ops embedded_ops = ENGINE_OPS("embedded");

static int open_dir(struct embedded *em, const char *dir, struct err *e)
{
	int r = mkdir_p(dir, 0700);

	if (r < 0)
		return err_set(
			e, r, NULL, "%s: cannot make the store's directory: %s", dir, strerror(-r));
	em->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (em->dirfd < 0)
		return err_set(e, errno, NULL, "%s: %s", dir, strerror(errno));
	em->lockfd = openat(em->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (em->lockfd < 0)
		return err_set(e, errno, NULL, "%s/lock: %s", dir, strerror(errno));
	if (flock(em->lockfd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(e, EBUSY, NULL,
			"%s: another process has this store open; stop it first, or use another "
			"directory",
			dir);
	return err_set(e, errno, NULL, "%s/lock: cannot lock: %s", dir, strerror(errno));
}

/* Goes on writing where the log ends. What was read may be in the page cache only: it must be on
 * disk before anybody is told. */
static int open_log(
	struct embedded *em, const char *dir, const struct scan_result *res, struct err *e)
{
	struct wal *w = &em->wal;
	char name[32];

	w->next_frame = res->next_frame;
	w->spares = res->spares;
	for (size_t i = 0; i < res->n_segs; i++)
		if (wal_remember(w, res->segs[i].seq, res->segs[i].head.frame) < 0)
			return err_set(e, ENOMEM, NULL, "%s: out of memory", dir);
	em->since_snapshot = res->replay_bytes;
	em->last_frame = res->next_frame - 1;
	em->snapshot_rev = res->have_snapshot ? res->snapshot.rev : 0;
	if (res->n_segs == 0)
		return 0;
	const struct scan_segment *last = &res->segs[res->n_segs - 1];
	segment_name(last->seq, name);
	w->fd = em->io->open(em->io->ctx, em->dirfd, name, O_RDWR);
	if (w->fd < 0)
		return err_set(e, w->fd, NULL, "%s/%s: %s", dir, name, strerror(-w->fd));
	w->salt = last->head.salt;
	w->pos = last->end;
	w->filled = last->size;
	int r = wal_sync(w);
	return r < 0 ? err_set(e, r, NULL, "%s/%s: cannot flush: %s", dir, name, strerror(-r)) : 0;
}

static int recover(struct embedded *em, struct engine *en, const char *dir, struct err *e)
{
	struct recovery rec = {.en = en};
	struct scan_visitor v = recovery_visitor;
	struct scan_result res;

	v.arg = &rec;
	(void)em->io->unlink(em->io->ctx, em->dirfd, "snap.tmp");
	(void)em->io->unlink(em->io->ctx, em->dirfd, "wal.tmp");
	int r = store_scan(em->dirfd, dir, &v, &res, e);
	recovery_fini(&rec);
	if (r < 0)
		return r;
	for (size_t i = 0; i < res.n_stale; i++) {
		char name[32];
		segment_name(res.stale[i], name);
		(void)em->io->unlink(em->io->ctx, em->dirfd, name);
	}
	r = open_log(em, dir, &res, e);
	scan_result_free(&res);
	return r;
}

static int embedded_new(const struct store_embedded_config *c, const struct store_io *io,
	struct embedded **ret, struct err *e)
{
	struct embedded *em = calloc(1, sizeof(*em));

	if (!em)
		return err_set(e, ENOMEM, NULL, "%s: out of memory", c->dir);
	em->base.ops = &embedded_journal_ops;
	em->io = io;
	em->dirfd = em->lockfd = -1;
	pthread_mutex_init(&em->mu, NULL);
	pthread_cond_init(&em->cond, NULL);
	em->wal.io = io;
	em->wal.fd = -1;
	em->wal.segment_bytes = c->segment_bytes ? c->segment_bytes : SEGMENT_BYTES;
	em->snapshot_bytes = c->snapshot_bytes ? c->snapshot_bytes : 4 * em->wal.segment_bytes;
	int r = open_dir(em, c->dir, e);
	if (r < 0) {
		embedded_free(em);
		return r;
	}
	em->wal.dirfd = em->dirfd;
	*ret = em;
	return 0;
}

static int embedded_start(struct embedded *em, struct err *e)
{
	int r = pthread_create(&em->thread, NULL, snapshot_main, em);

	if (r != 0)
		return err_set(e, r, NULL, "cannot start the snapshot thread");
	(void)pthread_setname_np(em->thread, "store-snapshot");
	em->running = true;
	return 0;
}

int store_open_embedded_io(const struct store_embedded_config *c, const struct store_io *io,
	struct store **ret, struct err *e)
{
	struct embedded *em = NULL;
	struct engine *en = NULL;
	int r = embedded_new(c, io, &em, e);

	if (r < 0)
		return r;
	r = engine_new(&embedded_ops, &en, e);
	if (r == 0)
		r = recover(em, en, c->dir, e);
	if (r == 0)
		r = embedded_start(em, e);
	if (r < 0) {
		embedded_free(em);
		engine_free(en);
		return r;
	}
	en->batch_wait_ns = c->batch_wait_ns;
	r = engine_start(en, &em->base, e);
	if (r < 0) {
		engine_free(en);
		return r;
	}
	*ret = &en->base;
	return 0;
}

int store_open_embedded(const struct store_embedded_config *c, struct store **ret, struct err *e)
{
	return store_open_embedded_io(c, &store_io_posix, ret, e);
}
