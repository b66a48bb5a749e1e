/* SPDX-License-Identifier: Apache-2.0
 * `xebec cni` (also run as xebec-cni or loopback): the CNI plugin, https://www.cni.dev/docs/spec/
 * 0.4.0 and 1.0.0. */
#include "cni_plugin.h"
#include "roles/roles.h"

int role_cni(int argc, char **argv)
{
	(void)argc;
	return cni_plugin_main(argv[0]);
}
