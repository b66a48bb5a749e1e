/* SPDX-License-Identifier: Apache-2.0
 * `xebec lb` and `xebec drops`: reading the kernel's tables of every node on this machine. */
#include <dirent.h>
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "inspect.h"
#include "roles/roles.h"

struct options {
	const char *what, *node, *root, *ns, *service;
	const char *wrong; /* the first argument that makes no sense */
	bool json, follow, bad, help;
};

static struct options options_parse(int argc, char **argv)
{
	struct options o = {.root = PIN_ROOT};
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
		if (strcmp(a, "--help") == 0)
			o.help = true;
		else if (strcmp(a, "-f") == 0)
			o.follow = true;
		else if (strcmp(a, "-o") == 0 && next && strcmp(next, "json") == 0)
			o.json = true, i++;
		else if (strcmp(a, "-ojson") == 0 || strcmp(a, "--output=json") == 0)
			o.json = true;
		else if (strcmp(a, "--node") == 0 && next)
			o.node = next, i++;
		else if (strcmp(a, "--pin-root") == 0 && next)
			o.root = next, i++;
		else if ((strcmp(a, "--namespace") == 0 || strcmp(a, "-n") == 0) && next)
			o.ns = next, i++;
		else if (strcmp(a, "--service") == 0 && next)
			o.service = next, i++;
		else if (a[0] == '-' && !o.wrong)
			o.wrong = a, o.bad = true;
		else if (a[0] != '-' && !o.what)
			o.what = a;
		else
			o.bad = true;
	}
	return o;
}

/* Calls fn with the opened maps of each node. Returns how many there were, or negative errno. */
static int each_node(
	const struct options *o, int (*fn)(void *arg, const char *node, struct maps *m), void *arg)
{
	DIR *d = opendir(o->root);
	int n = 0;
	if (!d)
		return -errno;
	for (struct dirent *f; (f = readdir(d));) {
		char dir[PATH_MAX];
		AUTO_MAPS struct maps *m = NULL;
		struct err e = {0};
		if (f->d_name[0] == '.' || (o->node && strcmp(o->node, f->d_name) != 0))
			continue;
		(void)snprintf(dir, sizeof dir, "%s/%s", o->root, f->d_name);
		if (maps_open_pinned(dir, &m, &e)) {
			(void)fprintf(stderr, "xebec: %s\n", e.msg);
			continue;
		}
		n++;
		if (fn(arg, f->d_name, m))
			break;
	}
	(void)closedir(d);
	return n;
}

struct listing {
	const struct options *o;
	json_t *rows;
	int r;
};

static int list_node(void *arg, const char *node, struct maps *m)
{
	struct listing *l = arg;
	struct err e = {0};
	l->r = inspect_list(l->o->what, node, m, l->rows, &e);
	if (l->r)
		(void)fprintf(stderr, "xebec: %s\n", e.msg);
	return l->r;
}

static int no_nodes(const struct options *o)
{
	(void)fprintf(stderr, "xebec: no node%s%s has maps under %s\n", o->node ? " " : "",
		o->node ? o->node : "", o->root);
	return 1;
}

/* Rows that name a service ("ns/name:port/PROTO") pass when it is the one asked for. */
static bool row_wanted(const struct options *o, const json_t *row)
{
	const char *name = json_string_value(json_object_get(row, "service"));
	size_t ns = o->ns ? strlen(o->ns) : 0, svc = o->service ? strlen(o->service) : 0;
	const char *slash = name ? strchr(name, '/') : NULL;
	if (!o->ns && !o->service)
		return true;
	if (!slash || (o->ns && ((size_t)(slash - name) != ns || strncmp(name, o->ns, ns) != 0)))
		return false;
	return !o->service || (strncmp(slash + 1, o->service, svc) == 0 && slash[1 + svc] == ':');
}

static void rows_filter(const struct options *o, json_t *rows)
{
	for (size_t i = json_array_size(rows); i > 0; i--)
		if (!row_wanted(o, json_array_get(rows, i - 1)))
			(void)json_array_remove(rows, i - 1);
}

static int list_print(const struct options *o)
{
	AUTO_JSON json_t *rows = json_array();
	struct listing l = {o, rows, 0};
	if (each_node(o, list_node, &l) <= 0)
		return no_nodes(o);
	if (l.r)
		return 1;
	rows_filter(o, rows);
	if (o->json)
		(void)(json_dumpf(rows, stdout, JSON_INDENT(2)), putchar('\n'));
	else
		inspect_table(rows, stdout);
	return 0;
}

int role_lb(int argc, char **argv)
{
	struct options o = options_parse(argc, argv);
	bool known = false;
	for (const char *const *n = inspect_names(); o.what && *n; n++)
		known |= strcmp(*n, o.what) == 0;
	if (known && !o.bad && !o.help)
		return list_print(&o);
	FILE *out = o.help ? stdout : stderr;
	if (!o.help && o.wrong)
		(void)fprintf(out, "xebec lb: unknown option '%s', or no value for it\n", o.wrong);
	else if (!o.help && o.what && !known)
		(void)fprintf(out, "xebec lb: there is no listing '%s'\n", o.what);
	(void)fprintf(out,
		"usage: xebec lb WHAT [--node NAME] [--namespace NS] [--service NAME] [-o "
		"json]\n\nWHAT:");
	for (const char *const *n = inspect_names(); *n; n++)
		(void)fprintf(out, " %s", *n);
	(void)fprintf(out, "\n");
	return o.help ? 0 : 2;
}

static void print_drop(void *arg, const struct xb_ev *ev)
{
	static const char *const hooks[HOOK_MAX] = {
		"from pod", "to pod", "from outside", "to outside", "from node", "from VXLAN"};
	const char *name = drop_reason_name(ev->reason);
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	int af = ev->family == 6 ? AF_INET6 : AF_INET;
	(void)inet_ntop(af, ev->saddr, from, sizeof from);
	(void)inet_ntop(af, ev->daddr, to, sizeof to);
	printf(af == AF_INET6 ? "%s  %-12s [%s]:%u -> [%s]:%u proto %u, %u bytes, %s (interface "
				"%u): %s\n"
			      : "%s  %-12s %s:%u -> %s:%u proto %u, %u bytes, %s (interface %u): "
				"%s\n",
		(const char *)arg, name ? name : "?", from, ev->sport, to, ev->dport, ev->proto,
		ev->len, ev->hook < HOOK_MAX ? hooks[ev->hook] : "?", ev->ifindex,
		name ? drop_reason_text(ev->reason) : "?");
}

static int drops_node(void *arg, const char *node, struct maps *m)
{
	char name[256];
	(void)snprintf(name, sizeof name, "%s", node);
	const struct options *o = arg;
	do {
		int r = inspect_drops(m, o->follow ? 1000 : 0, print_drop, name);
		if (r < 0 && r != -EINTR)
			return r;
		(void)fflush(stdout);
	} while (o->follow);
	return 0;
}

int role_drops(int argc, char **argv)
{
	struct options o = options_parse(argc, argv);
	if (o.bad || o.help || (o.follow && !o.node)) {
		(void)fprintf(o.help ? stdout : stderr,
			"usage: xebec drops [--node NAME] [-o json] [-f]\n\n"
			"Counters by reason, then the samples not yet read. -f (with --node) waits "
			"for "
			"more.\n");
		return o.help ? 0 : 2;
	}
	o.what = "drops";
	int r = o.follow ? 0 : list_print(&o);
	if (r || o.json)
		return r;
	return each_node(&o, drops_node, &o) > 0 ? 0 : no_nodes(&o);
}
