/* SPDX-License-Identifier: Apache-2.0
 * Schema compiler, a host program: schemac SYMBOL OUT.c FILE.schema... writes const tables of
 * control/api/schema.h as `const struct schema SYMBOL`. The text format is described in
 * control/api/schema/README.md. Every error names file and line. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS 64
#define MAX_NAMES  64

struct place {
	const char *file;
	int line;
};

struct names { /* a comma- or bar-separated list */
	char *v[MAX_NAMES];
	int n;
};

struct def_field {
	struct place at;
	char *name, *doc, *dflt, *merge_key, *type_name;
	struct names enums, keys;
	const char *kind, *shape, *list_type;
	long long min, max;
	int pb, type; /* type: index into types, -1 none */
	bool embed, copied;
	bool required, merge, retain_keys, immutable, bounded, always, nullable;
};

struct def_type {
	struct place at;
	char *name, *doc, *package; /* name is qualified */
	struct def_field *fields;
	int n, cap, expanding;
	bool atomic, typemeta, hook, expanded;
};

struct def_column {
	char *name, *type, *format, *path, *doc;
	int priority;
};

struct def_kind {
	struct place at;
	char *group, *version, *package, *kind, *plural, *singular, *storage, *rules;
	struct names shorts, cats, select;
	struct def_column *cols;
	int n_cols;
	unsigned verbs, subs;
	bool namespaced, generation;
};

struct word {
	char *name, *doc;
};

enum { MAX_WORDS = 2000 };
static struct word words[MAX_WORDS];
static int n_words;
static struct def_type *types;
static int n_types, cap_types;
static struct def_kind *kinds;
static int n_kinds, cap_kinds;
static struct place here;
static int errors;

__attribute__((format(printf, 2, 3))) static void fail(struct place at, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "%s:%d: ", at.file, at.line);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	errors++;
}

static void *grow(void *p, int n, int *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap ? *cap * 2 : 16;
	p = realloc(p, (size_t)*cap * size);
	if (!p) {
		perror("schemac");
		exit(1);
	}
	return p;
}

static char *dup_n(const char *s, size_t n)
{
	char *p = strndup(s, n);
	if (!p) {
		perror("schemac");
		exit(1);
	}
	return p;
}

static char *dup_z(const char *s)
{
	return dup_n(s, strlen(s));
}

static void split(const char *s, char sep, struct names *out)
{
	out->n = 0;
	for (;;) {
		const char *e = strchr(s, sep);
		size_t n = e ? (size_t)(e - s) : strlen(s);
		if (out->n == MAX_NAMES - 1) {
			fail(here, "more than %d names", MAX_NAMES - 1);
			return;
		}
		if (n)
			out->v[out->n++] = dup_n(s, n);
		if (!e)
			return;
		s = e + 1;
	}
}

/* Cuts a line into tokens at blanks outside of quotes and braces; returns the text after " -- ". */
static char *tokenize(char *line, char **tok, int *n)
{
	*n = 0;
	for (char *p = line; *p;) {
		while (*p == ' ' || *p == '\t')
			p++;
		if (!*p)
			break;
		if (strncmp(p, "-- ", 3) == 0)
			return p + 3;
		char *start = p;
		int depth = 0;
		bool quoted = false;
		for (; *p && (quoted || depth || (*p != ' ' && *p != '\t')); p++) {
			if (*p == '"')
				quoted = !quoted;
			else if (!quoted && (*p == '{' || *p == '['))
				depth++;
			else if (!quoted && (*p == '}' || *p == ']'))
				depth--;
		}
		if (quoted || depth)
			fail(here, "unbalanced quote or bracket in '%s'", start);
		if (*n == MAX_TOKENS) {
			fail(here, "more than %d words", MAX_TOKENS);
			return NULL;
		}
		tok[(*n)++] = start;
		if (*p)
			*p++ = 0;
	}
	return NULL;
}

static char *unquote(const char *s)
{
	size_t n = strlen(s);
	return n >= 2 && s[0] == '"' ? dup_n(s + 1, n - 2) : dup_n(s, n);
}

/* The value of "key=value", or NULL when the token has another key. */
static const char *value_of(const char *tok, const char *key)
{
	size_t n = strlen(key);
	return strncmp(tok, key, n) == 0 && tok[n] == '=' ? tok + n + 1 : NULL;
}

