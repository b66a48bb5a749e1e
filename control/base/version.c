/* SPDX-License-Identifier: Apache-2.0
 * The only file compiled with the version. */
#include "xebec/base/version.h"

const char *xebec_version(void)
{
	return XEBEC_VERSION;
}
