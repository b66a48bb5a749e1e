/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a question, and as another server's answer to one. */
#include "dns_msg.h"
#include "xebec/base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_answer(const uint8_t *data, size_t size, struct dns_query *q)
{
	uint8_t out[DNS_UDP_MAX + 11];
	struct dns_info info;
	struct dns_writer w;
	uint8_t *copy = malloc(size + 1);
	if (!copy)
		return;
	memcpy(copy, data, size);
	copy[2] |= DNS_QR >> 8;
	if (dns_response_parse(copy, &size, &q->name, q->type, &info) == 0) {
		(void)dns_response_copy(out, DNS_UDP_MAX, copy, size, q, 5, 1);
		(void)dns_response_copy(out, DNS_UDP_MIN, copy, size, q, 0, 0);
		dns_reply_begin(&w, out, DNS_UDP_MAX, q);
		(void)dns_response_append(&w, copy, size);
		(void)dns_reply_end(&w, DNS_NOERROR, 0);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_query q;
	int r = dns_query_parse(data, size, &q);
	if (r == 0)
		as_answer(data, size, &q);
	return 0;
}
