/* SPDX-License-Identifier: Apache-2.0
 * The agent's figures under kube-proxy's metric names, so that dashboards and alerts made for it go
 * on working. */
#ifndef XEBEC_DATAPLANE_KPMETRICS_H
#define XEBEC_DATAPLANE_KPMETRICS_H

#include "svcwatch.h"

void kpmetrics_add(const struct svcwatch_stats *s, const struct health_counts *h, struct buf *out);

#endif
