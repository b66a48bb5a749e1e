/* SPDX-License-Identifier: Apache-2.0
 * RFC 3339 times as the API writes them. ns are nanoseconds since the Unix epoch. */
#ifndef XEBEC_BASE_TIMEFMT_H
#define XEBEC_BASE_TIMEFMT_H

#include "xebec/base/str.h"

#define NS_PER_SEC 1000000000LL
#define NS_PER_MS  1000000LL

int64_t time_now(void);					   /* CLOCK_REALTIME, ns */
int64_t time_mono(void);				   /* CLOCK_MONOTONIC, ns */
void time_rfc3339(int64_t ns, char out[static 21]);	   /* 2026-01-02T03:04:05Z (Time) */
void time_rfc3339_micro(int64_t ns, char out[static 28]);  /* ....678901Z (MicroTime) */
void time_rfc3339_nano(int64_t ns, char out[static 31]);   /* 9 digits, for CRI logs */
int time_parse(struct str s, int64_t *ret_ns);		   /* any RFC 3339; -EINVAL */
void time_duration_short(int64_t ns, char out[static 16]); /* kubectl ages: 5s 3m 2m30s 4h 6d */

#endif
