/* SPDX-License-Identifier: Apache-2.0
 * Host ports programmed into the real maps. */
#ifndef XEBEC_DATAPLANE_HOSTPORT_SINK_H
#define XEBEC_DATAPLANE_HOSTPORT_SINK_H

#include "hostport.h"
#include "programmer.h"

struct hostport_sink hostport_sink(struct programmer *p); /* p must outlive its users */

#endif
