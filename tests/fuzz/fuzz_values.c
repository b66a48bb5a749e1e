/* SPDX-License-Identifier: Apache-2.0
 * The small parsers: quantities, times, JSONPath, URL escapes, and every string format. */
#include <stdlib.h>
#include "api/jsonpath.h"
#include "api/rules.h"
#include "api/rules/vtable.h"
#include "xebec/base/http.h"
#include "xebec/base/timefmt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static format_fn *const formats[] = {fmt_dns1123_label, fmt_dns1123_subdomain, fmt_dns1035_label,
	fmt_qualified_name, fmt_label_value, fmt_config_key, fmt_env_name, fmt_port_name,
	fmt_path_segment, fmt_ip, fmt_cidr, fmt_percent, fmt_wildcard_subdomain, fmt_c_identifier,
	fmt_http_header, fmt_label_key_prefixed, fmt_driver_name, fmt_domain_path,
	fmt_three_segments};

/* What is canonical stays so, and is worth the same. */
static void quantity(struct str s)
{
	AUTO_BUF struct buf one = {0}, two = {0};
	int64_t a = 0, b = 0;
	if (quantity_canonical(s, &one) < 0)
		return;
	if (quantity_canonical(buf_str(&one), &two) < 0 || !str_eq(buf_str(&one), buf_str(&two)))
		abort();
	if (quantity_parse(s, &a, NULL) == 0 && quantity_parse(buf_str(&one), &b, NULL) == 0 &&
		a != b)
		abort();
}

static void path(const char *text)
{
	static const struct str doc =
		STR("{\"a\":{\"b\":[{\"c\":1,\"t\":\"x\"},{\"c\":2}]},\"d\":\"e\"}");
	AUTO_ARENA struct arena a = {0};
	AUTO_BUF struct buf plain = {0};
	const struct jsonpath *p = NULL;
	if (jsonpath_new(&a, text, &p, NULL) < 0)
		return;
	(void)jsonpath_first(p, jv_of(doc));
	(void)jsonpath_plain(p, &plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *msg[MSG_MAX];
	AUTO_FREE char *text = NULL;
	AUTO_BUF struct buf url = {0};
	int64_t ns;
	if (size > 1024)
		return 0;
	struct str s = {(const char *)data, size};
	text = str_dup(s);
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (formats[i](s, msg) > MSG_MAX)
			abort();
	quantity(s);
	(void)time_parse(s, &ns);
	(void)url_decode(s, true, &url);
	path(text);
	return 0;
}
