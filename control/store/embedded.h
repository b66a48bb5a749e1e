/* SPDX-License-Identifier: Apache-2.0
 * The embedded back end's inside, for its tests and the decoder. */
#ifndef XEBEC_STORE_EMBEDDED_H
#define XEBEC_STORE_EMBEDDED_H

#include "store/engine.h"
#include "store/io.h"
#include "store/scan.h"

int store_open_embedded_io(const struct store_embedded_config *c, const struct store_io *io,
	struct store **ret, struct err *e);
/* Reads the directory into a new engine that is not started. */
struct recovery {
	struct engine *en;
	struct store_val **versions; /* of the key being loaded */
	size_t n_versions, cap_versions;
};
extern const struct scan_visitor recovery_visitor; /* arg = struct recovery */
void recovery_fini(struct recovery *r);

/* `xebec store`: prints every record (values cut to max_value bytes), or checks that the directory
 * can be recovered and prints what it holds. 0 or negative errno. */
int store_dump(const char *dir, size_t max_value, FILE *out, struct err *e);
int store_check(const char *dir, FILE *out, struct err *e);

#endif
