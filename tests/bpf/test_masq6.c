/* SPDX-License-Identifier: Apache-2.0
 * Masquerade in IPv6 (packet.h says how the addresses are meant). */
#define FAMILY 6
#include "test_masq.c"
