/* SPDX-License-Identifier: Apache-2.0
 * What the codecs share: which members Go's encoder leaves out, canonical times. */
#include <errno.h>
#include "api/codec.h"
#include "xebec/base/timefmt.h"

bool field_drops(const struct field *f, const json_t *v)
{
	if (json_is_null(v))
		return !f->always;
	if (f->always || f->required)
		return false;
	if (f->shape == SHAPE_LIST)
		return json_array_size(v) == 0;
	if (f->shape != SHAPE_ONE)
		return json_object_size(v) == 0;
	if (f->nullable)
		return false;
	switch (f->kind) {
	case F_STRING:
	case F_BYTES:
		return json_is_string(v) && json_string_length(v) == 0;
	case F_BOOL:
		return json_is_false(v);
	case F_INT32:
	case F_INT64:
	case F_INT_OR_STRING:
		return json_is_integer(v) && json_integer_value(v) == 0;
	case F_DOUBLE:
		return json_is_number(v) && json_number_value(v) == 0;
	default:
		return false;
	}
}

const char *type_go_name(const struct type *t)
{
	const char *dot = strchr(t->name, '.');
	return dot ? dot + 1 : t->name;
}

int time_canonical(struct str s, bool micro, json_t **ret)
{
	int64_t ns;
	char sec[21], usec[28];
	int r = time_parse(s, &ns);
	if (r != 0)
		return r;
	if (micro)
		time_rfc3339_micro(ns, usec);
	else
		time_rfc3339(ns, sec);
	*ret = json_string(micro ? usec : sec);
	return *ret ? 0 : -ENOMEM;
}

enum media media_of(struct str content_type)
{
	static const struct {
		const char *name;
		enum media media;
	} known[] = {
		{"", MEDIA_JSON},
		{"application/json", MEDIA_JSON},
		{"application/yaml", MEDIA_YAML},
		{"application/vnd.kubernetes.protobuf", MEDIA_PROTOBUF},
	};
	struct str t = str_cut(&content_type, ';');
	while (t.n && (t.p[t.n - 1] == ' ' || t.p[t.n - 1] == '\t'))
		t.n--;
	while (t.n && (t.p[0] == ' ' || t.p[0] == '\t')) {
		t.p++;
		t.n--;
	}
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (t.n == strlen(known[i].name) &&
			(t.n == 0 || strncasecmp(t.p, known[i].name, t.n) == 0))
			return known[i].media;
	return MEDIA_UNSUPPORTED;
}
