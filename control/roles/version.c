/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include "roles/roles.h"
#include "xebec/base/version.h"

int role_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("xebec %s (Kubernetes API v1.36)\n", xebec_version());
	return 0;
}
