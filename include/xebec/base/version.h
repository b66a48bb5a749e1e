/* SPDX-License-Identifier: Apache-2.0
 * The build's version (git describe). */
#ifndef XEBEC_BASE_VERSION_H
#define XEBEC_BASE_VERSION_H

const char *xebec_version(void);

#endif
