/* SPDX-License-Identifier: Apache-2.0
 * What the programs cost an IPv6 packet. */
#define FAMILY 6
#include "bench_bpf.c"
