/* SPDX-License-Identifier: Apache-2.0
 * IngressClass, IPAddress, ServiceCIDR. */
#include <arpa/inet.h>
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static const struct fpath spec_path = {.name = "spec"};

void validate_ingress_class(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const scopes[] = {"Cluster", "Namespace", NULL};
	static const struct vrow rows[] = {ROW("spec.controller", V_REQUIRED),
		ROW("spec.controller", V_FORMAT, .format = fmt_domain_path),
		ROW("spec.parameters.apiGroup", V_FORMAT, .format = fmt_dns1123_subdomain),
		ROW("spec.parameters.kind", V_REQUIRED, .text = "kind is required"),
		ROW("spec.parameters.kind", V_FORMAT, .format = fmt_path_segment),
		ROW("spec.parameters.name", V_REQUIRED, .text = "name is required"),
		ROW("spec.parameters.name", V_FORMAT, .format = fmt_path_segment),
		ROW("spec.parameters.scope", V_ENUM, .enums = scopes),
		ROW("spec.controller", V_FIXED), {0}};
	const json_t *spec = jget(obj, "spec"), *p = jget(spec, "parameters");
	const struct fpath *np = P_NAME(P_NAME(&spec_path, "parameters"), "namespace");
	(void)sub;
	v_rows(c, rows, obj, old);
	if (strlen(jstr(spec, "controller")) > 250)
		v_too_long(c, P_NAME(&spec_path, "controller"), 250);
	if (strcmp(jstr(p, "scope"), "Cluster") == 0 && jget(p, "namespace"))
		v_forbidden(c, np, "`parameters.scope` is set to 'Cluster'");
	else if (strcmp(jstr(p, "scope"), "Namespace") == 0 && !jhas(p, "namespace"))
		v_required(c, np, "`parameters.scope` is set to 'Namespace'");
	else if (jhas(p, "namespace"))
		(void)v_format(c, np, jstr(p, "namespace"), fmt_dns1123_label);
}

void validate_ip_address(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("spec.parentRef.resource", V_REQUIRED),
		ROW("spec.parentRef.resource", V_FORMAT, .format = fmt_path_segment),
		ROW("spec.parentRef.name", V_REQUIRED),
		ROW("spec.parentRef.name", V_FORMAT, .format = fmt_path_segment),
		ROW("spec.parentRef.namespace", V_FORMAT, .format = fmt_path_segment),
		ROW("spec.parentRef.group", V_FORMAT, .format = fmt_dns1123_subdomain),
		ROW("spec.parentRef", V_FIXED), {0}};
	const char *name = jstr(jget(obj, "metadata"), "name");
	unsigned char b[16];
	char text[INET6_ADDRSTRLEN] = "";
	bool v6;
	(void)sub;
	if (!fmt_ip_parse(str_of(name), b, &v6) ||
		!inet_ntop(v6 ? AF_INET6 : AF_INET, b, text, sizeof(text)) ||
		strcmp(text, name) != 0)
		v_invalid_str(c, P_NAME(P_NAME(NULL, "metadata"), "name"), name,
			"must be a valid IP address in canonical form");
	if (!jget(jget(obj, "spec"), "parentRef"))
		v_required(c, P_NAME(&spec_path, "parentRef"), "");
	v_rows(c, rows, obj, old);
}

void validate_service_cidr(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("spec.cidrs[]", V_FORMAT, .format = fmt_cidr), {0}};
	const json_t *list = jget(jget(obj, "spec"), "cidrs");
	const json_t *was = jget(jget(old, "spec"), "cidrs");
	const struct fpath *p = P_NAME(&spec_path, "cidrs");
	bool v6[2] = {false, true};
	if (*sub)
		return;
	if (json_array_size(list) == 0)
		v_required(c, p, "at least one CIDR required");
	for (size_t i = 0; i < 2 && i < json_array_size(list); i++)
		v6[i] = strchr(json_string_value(json_array_get(list, i)), ':');
	if (json_array_size(list) > 2)
		v_invalid(c, p, list, "may only hold up to 2 values");
	else if (json_array_size(list) == 2 && v6[0] == v6[1])
		v_invalid(c, p, list,
			"may specify no more than one IP for each IP family, i.e 192.168.0.0/24 "
			"and 2001:db8::/96");
	v_rows(c, rows, obj, old);
	for (size_t i = 0; old && i < json_array_size(was); i++)
		if (!jequal(json_array_get(was, i), json_array_get(list, i)))
			v_invalid(c, P_INDEX(p, i), json_array_get(list, i), "field is immutable");
}

void v_endpoint_address(struct causes *c, const struct fpath *p, const char *s)
{
	unsigned char b[16];
	bool v6, local6;
	static const unsigned char zero[16];
	if (!v_format(c, p, s, fmt_ip) || !fmt_ip_parse(str_of(s), b, &v6))
		return;
	local6 = v6 && memcmp(b, zero, 15) == 0 && b[15] == 1;
	if (memcmp(b, zero, v6 ? 16 : 4) == 0)
		v_invalid_str(c, p, s, "may not be unspecified (%s)", s);
	else if (local6 || (!v6 && b[0] == 127))
		v_invalid_str(c, p, s, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
	else if (v6 ? b[0] == 0xfe && (b[1] & 0xc0) == 0x80 : b[0] == 169 && b[1] == 254)
		v_invalid_str(
			c, p, s, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
	else if (v6 ? b[0] == 0xff && (b[1] & 0xf) == 2 : b[0] == 224 && !b[1] && !b[2])
		v_invalid_str(c, p, s,
			"may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}
