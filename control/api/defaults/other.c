/* SPDX-License-Identifier: Apache-2.0
 * Default rules of the other groups: networking, RBAC, CRDs, devices. */
#include <ctype.h>
#include "api/defaults.h"

static void network_policy_spec(json_t *s)
{
	if (dflt_get(s, "policyTypes"))
		return;
	json_t *types = json_pack("[s]", "Ingress");
	if (dflt_get(s, "egress"))
		(void)json_array_append_new(types, json_string("Egress"));
	(void)json_object_set_new(s, "policyTypes", types);
}

static void subject(json_t *s)
{
	const char *kind = dflt_str(s, "kind");
	if (strcmp(kind, "User") == 0 || strcmp(kind, "Group") == 0)
		dflt_set(s, "apiGroup", json_string("rbac.authorization.k8s.io"));
}

static void crd_spec(json_t *s)
{
	json_t *names = json_object_get(s, "names");
	const char *kind = dflt_str(names, "kind");
	AUTO_BUF struct buf low = {0};
	if (!*kind)
		return;
	for (const char *p = kind; *p; p++)
		buf_addc(&low, (char)tolower((unsigned char)*p));
	if (!dflt_get(names, "singular"))
		(void)json_object_set_new(names, "singular", json_string(low.p));
	if (!dflt_get(names, "listKind"))
		(void)json_object_set_new(names, "listKind", json_sprintf("%sList", kind));
}

static void device_request(json_t *r)
{
	if (strcmp(dflt_str(r, "allocationMode"), "ExactCount") == 0 && !dflt_get(r, "count"))
		(void)json_object_set_new(r, "count", json_integer(1));
}

const struct default_rule other_defaults[] = {
	{"networking.v1.NetworkPolicySpec", network_policy_spec},
	{"rbac.v1.Subject", subject},
	{"apiextensions.v1.CustomResourceDefinitionSpec", crd_spec},
	{"resource.v1.ExactDeviceRequest", device_request},
	{"resource.v1.DeviceSubRequest", device_request},
	{0},
};
