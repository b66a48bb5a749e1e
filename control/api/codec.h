/* SPDX-License-Identifier: Apache-2.0
 * Shared by the codecs: the place of a value, dropping of empty members, scalar forms, the JSON
 * lexer. Internal to control/api. */
#ifndef XEBEC_API_CODEC_H
#define XEBEC_API_CODEC_H

#include "api/api.h"
#include "xebec/base/buf.h"

#define CODEC_DEPTH 128 /* nesting that any decoder accepts */

/* Does Go's encoder leave this value out? (omitempty on a plain value: zero equals absent.) */
bool field_drops(const struct field *f, const json_t *v);
/* "v1.PodSpec" for "core.v1.PodSpec". */
const char *type_go_name(const struct type *t);

/* JSON string value of any bytes: invalid UTF-8 becomes U+FFFD. NULL for a NUL among them. */
json_t *json_text(struct str s);
/* A Time or MicroTime in canonical form from any RFC 3339 text; -EINVAL. */
int time_canonical(struct str s, bool micro, json_t **ret);

/* --- JSON lexer over bytes: positions move only on success --- */
struct lex {
	const char *start, *p, *end;
	const char *what; /* static: why the last call failed */
	unsigned depth;
};
void lex_space(struct lex *l);
int lex_peek(struct lex *l); /* next byte after blanks, -1 at the end */
bool lex_eat(struct lex *l, char c);
int lex_string(struct lex *l, struct buf *out); /* decoded, appended */
/* The text of a number; *integral when it has neither fraction nor exponent. */
int lex_number(struct lex *l, struct str *ret, bool *integral);
int lex_word(struct lex *l, const char *word);
int lex_any(struct lex *l, json_t **ret); /* a whole value; integers stay integers */
json_t *number_value(struct str text, bool integral);

int pb_decode_envelope(const struct type *t, struct str body, json_t **ret, struct err *e);

#endif
