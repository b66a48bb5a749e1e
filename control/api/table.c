/* SPDX-License-Identifier: Apache-2.0
 * meta/v1 Table: what `kubectl get` prints. Columns come from the schema; the cells that are more
 * than a member of the object come from the kind's rules. */
#include "api/custom.h"
#include "api/jsonpath.h"
#include "api/rules.h"
#include "xebec/base/timefmt.h"

static const struct column plain_columns[] = {
	{.name = "Name", .type = "string", .format = "name", .path = "metadata.name"},
	{.name = "Created At", .type = "date", .format = "", .path = "metadata.creationTimestamp"},
};

static const struct column *columns_of(const struct kind *k, size_t *n)
{
	*n = k->n_columns ? k->n_columns : ARRAY_LEN(plain_columns);
	return k->n_columns ? k->columns : plain_columns;
}

static void add_member(struct buf *out, const char *head, const char *text)
{
	buf_adds(out, head);
	buf_add_json_str(out, str_of(text ? text : ""));
}

void table_columns(const struct kind *k, struct buf *out)
{
	size_t n;
	const struct column *c = columns_of(k, &n);
	buf_addc(out, '[');
	for (size_t i = 0; i < n; i++) {
		add_member(out, i ? ",{\"name\":" : "{\"name\":", c[i].name);
		add_member(out, ",\"type\":", c[i].type);
		add_member(out, ",\"format\":", c[i].format);
		add_member(out, ",\"description\":", c[i].doc);
		buf_addf(out, ",\"priority\":%u}", c[i].priority);
	}
	buf_addc(out, ']');
}

static void next_cell(struct cells *c)
{
	if (c->n++)
		buf_addc(c->out, ',');
}

void cell_str(struct cells *c, struct str s)
{
	next_cell(c);
	buf_add_json_str(c->out, s);
}

void cell_raw(struct cells *c, struct jv v, const char *dflt)
{
	struct str raw = jv_raw_str(v);
	if (raw.n == 0) {
		cell_str(c, str_of(dflt));
		return;
	}
	next_cell(c); /* the escapes are already right */
	buf_add_str(c->out, jv_bytes(v));
}

void cell_int(struct cells *c, int64_t v)
{
	next_cell(c);
	buf_addf(c->out, "%lld", (long long)v);
}

void cell_bool(struct cells *c, bool v)
{
	next_cell(c);
	buf_adds(c->out, v ? "true" : "false");
}

void cell_buf(struct cells *c, const struct buf *b, const char *dflt)
{
	cell_str(c, b->len ? buf_str(b) : str_of(dflt));
}

void age_text(struct jv timestamp, int64_t now_ns, char out[static 32])
{
	int64_t t;
	if (!jv_present(timestamp) || time_parse(jv_raw_str(timestamp), &t) < 0) {
		memcpy(out, "<unknown>", 10);
		return;
	}
	if (t > now_ns + NS_PER_SEC)
		memcpy(out, "<invalid>", 10);
	else
		time_duration_short(now_ns > t ? now_ns - t : 0, out);
}

void cell_age(struct cells *c, struct jv timestamp)
{
	char t[32];
	age_text(timestamp, c->now_ns, t);
	cell_str(c, str_of(t));
}

/* Members of a flat object sorted by key, as "k=v,k=v". */
static void join_labels(struct jv labels, struct buf *out)
{
	struct jv_iter rows[64];
	size_t n = 0;
	jv_each (it, labels) {
		size_t at = n;
		if (n == ARRAY_LEN(rows))
			break;
		while (at && str_cmp(it.key, rows[at - 1].key) < 0) {
			rows[at] = rows[at - 1];
			at--;
		}
		rows[at] = it;
		n++;
	}
	for (size_t i = 0; i < n; i++) {
		if (out->len)
			buf_addc(out, ',');
		buf_add_str(out, rows[i].key);
		buf_addc(out, '=');
		buf_add_str(out, jv_raw_str(rows[i].v));
	}
}

void cell_labels(struct cells *c, struct jv labels)
{
	AUTO_BUF struct buf b = {0};
	join_labels(labels, &b);
	cell_buf(c, &b, "<none>");
}

static void join_expression(struct jv x, struct buf *out)
{
	static const struct {
		const char *op, *before, *between;
		bool values;
	} forms[] = {{"In", "", " in ", true}, {"NotIn", "", " notin ", true},
		{"Exists", "", "", false}, {"DoesNotExist", "!", "", false}};
	const char *sep = "(";
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (!jv_is_str(jv_get(x, "operator"), forms[i].op))
			continue;
		if (out->len)
			buf_addc(out, ',');
		buf_adds(out, forms[i].before);
		buf_add_str(out, jv_raw_str(jv_get(x, "key")));
		buf_adds(out, forms[i].between);
		if (!forms[i].values)
			return;
		jv_each (it, jv_get(x, "values")) {
			buf_adds(out, sep);
			buf_add_str(out, jv_raw_str(it.v));
			sep = ",";
		}
		buf_addc(out, ')');
	}
}

