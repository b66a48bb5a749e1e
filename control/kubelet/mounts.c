/* SPDX-License-Identifier: Apache-2.0
 * Mounts of one container. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include "kubelet/atomicdir.h"
#include "kubelet/spec.h"
#include "kubelet/volumes.h"

static json_t *mount_row(const char *at, const char *from, bool ro, int propagation)
{
	return json_pack("{s:s, s:s, s:b, s:i}", "container_path", at, "host_path", from,
		"readonly", ro, "propagation", propagation);
}

void term_path(const struct pod *p, const char *container, unsigned attempt, struct buf *out)
{
	pod_dir(p->k, p->uid, out);
	buf_addf(out, "/containers/%s/%u", container, attempt);
}

static int make_file(const char *path, struct str text, unsigned mode)
{
	AUTO_BUF struct buf dir = {0};
	buf_adds(&dir, path);
	if (dir.err)
		return -ENOMEM;
	*strrchr(dir.p, '/') = '\0';
	int r = mkdir_p(dir.p, 0755);
	if (r < 0)
		return r;
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	(void)fchmod(fd, mode);
	return text.n && write(fd, text.p, text.n) != (ssize_t)text.n ? -EIO : 0;
}

/* The directory below a volume that a subPath names, made when absent. Symlinks inside the volume
 * may not lead out of it. */
static int sub_path(const char *volume, const char *sub, bool ro, struct buf *out, struct err *e)
{
	char base[PATH_MAX], real[PATH_MAX];
	AUTO_BUF struct buf want = {0};
	struct stat st;
	if (!path_is_local(sub))
		return err_set(e, EINVAL, NULL,
			"subPath \"%s\" must be relative and not contain '..'", sub);
	buf_addf(&want, "%s/%s", volume, sub);
	if (want.err || !realpath(volume, base))
		return err_set(e, errno, NULL, "volume path '%s'", volume);
	if (!ro && lstat(want.p, &st) < 0 && errno == ENOENT) {
		/* The parent must resolve inside before anything is made there. */
		AUTO_BUF struct buf up = {0};
		buf_adds(&up, want.p);
		for (char *s; (s = strrchr(up.p, '/')) && s > up.p;) {
			*s = '\0';
			if (realpath(up.p, real))
				break;
		}
		if (strncmp(real, base, strlen(base)) != 0)
			return err_set(e, EPERM, NULL, "subPath \"%s\" leaves the volume", sub);
		(void)mkdir_p(want.p, 0750);
	}
	if (!realpath(want.p, real))
		return err_set(e, errno, NULL, "subPath \"%s\": %s", sub, strerror(errno));
	size_t n = strlen(base);
	if (strncmp(real, base, n) != 0 || (real[n] != '/' && real[n] != '\0'))
		return err_set(e, EPERM, NULL, "subPath \"%s\" leaves the volume", sub);
	buf_adds(out, real);
	return out->err;
}

static int propagation_of(const json_t *m)
{
	const char *p = json_str(m, "mountPropagation", "None");
	return strcmp(p, "HostToContainer") == 0 ? 1 : strcmp(p, "Bidirectional") == 0 ? 2 : 0;
}

static int add_volume(
	struct pod *p, const json_t *m, const json_t *vars, json_t *out, struct err *e)
{
	bool ro = false;
	const char *name = json_str(m, "name", ""), *at = json_str(m, "mountPath", "");
	const char *path = volume_path(p, name, &ro);
	const char *sub = json_str(m, "subPath", ""), *expr = json_str(m, "subPathExpr", "");
	AUTO_BUF struct buf from = {0}, expanded = {0};
	if (!path)
		return err_set(
			e, ENOENT, NULL, "cannot find volume \"%s\" to mount into container", name);
	if (*expr) {
		env_expand(expr, vars, &expanded);
		sub = expanded.p ? expanded.p : "";
		if (strstr(sub, "$("))
			return err_set(
				e, EINVAL, NULL, "missing value for subPathExpr \"%s\"", expr);
	}
	if (!*sub)
		buf_adds(&from, path);
	else {
		int r = sub_path(path, sub, ro, &from, e);
		if (r < 0)
			return r;
	}
	(void)json_array_append_new(out,
		mount_row(at, from.p, ro || json_flag(m, "readOnly", false), propagation_of(m)));
	return 0;
}

static bool mounts_at(const json_t *container, const char *path)
{
	size_t i;
	json_t *m;
	json_array_foreach (json_object_get(container, "volumeMounts"), i, m) {
		if (strcmp(json_str(m, "mountPath", ""), path) == 0)
			return true;
	}
	return false;
}

static void hosts_text(const struct pod *p, struct buf *out)
{
	struct spec_ctx ctx = {.domain = p->k->domain};
	if (spec_host_network(p->obj)) {
		AUTO_BUF struct buf own = {0};
		buf_adds(out, "# Kubernetes-managed hosts file (host network).\n");
		if (file_read("/etc/hosts", 1 << 20, &own) == 0)
			buf_add_str(out, buf_str(&own));
		AUTO_BUF struct buf rest = {0};
		spec_hosts_file(&ctx, p->obj, NULL, &rest);
		const char *alias = rest.p ? strstr(rest.p, "\n# Entries added") : NULL;
		buf_adds(out, alias ? alias : "");
		return;
	}
	spec_hosts_file(&ctx, p->obj, p->ips, out);
}

static int add_hosts(struct pod *p, const json_t *container, json_t *out)
{
	AUTO_BUF struct buf path = {0}, text = {0};
	struct stat st;
	if (mounts_at(container, "/etc/hosts"))
		return 0;
	pod_dir(p->k, p->uid, &path);
	buf_adds(&path, "/etc-hosts");
	if (path.err)
		return -ENOMEM;
	/* Made once a pod: containers that run already have it mounted. */
	if (stat(path.p, &st) < 0 || st.st_mtime * 1000000000LL < p->sandbox_made_at) {
		hosts_text(p, &text);
		int r = make_file(path.p, buf_str(&text), 0644);
		if (r < 0)
			return r;
	}
	(void)json_array_append_new(out, mount_row("/etc/hosts", path.p, false, 0));
	return 0;
}

static int add_termination(struct pod *p, const struct slot *s, unsigned attempt, json_t *out)
{
	AUTO_BUF struct buf path = {0};
	const char *at = json_str(s->spec, "terminationMessagePath", "/dev/termination-log");
	if (!*at)
		return 0;
	term_path(p, s->name, attempt, &path);
	int r = path.err ? -ENOMEM : make_file(path.p, STR(""), 0666);
	if (r == 0)
		(void)json_array_append_new(out, mount_row(at, path.p, false, 0));
	return r;
}

int mounts_build(struct pod *p, const struct slot *s, unsigned attempt, const json_t *envs,
	json_t **ret, struct err *e)
{
	AUTO_JSON json_t *out = json_array(), *vars = json_object();
	size_t i;
	json_t *m;
	json_array_foreach (envs, i, m)
		(void)json_object_set(vars, json_str(m, "key", ""), json_object_get(m, "value"));
	json_array_foreach (json_object_get(s->spec, "volumeMounts"), i, m) {
		int r = add_volume(p, m, vars, out, e);
		if (r < 0)
			return r;
	}
	int r = add_hosts(p, s->spec, out);
	if (r == 0)
		r = add_termination(p, s, attempt, out);
	if (r < 0)
		return err_set(e, r, NULL, "files of container %s: %s", s->name, strerror(-r));
	*ret = STEAL(out);
	return 0;
}
