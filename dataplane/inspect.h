/* SPDX-License-Identifier: Apache-2.0
 * What the maps say, for people and programs: each listing is an array of flat objects, printed as
 * a table or as JSON. Reads pinned maps only; never writes. */
#ifndef XEBEC_DATAPLANE_INSPECT_H
#define XEBEC_DATAPLANE_INSPECT_H

#include <stdio.h>
#include "programmer.h"
#include "xebec/base/json.h"

#define PIN_ROOT "/sys/fs/bpf/xebec"

/* what: a name of inspect_names(). Appends rows of one node to the array. -ENOENT unknown name. */
int inspect_list(const char *what, const char *node, struct maps *m, json_t *rows, struct err *e);
const char *const *inspect_names(void); /* NULL-terminated */
/* Columns are the members of the first row. Nothing for no rows but the note. */
void inspect_table(const json_t *rows, FILE *out);

/* Prometheus text. p may be NULL. */
void inspect_metrics(struct maps *m, const struct programmer *p, struct buf *out);
const char *drop_reason_name(uint32_t reason); /* "NO_ROUTE"; NULL when unknown */
const char *drop_reason_text(uint32_t reason);

/* Calls fn for each sampled drop that waits; timeout_ms < 0 waits for ever. Returns how many. */
int inspect_drops(
	struct maps *m, int timeout_ms, void (*fn)(void *arg, const struct xb_ev *ev), void *arg);

#endif
