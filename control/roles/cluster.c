/* SPDX-License-Identifier: Apache-2.0
 * `xebec up`, `down`, `status`. */
#include "cluster/cluster.h"
#include "roles/roles.h"

int role_up(int argc, char **argv)
{
	return cluster_up_main(argc, argv);
}

int role_down(int argc, char **argv)
{
	return cluster_down_main(argc, argv);
}

int role_status(int argc, char **argv)
{
	return cluster_status_main(argc, argv);
}
