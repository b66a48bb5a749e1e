/* SPDX-License-Identifier: Apache-2.0
 * JSON trees to block-style YAML, quoted as kubectl quotes. */
#include <errno.h>
#include <yaml.h>
#include "xebec/base/yaml.h"
#include "base/yaml_scalar.h"

static int to_buf(void *arg, unsigned char *p, size_t n)
{
	struct buf *out = arg;
	buf_add(out, p, n);
	return !out->err;
}

static bool emit(yaml_emitter_t *em, yaml_event_t *ev, int made)
{
	return made && yaml_emitter_emit(em, ev);
}

static bool emit_scalar(yaml_emitter_t *em, struct str s, yaml_scalar_style_t style)
{
	yaml_event_t ev;
	return s.n <= INT32_MAX &&
	       emit(em, &ev,
		       yaml_scalar_event_initialize(
			       &ev, NULL, NULL, (const yaml_char_t *)s.p, (int)s.n, 1, 1, style));
}

static bool emit_string(yaml_emitter_t *em, struct str s)
{
	yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
	if (memchr(s.p, '\n', s.n))
		style = YAML_LITERAL_SCALAR_STYLE;
	else if (!yaml_scalar_is_string(s))
		style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	return emit_scalar(em, s, style);
}

static bool emit_node(yaml_emitter_t *em, const json_t *j);

static bool emit_object(yaml_emitter_t *em, const json_t *j)
{
	yaml_event_t ev;
	json_t *o = (json_t *)(uintptr_t)j; /* jansson's iterators are not const */
	yaml_mapping_style_t style =
		json_object_size(j) ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
	bool ok = emit(em, &ev, yaml_mapping_start_event_initialize(&ev, NULL, NULL, 1, style));
	for (void *it = json_object_iter(o); ok && it; it = json_object_iter_next(o, it)) {
		struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
		ok = emit_string(em, key) && emit_node(em, json_object_iter_value(it));
	}
	return ok && emit(em, &ev, yaml_mapping_end_event_initialize(&ev));
}

static bool emit_array(yaml_emitter_t *em, const json_t *j)
{
	yaml_event_t ev;
	yaml_sequence_style_t style =
		json_array_size(j) ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE;
	bool ok = emit(em, &ev, yaml_sequence_start_event_initialize(&ev, NULL, NULL, 1, style));
	for (size_t i = 0; ok && i < json_array_size(j); i++)
		ok = emit_node(em, json_array_get(j, i));
	return ok && emit(em, &ev, yaml_sequence_end_event_initialize(&ev));
}

static bool emit_node(yaml_emitter_t *em, const json_t *j)
{
	AUTO_BUF struct buf text = {0};
	if (json_is_object(j))
		return emit_object(em, j);
	if (json_is_array(j))
		return emit_array(em, j);
	if (json_is_string(j))
		return emit_string(em, (struct str){json_string_value(j), json_string_length(j)});
	json_write(j, &text);
	return !text.err && emit_scalar(em, buf_str(&text), YAML_PLAIN_SCALAR_STYLE);
}

int yaml_write(const json_t *j, struct buf *out)
{
	yaml_emitter_t em;
	yaml_event_t ev;
	if (!yaml_emitter_initialize(&em))
		return -ENOMEM;
	yaml_emitter_set_output(&em, to_buf, out);
	yaml_emitter_set_unicode(&em, 1);
	yaml_emitter_set_width(&em, -1);
	bool ok = emit(&em, &ev, yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING)) &&
		  emit(&em, &ev, yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1)) &&
		  emit_node(&em, j) && emit(&em, &ev, yaml_document_end_event_initialize(&ev, 1)) &&
		  emit(&em, &ev, yaml_stream_end_event_initialize(&ev));
	yaml_emitter_delete(&em);
	return ok ? out->err : out->err ? out->err : -EINVAL;
}