/* --- field lines --- */
static const struct {
	const char *text, *kind;
} scalars[] = {
	{"string", "F_STRING"},
	{"bool", "F_BOOL"},
	{"int32", "F_INT32"},
	{"uint32", "F_INT64"},
	{"int64", "F_INT64"},
	{"uint64", "F_INT64"},
	{"double", "F_DOUBLE"},
	{"bytes", "F_BYTES"},
	{"quantity", "F_QUANTITY"},
	{"intstr", "F_INT_OR_STRING"},
	{"time", "F_TIME"},
	{"microtime", "F_MICRO_TIME"},
	{"any", "F_ANY"},
	{"schemaOrBool", "F_SCHEMA_OR_BOOL"},
	{"schemaOrArray", "F_SCHEMA_OR_ARRAY"},
	{"schemaOrStrings", "F_SCHEMA_OR_STRINGS"},
};

static void set_kind(struct def_field *f, const char *t)
{
	for (size_t i = 0; i < sizeof(scalars) / sizeof(scalars[0]); i++)
		if (strcmp(t, scalars[i].text) == 0) {
			f->kind = scalars[i].kind;
			if (strncmp(t, "schemaOr", 8) == 0)
				f->type_name = dup_z("JSONSchemaProps");
			return;
		}
	f->kind = "F_OBJECT";
	f->type_name = dup_z(t);
}

static void set_type(struct def_field *f, char *t)
{
	size_t n = strlen(t);
	f->shape = "SHAPE_ONE";
	f->list_type = "LIST_MAP";
	if (strncmp(t, "[]", 2) == 0) {
		f->shape = "SHAPE_LIST";
		f->list_type = "LIST_ATOMIC";
		t += 2;
	} else if (strncmp(t, "map[", 4) == 0 && t[n - 1] == ']') {
		f->shape = "SHAPE_MAP";
		t[n - 1] = 0;
		t += 4;
		if (strncmp(t, "[]", 2) == 0) {
			f->shape = "SHAPE_MAP_OF_LISTS";
			t += 2;
		}
	}
	set_kind(f, t);
}

static bool set_flag(struct def_field *f, const char *t)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{"required", &f->required},
		{"ptr", &f->nullable},
		{"always", &f->always},
		{"immutable", &f->immutable},
		{"merge", &f->merge},
		{"retainKeys", &f->retain_keys},
	};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (strcmp(t, flags[i].name) == 0)
			return *flags[i].flag = true;
	if (strcmp(t, "atomic") == 0 || strcmp(t, "set") == 0) {
		f->list_type = *t == 's' ? "LIST_SET" : "LIST_ATOMIC";
		return true;
	}
	return false;
}

static long long number(const char *v)
{
	char *end;
	errno = 0;
	long long n = strtoll(v, &end, 10);
	if (errno || end == v || *end)
		fail(here, "'%s' is not a number", v);
	return n;
}

static void set_attr(struct def_field *f, const char *t)
{
	const char *v;
	if (set_flag(f, t))
		return;
	if ((v = value_of(t, "enum")))
		split(v, '|', &f->enums);
	else if ((v = value_of(t, "default")))
		f->dflt = dup_z(v);
	else if ((v = value_of(t, "merge"))) {
		f->merge = true;
		f->merge_key = dup_z(v);
	} else if ((v = value_of(t, "map"))) {
		f->list_type = "LIST_MAP";
		split(v, ',', &f->keys);
	} else if ((v = value_of(t, "min"))) {
		f->min = number(v);
		f->bounded = true;
	} else if ((v = value_of(t, "max"))) {
		f->max = number(v);
		f->bounded = true;
	} else {
		fail(here, "unknown attribute '%s' of field '%s'", t, f->name);
	}
}

static struct def_field *add_field(struct def_type *t)
{
	t->fields = grow(t->fields, t->n, &t->cap, sizeof(*t->fields));
	struct def_field *f = &t->fields[t->n++];
	memset(f, 0, sizeof(*f));
	f->at = here;
	f->type = -1;
	f->max = INT64_MAX;
	f->min = INT64_MIN;
	return f;
}

