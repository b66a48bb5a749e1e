/* SPDX-License-Identifier: Apache-2.0
 * Fuzzes label and field selectors, quantities and the string formats. */
#include <stdlib.h>
#include "api/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void quantity(struct str s)
{
	AUTO_BUF struct buf a = {0}, b = {0};
	int64_t x = 0, y = 0;
	int r = quantity_canonical(s, &a), rx = quantity_parse(s, &x, NULL);
	if ((r < 0) != (rx < 0 && rx != -34))
		abort();
	if (r < 0)
		return;
	(void)quantity_parse(buf_str(&a), &y, NULL);
	if (quantity_canonical(buf_str(&a), &b) < 0 || !str_eq(buf_str(&a), buf_str(&b)) || x != y)
		abort(); /* the canonical form must be a fixed point of the same value */
}

static void formats(struct str s)
{
	format_fn *const all[] = {fmt_dns1123_label, fmt_dns1123_subdomain, fmt_dns1035_label,
		fmt_qualified_name, fmt_label_value, fmt_config_key, fmt_env_name, fmt_port_name,
		fmt_path_segment, fmt_ip, fmt_cidr, fmt_percent, fmt_wildcard_subdomain};
	const char *msg[MSG_MAX];
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i](s, msg) > MSG_MAX)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char obj[] = "{\"metadata\":{\"name\":\"a\",\"labels\":{\"a\":\"b\"}}}";
	struct str s = {(const char *)data, size};
	struct label_selector *l = NULL;
	struct field_selector *f = NULL;
	if (size > 2048)
		return 0;
	if (label_selector_parse(s, &l, NULL) == 0) {
		(void)label_selector_match(l, jv_path(jv_of(STR(obj)), "metadata.labels"));
		label_selector_free(l);
	}
	if (field_selector_parse(kind_by_kind(STR(""), STR("v1"), STR("Pod")), s, &f, NULL) == 0) {
		(void)field_selector_match(f, jv_of(STR(obj)));
		field_selector_free(f);
	}
	quantity(s);
	formats(s);
	return 0;
}
