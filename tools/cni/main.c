/* SPDX-License-Identifier: Apache-2.0
 * main of the CNI plugin's own program. */
#include "cni_plugin.h"

int main(int argc, char **argv)
{
	(void)argc;
	return cni_plugin_main(argv[0]);
}