static void parse_embed(struct def_type *t, char **tok, int n)
{
	if (n != 3) {
		fail(here, "expected: embed TYPE NUMBER");
		return;
	}
	struct def_field *f = add_field(t);
	f->embed = true;
	f->name = f->type_name = dup_z(tok[1]);
	f->pb = (int)number(tok[2]);
}

static void parse_field(struct def_type *t, char **tok, int n, const char *doc)
{
	if (strcmp(tok[0], "embed") == 0) {
		parse_embed(t, tok, n);
		return;
	}
	if (n < 3) {
		fail(here, "expected: NAME TYPE NUMBER ATTRIBUTES");
		return;
	}
	struct def_field *f = add_field(t);
	f->name = dup_z(tok[0]);
	set_type(f, tok[1]);
	f->pb = strcmp(tok[2], "-") == 0 ? 0 : (int)number(tok[2]);
	f->doc = doc ? dup_z(doc) : NULL;
	for (int i = 3; i < n; i++)
		set_attr(f, tok[i]);
	for (int i = 0; i < t->n - 1; i++) {
		if (strcmp(t->fields[i].name, f->name) == 0)
			fail(here, "field '%s' is declared twice", f->name);
		if (f->pb && t->fields[i].pb == f->pb)
			fail(here, "number %d belongs to '%s' already", f->pb, t->fields[i].name);
	}
}

/* --- type lines --- */
static void parse_type(const char *package, char **tok, int n, const char *doc)
{
	if (n < 2) {
		fail(here, "expected: type NAME");
		return;
	}
	types = grow(types, n_types, &cap_types, sizeof(*types));
	struct def_type *t = &types[n_types++];
	memset(t, 0, sizeof(*t));
	t->at = here;
	t->package = dup_z(package);
	if (asprintf(&t->name, "%s.%s", package, tok[1]) < 0)
		exit(1);
	t->doc = doc ? dup_z(doc) : NULL;
	for (int i = 2; i < n; i++) {
		if (strcmp(tok[i], "atomic") == 0)
			t->atomic = true;
		else if (strcmp(tok[i], "typemeta") == 0)
			t->typemeta = true;
		else if (strcmp(tok[i], "hook") == 0)
			t->hook = true;
		else
			fail(here, "unknown attribute '%s' of type '%s'", tok[i], tok[1]);
	}
	for (int i = 0; t->typemeta && i < 2; i++) {
		struct def_field *f = add_field(t);
		f->name = i ? "kind" : "apiVersion";
		f->kind = "F_STRING";
		f->shape = "SHAPE_ONE";
		f->list_type = "LIST_MAP";
	}
}

/* --- kind lines --- */
static const char *const verb_names[] = {
	"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"};
static const char *const sub_names[] = {"status", "scale", "log", "exec", "attach", "portforward",
	"binding", "eviction", "ephemeralcontainers", "proxy", "token", "finalize", "resize",
	"approval"};

static unsigned bits_of(const char *list, const char *const *names, int n, const char *what)
{
	struct names want;
	unsigned bits = 0;
	split(list, ',', &want);
	for (int i = 0; i < want.n; i++) {
		int j = 0;
		while (j < n && strcmp(want.v[i], names[j]) != 0)
			j++;
		if (j == n)
			fail(here, "unknown %s '%s'", what, want.v[i]);
		bits |= 1u << j;
	}
	return bits;
}

static void kind_attr(struct def_kind *k, const char *t)
{
	const char *v;
	if (strcmp(t, "namespaced") == 0 || strcmp(t, "cluster") == 0)
		k->namespaced = *t == 'n';
	else if (strcmp(t, "generation") == 0)
		k->generation = true;
	else if ((v = value_of(t, "verbs")))
		k->verbs = strcmp(v, "*") == 0 ? 0xff : bits_of(v, verb_names, 8, "verb");
	else if ((v = value_of(t, "sub")))
		k->subs = bits_of(v, sub_names, 14, "subresource");
	else if ((v = value_of(t, "short")))
		split(v, ',', &k->shorts);
	else if ((v = value_of(t, "categories")))
		split(v, ',', &k->cats);
	else if ((v = value_of(t, "select")))
		split(v, ',', &k->select);
	else if ((v = value_of(t, "storage")))
		k->storage = dup_z(v);
	else if ((v = value_of(t, "singular")))
		k->singular = dup_z(v);
	else if ((v = value_of(t, "rules")))
		k->rules = dup_z(v);
	else
		fail(here, "unknown attribute '%s' of kind '%s'", t, k->kind);
}

