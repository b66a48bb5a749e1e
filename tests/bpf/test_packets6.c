/* SPDX-License-Identifier: Apache-2.0
 * The same walks in IPv6 (packet.h says how the addresses are meant). */
#define FAMILY 6
#include "test_packets.c"
