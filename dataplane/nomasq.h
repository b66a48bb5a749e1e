/* SPDX-License-Identifier: Apache-2.0
 * Networks outside the cluster that pods reach under their own addresses: rows of ipc4 and ipc6. */
#ifndef XEBEC_DATAPLANE_NOMASQ_H
#define XEBEC_DATAPLANE_NOMASQ_H

#include "maps.h"
#include "xebec/base/err.h"

/* Makes the list ("10.0.0.0/8,fd12::/16"; NULL = none) the one in force: what an earlier one had
 * and this one has not goes. A network inside of cluster_cidr is refused: pods' rows are there. */
int nomasq_set(struct maps *m, const char *list, const char *cluster_cidr, struct err *e);

#endif