static void parse_kind(
	const char *package, const char *group, const char *version, char **tok, int n)
{
	if (n < 4 || !version) {
		fail(here, "expected: kind NAME PLURAL namespaced|cluster, in a package with group "
			   "and version");
		return;
	}
	kinds = grow(kinds, n_kinds, &cap_kinds, sizeof(*kinds));
	struct def_kind *k = &kinds[n_kinds++];
	memset(k, 0, sizeof(*k));
	k->at = here;
	k->package = dup_z(package);
	k->group = dup_z(group);
	k->version = dup_z(version);
	k->kind = dup_z(tok[1]);
	k->plural = dup_z(tok[2]);
	k->singular = dup_z(tok[1]);
	for (char *p = k->singular; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	for (int i = 3; i < n; i++)
		kind_attr(k, tok[i]);
}

static void parse_column(struct def_kind *k, char **tok, int n, const char *doc)
{
	if (n < 3) {
		fail(here, "expected: column \"NAME\" TYPE");
		return;
	}
	k->cols = realloc(k->cols, sizeof(*k->cols) * (size_t)(k->n_cols + 1));
	if (!k->cols)
		exit(1);
	struct def_column *c = &k->cols[k->n_cols++];
	*c = (struct def_column){.name = unquote(tok[1]), .type = dup_z(tok[2])};
	c->doc = doc ? dup_z(doc) : NULL;
	for (int i = 3; i < n; i++) {
		const char *v;
		if ((v = value_of(tok[i], "format")))
			c->format = dup_z(v);
		else if ((v = value_of(tok[i], "path")))
			c->path = dup_z(v);
		else if ((v = value_of(tok[i], "priority")))
			c->priority = (int)number(v);
		else
			fail(here, "unknown attribute '%s' of column '%s'", tok[i], c->name);
	}
}

struct file_state {
	char *package, *group, *version;
	enum { IN_NOTHING, IN_TYPE, IN_KIND } in;
};

static void parse_package(struct file_state *s, char **tok, int n)
{
	if (n < 2) {
		fail(here, "expected: package NAME");
		return;
	}
	s->package = dup_z(tok[1]);
	for (int i = 2; i < n; i++) {
		const char *v;
		if ((v = value_of(tok[i], "group")))
			s->group = unquote(v);
		else if ((v = value_of(tok[i], "version")))
			s->version = dup_z(v);
		else
			fail(here, "unknown attribute '%s' of package", tok[i]);
	}
}

/* --- descriptions by name, for what has none where it stands --- */
static void add_word(const char *name, const char *doc)
{
	if (n_words == MAX_WORDS)
		fail(here, "too many words");
	words[n_words++] = (struct word){dup_z(name), dup_z(doc)};
}

static int word_cmp(const void *a, const void *b)
{
	return strcmp(((const struct word *)a)->name, ((const struct word *)b)->name);
}

static char *word_of(const char *name)
{
	struct word key = {.name = (char *)(uintptr_t)name};
	struct word *w = bsearch(&key, words, (size_t)n_words, sizeof(*words), word_cmp);
	return w ? w->doc : NULL;
}

/* "NodeSelectorTerm" as "Node selector term." */
static char *spelt_out(const char *name)
{
	char text[256];
	size_t n = 0;
	for (size_t i = 0; name[i] && n + 3 < sizeof(text); i++) {
		bool upper = name[i] >= 'A' && name[i] <= 'Z';
		bool next_lower = name[i + 1] >= 'a' && name[i + 1] <= 'z';
		bool prev_lower = i && name[i - 1] >= 'a' && name[i - 1] <= 'z';
		if (i && upper && (prev_lower || next_lower))
			text[n++] = ' ';
		text[n++] = (char)(i && upper && next_lower ? name[i] + 32 : name[i]);
	}
	text[n++] = '.';
	text[n] = 0;
	return dup_z(text);
}

/* "PodList" is a list of them; "PodSpec" and "PodStatus" are two sides of one. */
static char *describe_type(const char *full)
{
	static const struct {
		const char *suffix, *text;
	} forms[] = {{"List", "A list of objects: "}, {"Spec", "What is wanted of: "},
		{"Status", "What was last seen of: "}};
	const char *name = strrchr(full, '.') ? strrchr(full, '.') + 1 : full;
	char text[256];
	size_t n = strlen(name);
	if (word_of(name))
		return word_of(name);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		size_t k = strlen(forms[i].suffix);
		if (n <= k || strcmp(name + n - k, forms[i].suffix) != 0)
			continue;
		snprintf(text, sizeof(text), "%s%.*s.", forms[i].text, (int)(n - k), name);
		return dup_z(text);
	}
	return spelt_out(name);
}

