/* SPDX-License-Identifier: Apache-2.0
 * Cell tables of the kinds whose rules stand in another file. */
#ifndef XEBEC_API_RULES_CELLS_H
#define XEBEC_API_RULES_CELLS_H

#include "api/rules.h"

extern const struct cell_rule node_cells[], service_cells[], endpoints_cells[], slice_cells[],
	event_cells[], config_map_cells[], secret_cells[], claim_cells[], volume_cells[],
	quota_cells[], pod_template_cells[];
extern const struct cell_rule workload_cells[], replica_set_cells[], daemon_set_cells[],
	job_cells[], cron_job_cells[], autoscaler_cells[], budget_cells[];
/* Adds "a,b" pieces: a comma before every one but the first. */
void join(struct buf *b, const char *sep, struct str piece);

#endif
