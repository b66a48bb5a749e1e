/* SPDX-License-Identifier: Apache-2.0
 * Joins a client of exec, attach or port-forward with the container runtime's streaming server.
 * The runtime speaks SPDY/3.1 (and WebSocket v4): newer WebSocket protocols are translated, the
 * others are passed through byte by byte. KEP-4006. */
#ifndef XEBEC_KUBELET_EXEC_BRIDGE_H
#define XEBEC_KUBELET_EXEC_BRIDGE_H

#include "xebec/base/http.h"

struct exec_options {
	bool in, out, err, tty;
};

/* From the query: kubelet's names (input, output, error, tty) and the API's (stdin, stdout,
 * stderr).
 */
struct exec_options exec_bridge_options(struct http_exchange *x);

/* True when the request can be bridged. Otherwise it has been answered with 400: ask before
 * calling the runtime, whose URLs expire. */
bool exec_bridge_acceptable(struct http_exchange *x);

/* Both answer x, now or later: with an error, or by taking its connection over. Everything runs on
 * x->loop; x->user and x->on_close are theirs from now. url: the runtime's one-use URL,
 * "http://127.0.0.1:PORT/exec/TOKEN". o says what was asked of the runtime. */
void exec_bridge_exec(struct http_exchange *x, const struct exec_options *o, struct str url);
void exec_bridge_portforward(struct http_exchange *x, struct str url);

#endif