static void describe(void)
{
	if (n_words)
		qsort(words, (size_t)n_words, sizeof(*words), word_cmp);
	for (int i = 0; n_words && i < n_types; i++) {
		struct def_type *t = &types[i];
		if (!t->doc)
			t->doc = describe_type(t->name);
		for (int j = 0; j < t->n; j++)
			if (!t->fields[j].doc)
				t->fields[j].doc = word_of(t->fields[j].name);
	}
}

static void parse_line(struct file_state *s, char *line)
{
	char *tok[MAX_TOKENS];
	int n;
	bool indented = *line == '\t' || *line == ' ';
	const char *doc = *line == '#' ? NULL : tokenize(line, tok, &n);
	if (*line == '#' || n == 0)
		return;
	if (!indented && strcmp(tok[0], "package") == 0)
		parse_package(s, tok, n);
	else if (!indented && strcmp(tok[0], "word") == 0 && n == 2 && doc)
		add_word(tok[1], doc);
	else if (!s->package)
		fail(here, "the first line must be: package NAME");
	else if (!indented && strcmp(tok[0], "type") == 0) {
		parse_type(s->package, tok, n, doc);
		s->in = IN_TYPE;
	} else if (!indented && strcmp(tok[0], "kind") == 0) {
		parse_kind(s->package, s->group, s->version, tok, n);
		s->in = IN_KIND;
	} else if (indented && s->in == IN_TYPE && n_types)
		parse_field(&types[n_types - 1], tok, n, doc);
	else if (indented && s->in == IN_KIND && n_kinds && strcmp(tok[0], "column") == 0)
		parse_column(&kinds[n_kinds - 1], tok, n, doc);
	else
		fail(here, "unexpected '%s'", tok[0]);
}

static void parse_file(const char *path)
{
	struct file_state s = {0};
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	here = (struct place){.file = path};
	while ((len = getline(&line, &cap, f)) >= 0) {
		here.line++;
		if (len && line[len - 1] == '\n')
			line[len - 1] = 0;
		parse_line(&s, line);
	}
	free(line);
	fclose(f);
}

/* --- resolution --- */
static int type_cmp(const void *a, const void *b)
{
	return strcmp(((const struct def_type *)a)->name, ((const struct def_type *)b)->name);
}

static int find_type(const char *package, const char *name)
{
	char full[256];
	struct def_type key = {.name = full};
	snprintf(full, sizeof(full), "%s.%s", package, name);
	struct def_type *t = bsearch(&key, types, (size_t)n_types, sizeof(*types), type_cmp);
	if (!t) {
		snprintf(full, sizeof(full), "%s", name);
		t = bsearch(&key, types, (size_t)n_types, sizeof(*types), type_cmp);
	}
	return t ? (int)(t - types) : -1;
}

/* Puts copies of the embedded type's fields into the owner, at the place of the embed. */
static void expand_embeds(struct def_type *t)
{
	if (t->expanded)
		return;
	if (t->expanding++) {
		fail(t->at, "type '%s' embeds itself", t->name);
		return;
	}
	for (int i = 0; i < t->n; i++) {
		if (!t->fields[i].embed || t->fields[i].type < 0)
			continue;
		struct def_type *e = &types[t->fields[i].type];
		expand_embeds(e);
		for (int j = 0; j < e->n; j++) {
			struct def_field copy = e->fields[j];
			if (copy.embed)
				continue;
			copy.pb = 0;
			copy.copied = true;
			*add_field(t) = copy;
			memmove(&t->fields[i + 2], &t->fields[i + 1],
				sizeof(copy) * (size_t)(t->n - i - 2));
			t->fields[++i] = copy;
		}
	}
	t->expanded = true;
}

