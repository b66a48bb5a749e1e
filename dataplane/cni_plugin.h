/* SPDX-License-Identifier: Apache-2.0
 * The CNI plugin's process: reads CNI_* and standard input, asks the node agent over its Unix
 * socket, prints the answer. Called as "loopback" it brings the pod's lo up by itself. Returns the
 * exit status. */
#ifndef XEBEC_DATAPLANE_CNI_PLUGIN_H
#define XEBEC_DATAPLANE_CNI_PLUGIN_H

int cni_plugin_main(const char *argv0);

#endif
