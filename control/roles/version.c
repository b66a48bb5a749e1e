/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include "roles/roles.h"

int role_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("xebec %s (Kubernetes API v1.36)\n", XEBEC_VERSION);
	return 0;
}