static void resolve(void)
{
	if (n_types)
		qsort(types, (size_t)n_types, sizeof(*types), type_cmp);
	for (int i = 0; i < n_types; i++) {
		struct def_type *t = &types[i];
		if (i && strcmp(types[i - 1].name, t->name) == 0)
			fail(t->at, "type '%s' is declared twice", t->name);
		for (int j = 0; j < t->n; j++) {
			struct def_field *f = &t->fields[j];
			if (!f->type_name)
				continue;
			f->type = find_type(t->package, f->type_name);
			if (f->type < 0)
				fail(f->at, "field '%s': no type '%s'", f->name, f->type_name);
		}
	}
	for (int i = 0; i < n_types; i++)
		expand_embeds(&types[i]);
	for (int i = 0; i < n_types; i++)
		if (types[i].n > 255)
			fail(types[i].at, "type '%s' has more than 255 fields", types[i].name);
}

/* --- output --- */
static void put_string(FILE *o, const char *s)
{
	if (!s) {
		fputs("NULL", o);
		return;
	}
	fputc('"', o);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', o);
		fputc(*s, o);
	}
	fputc('"', o);
}

static void put_names(FILE *o, const struct names *l)
{
	if (!l->n) {
		fputs("NULL", o);
		return;
	}
	fputs("(const char *const[]){", o);
	for (int i = 0; i < l->n; i++) {
		put_string(o, l->v[i]);
		fputs(", ", o);
	}
	fputs("NULL}", o);
}

static void put_field(FILE *o, const struct def_field *f)
{
	fputs("\t{.name = ", o);
	put_string(o, f->name);
	fprintf(o, ", .kind = %s, .shape = %s, .list_type = %s, .pb = %d", f->kind, f->shape,
		f->list_type, f->pb);
	if (f->type >= 0)
		fprintf(o, ", .type = &types[%d]", f->type);
	if (f->doc) {
		fputs(", .doc = ", o);
		put_string(o, f->doc);
	}
	if (f->dflt) {
		fputs(", .dflt = ", o);
		put_string(o, f->dflt);
	}
	if (f->merge_key) {
		fputs(", .merge_key = ", o);
		put_string(o, f->merge_key);
	}
	if (f->enums.n) {
		fputs(", .enums = ", o);
		put_names(o, &f->enums);
	}
	if (f->keys.n) {
		fputs(", .list_keys = ", o);
		put_names(o, &f->keys);
	}
	if (f->bounded) {
		fputs(", .bounded = true, ", o);
		if (f->min != INT64_MIN)
			fprintf(o, ".min = %lldLL, ", f->min);
		else
			fputs(".min = INT64_MIN, ", o);
		fprintf(o, ".max = %lldLL", f->max);
	}
	const struct {
		const char *name;
		bool on;
	} flags[] = {{"required", f->required}, {"patch_merge", f->merge},
		{"patch_retain_keys", f->retain_keys}, {"immutable", f->immutable},
		{"always", f->always}, {"nullable", f->nullable}};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (flags[i].on)
			fprintf(o, ", .%s = true", flags[i].name);
	fputs("},\n", o);
}

static const struct def_type *sorting;
static int by_name_cmp(const void *a, const void *b)
{
	return strcmp(sorting->fields[*(const int *)a].name, sorting->fields[*(const int *)b].name);
}

