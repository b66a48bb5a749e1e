/* SPDX-License-Identifier: Apache-2.0
 * Random IPv6 packets through every program. */
#define FAMILY 6
#include "test_fuzz.c"