void cell_selector(struct cells *c, struct jv selector)
{
	AUTO_BUF struct buf b = {0};
	join_labels(jv_get(selector, "matchLabels"), &b);
	jv_each (it, jv_get(selector, "matchExpressions"))
		join_expression(it.v, &b);
	cell_buf(c, &b, "<none>");
}

void join_containers(struct jv pod_spec, const char *member, struct buf *out)
{
	jv_each (it, jv_get(pod_spec, "containers")) {
		if (out->len)
			buf_addc(out, ',');
		buf_add_str(out, jv_raw_str(jv_get(it.v, member)));
	}
}

static void path_cell(struct cells *c, const struct column *col, struct jv v)
{
	if (strcmp(col->type, "integer") == 0)
		cell_int(c, jv_int(v, 0));
	else if (strcmp(col->type, "boolean") == 0)
		cell_bool(c, jv_bool(v, false));
	else if (jv_type(v) == JV_NUMBER || jv_type(v) == JV_BOOL)
		cell_str(c, jv_bytes(v));
	else
		cell_raw(c, v, "");
}

/* A value as a custom column's type wants it; null when it is of another type. */
static void custom_cell(struct cells *c, const struct column *col, struct jv v)
{
	enum jv_type t = jv_type(v);
	if (strcmp(col->type, "string") == 0 && t != JV_ABSENT && t != JV_NULL) {
		if (t == JV_STRING)
			cell_raw(c, v, "");
		else
			cell_str(c, jv_bytes(v));
	} else if (strcmp(col->type, "integer") == 0 && t == JV_NUMBER) {
		cell_int(c, jv_int(v, 0));
	} else if (strcmp(col->type, "date") == 0 && t == JV_STRING) {
		int64_t when;
		if (time_parse(jv_raw_str(v), &when) == 0)
			cell_age(c, v);
		else
			cell_str(c, STR("<invalid>"));
	} else if ((strcmp(col->type, "number") == 0 && t == JV_NUMBER) ||
		   (strcmp(col->type, "boolean") == 0 && t == JV_BOOL)) {
		next_cell(c);
		buf_add_str(c->out, jv_bytes(v));
	} else {
		next_cell(c);
		buf_adds(c->out, "null");
	}
}

static void one_cell(
	struct cells *c, const struct kind_rules *rules, const struct column *col, struct jv obj)
{
	for (const struct cell_rule *r = rules->cells; r && r->column; r++)
		if (strcmp(r->column, col->name) == 0) {
			r->write(c, obj);
			return;
		}
	if (strcmp(col->name, "Age") == 0)
		cell_age(c, jv_path(obj, "metadata.creationTimestamp"));
	else
		path_cell(c, col, col->path ? jv_path(obj, col->path) : (struct jv){0});
}

/* obj's bytes with the resourceVersion as the first member of its metadata. */
static void splice_rv(struct buf *out, struct str bytes, struct jv meta, uint64_t rv)
{
	size_t at;
	if (!jv_present(meta) || rv == 0) {
		buf_add_str(out, bytes);
		return;
	}
	at = (size_t)(meta.p - bytes.p) + 1; /* past the '{' */
	buf_add(out, bytes.p, at);
	buf_addf(out, "\"resourceVersion\":\"%llu\"%s", (unsigned long long)rv,
		bytes.p[at] == '}' ? "" : ",");
	buf_add(out, bytes.p + at, bytes.n - at);
}

static void row_object(struct jv obj, uint64_t rv, enum include_object inc, struct buf *out)
{
	struct jv meta = jv_get(obj, "metadata");
	if (inc == INCLUDE_OBJECT) {
		splice_rv(out, jv_bytes(obj), meta, rv);
		return;
	}
	buf_adds(out, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\","
		      "\"metadata\":");
	splice_rv(out, jv_bytes(meta), meta, rv);
	buf_addc(out, '}');
}

void table_row(const struct kind *k, struct jv obj, uint64_t rv, enum include_object inc,
	int64_t now_ns, struct buf *out)
{
	const struct kind_rules *rules = kind_rules(k);
	struct cells c = {.out = out, .now_ns = now_ns};
	size_t n;
	const struct column *cols = columns_of(k, &n);
	buf_adds(out, "{\"cells\":[");
	for (size_t i = 0; i < n; i++)
		if (k->custom && k->custom->columns && i > 0)
			custom_cell(&c, &cols[i],
				k->custom->columns[i] ? jsonpath_first(k->custom->columns[i], obj)
						      : (struct jv){0});
		else
			one_cell(&c, rules, &cols[i], obj);
	buf_addc(out, ']');
	if (inc != INCLUDE_NONE) {
		buf_adds(out, ",\"object\":");
		row_object(obj, rv, inc, out);
	}
	buf_addc(out, '}');
}