/* The field rows without embeds, their order by name, and the embeds. */
static void put_type_tables(FILE *o, int ti)
{
	struct def_type *t = &types[ti];
	int order[256], rows = 0, n = 0, embeds = 0, pos[256];
	for (int i = 0; i < t->n; i++) {
		embeds += t->fields[i].embed;
		if (t->fields[i].embed)
			continue;
		pos[i] = rows++;
		order[n++] = i;
	}
	if (rows) {
		fprintf(o, "static const struct field f%d[] = { /* %s */\n", ti, t->name);
		for (int i = 0; i < t->n; i++)
			if (!t->fields[i].embed)
				put_field(o, &t->fields[i]);
		fputs("};\n", o);
		sorting = t;
		qsort(order, (size_t)n, sizeof(order[0]), by_name_cmp);
		fprintf(o, "static const uint8_t n%d[] = {", ti);
		for (int i = 0; i < n; i++) {
			const char *name = t->fields[order[i]].name;
			if (i && strcmp(t->fields[order[i - 1]].name, name) == 0)
				fail(t->at, "type '%s' has two fields '%s'", t->name, name);
			fprintf(o, "%d,", pos[order[i]]);
		}
		fputs("};\n", o);
	}
	if (!embeds)
		return;
	fprintf(o, "static const struct embed e%d[] = {", ti);
	for (int i = 0; i < t->n; i++)
		if (t->fields[i].embed)
			fprintf(o, "{&types[%d], %d}, ", t->fields[i].type, t->fields[i].pb);
	fputs("};\n", o);
}

static void put_type(FILE *o, int ti)
{
	const struct def_type *t = &types[ti];
	int rows = 0, embeds = 0;
	for (int i = 0; i < t->n; i++) {
		rows += !t->fields[i].embed;
		embeds += t->fields[i].embed;
	}
	fputs("\t{.name = ", o);
	put_string(o, t->name);
	fputs(", .doc = ", o);
	put_string(o, t->doc);
	if (rows)
		fprintf(o, ", .fields = f%d, .by_name = n%d, .n_fields = %d", ti, ti, rows);
	if (embeds)
		fprintf(o, ", .embeds = e%d, .n_embeds = %d", ti, embeds);
	fprintf(o, "%s%s%s},\n", t->atomic ? ", .atomic = true" : "",
		t->typemeta ? ", .typemeta = true" : "", t->hook ? ", .hook = true" : "");
}

static bool type_has(int ti, const char *field)
{
	for (int i = 0; i < types[ti].n; i++)
		if (strcmp(types[ti].fields[i].name, field) == 0)
			return true;
	return false;
}

static void put_columns(FILE *o, int ki)
{
	const struct def_kind *k = &kinds[ki];
	if (k->rules)
		fprintf(o, "extern const struct kind_rules %s;\n", k->rules);
	if (!k->n_cols)
		return;
	fprintf(o, "static const struct column c%d[] = { /* %s */\n", ki, k->kind);
	for (int i = 0; i < k->n_cols; i++) {
		const struct def_column *c = &k->cols[i];
		const char *const text[] = {
			c->name, c->type, c->format ? c->format : "", c->doc, c->path};
		fputs("\t{", o);
		for (int j = 0; j < 5; j++) {
			put_string(o, text[j]);
			fputs(", ", o);
		}
		fprintf(o, "%d},\n", c->priority);
	}
	fputs("};\n", o);
}

static void put_kind_strings(FILE *o, const struct def_kind *k)
{
	char list_kind[256], group[128];
	const char *slash = k->storage ? strchr(k->storage, '/') : NULL;
	snprintf(list_kind, sizeof(list_kind), "%sList", k->kind);
	snprintf(group, sizeof(group), "%.*s", slash ? (int)(slash - k->storage) : 127,
		slash	    ? k->storage
		: *k->group ? k->group
			    : "core");
	const struct {
		const char *name, *value;
	} text[] = {{"group", k->group}, {"version", k->version}, {"kind", k->kind},
		{"list_kind", list_kind}, {"plural", k->plural}, {"singular", k->singular},
		{"storage_group", group}, {"storage_plural", slash ? slash + 1 : k->plural}};
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		fprintf(o, ".%s = ", text[i].name);
		put_string(o, text[i].value);
		fputs(", ", o);
	}
}

static void put_kind(FILE *o, int ki)
{
	const struct def_kind *k = &kinds[ki];
	char list[256];
	int ti = find_type(k->package, k->kind);
	snprintf(list, sizeof(list), "%sList", k->kind);
	int li = find_type(k->package, list);
	if (ti < 0) {
		fail(k->at, "kind '%s': no type of that name", k->kind);
		return;
	}
	fputs("\t{", o);
	put_kind_strings(o, k);
	const struct {
		const char *name;
		const struct names *list;
	} lists[] = {
		{"short_names", &k->shorts}, {"categories", &k->cats}, {"selectable", &k->select}};
	for (size_t i = 0; i < 3; i++) {
		fprintf(o, ".%s = ", lists[i].name);
		/* never NULL: readers need no test */
		fputs(lists[i].list->n ? "" : "(const char *const[]){NULL}", o);
		if (lists[i].list->n)
			put_names(o, lists[i].list);
		fputs(", ", o);
	}
	fprintf(o, ".type = &types[%d], ", ti);
	if (li >= 0)
		fprintf(o, ".list_type = &types[%d], ", li);
	if (k->n_cols)
		fprintf(o, ".columns = c%d, .n_columns = %d, ", ki, k->n_cols);
	if (k->rules)
		fprintf(o, ".rules = &%s, ", k->rules);
	fprintf(o, ".verbs = %u, .subresources = %u", k->verbs, k->subs);
	fprintf(o, ", .namespaced = %d, .has_status = %d, .has_spec = %d, .generation = %d},\n",
		k->namespaced, type_has(ti, "status"), type_has(ti, "spec"), k->generation);
}

static int kind_order(const struct def_kind *a, const struct def_kind *b, bool by_kind)
{
	int r = strcmp(a->group, b->group);
	if (!r)
		r = strcmp(a->version, b->version);
	return r ? r : by_kind ? strcmp(a->kind, b->kind) : strcmp(a->plural, b->plural);
}

static int kind_cmp(const void *a, const void *b)
{
	return kind_order(a, b, false);
}

static int kind_index_cmp(const void *a, const void *b)
{
	return kind_order(&kinds[*(const int *)a], &kinds[*(const int *)b], true);
}

static void put_kinds(FILE *o)
{
	int order[1024];
	if (!n_kinds)
		return;
	if (n_kinds > 1024)
		fail(kinds[0].at, "more than 1024 kinds");
	qsort(kinds, (size_t)n_kinds, sizeof(*kinds), kind_cmp);
	for (int i = 0; i < n_kinds; i++) {
		if (i && kind_cmp(&kinds[i - 1], &kinds[i]) == 0)
			fail(kinds[i].at, "resource '%s' is declared twice", kinds[i].plural);
		order[i] = i;
		put_columns(o, i);
	}
	fputs("static const struct kind kinds[] = {\n", o);
	for (int i = 0; i < n_kinds; i++)
		put_kind(o, i);
	fputs("};\nstatic const uint16_t by_kind[] = {", o);
	qsort(order, (size_t)n_kinds, sizeof(order[0]), kind_index_cmp);
	for (int i = 0; i < n_kinds; i++)
		fprintf(o, "%d,", order[i]);
	fputs("};\n", o);
}

static void put_all(FILE *o, const char *symbol)
{
	fputs("/* SPDX-License-Identifier: Apache-2.0\n * Made by tools/schemac. */\n"
	      "#include <stddef.h>\n#include \"api/schema.h\"\n\n",
		o);
	if (n_types)
		fprintf(o, "static const struct type types[%d];\n", n_types);
	for (int i = 0; i < n_types; i++)
		put_type_tables(o, i);
	if (n_types) {
		fprintf(o, "static const struct type types[%d] = {\n", n_types);
		for (int i = 0; i < n_types; i++)
			put_type(o, i);
		fputs("};\n", o);
	}
	put_kinds(o);
	fprintf(o, "extern const struct schema %s;\nconst struct schema %s = {", symbol, symbol);
	if (n_types)
		fprintf(o, ".types = types, .n_types = %d, ", n_types);
	if (n_kinds)
		fprintf(o, ".kinds = kinds, .by_kind = by_kind, .n_kinds = %d", n_kinds);
	fputs("};\n", o);
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: schemac SYMBOL OUT.c FILE.schema...\n");
		return 2;
	}
	for (int i = 3; i < argc; i++)
		parse_file(argv[i]);
	describe();
	resolve();
	if (errors)
		return 1;
	FILE *o = fopen(argv[2], "w");
	if (!o) {
		fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	put_all(o, argv[1]);
	if (fclose(o) != 0 || errors) {
		if (!errors)
			fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
		remove(argv[2]);
		return 1;
	}
	return 0;
}
