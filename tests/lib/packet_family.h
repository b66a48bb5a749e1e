/* SPDX-License-Identifier: Apache-2.0
 * What differs between test packets of the two families: FAMILY says which, IPv4 by default. */
#ifndef XEBEC_TEST_PACKET_FAMILY_H
#define XEBEC_TEST_PACKET_FAMILY_H

#ifndef FAMILY
#define FAMILY 4
#endif

#define ETH   14
#define F_FIN 1
#define F_SYN 2
#define F_RST 4
#define F_ACK 16

/* What differs between the families: headers, ICMP's numbers, the step of header options. */
#if FAMILY == 4
#define IPH	       20
#define ADDR_AT	       12 /* of the source in the header */
#define ADDR_N	       4
#define ETHERTYPE      0x0800
#define FIRST_BYTE     0x45
#define PROTO_AT       9
#define ICMP_PROTO     IPPROTO_ICMP
#define OPTION_STEP    4
#define ICMP_UNREACH   3, 3
#define ICMP_NARROW    3, 4
#define ICMP_HOPS      11, 0
#define ICMP_ECHO_TYPE 8
#define ICMP_ERRORS    3, 11, 12
#define HOPS_AT	       8
#else
#define IPH	       40
#define ADDR_AT	       8
#define ADDR_N	       16
#define ETHERTYPE      0x86dd
#define FIRST_BYTE     0x60
#define PROTO_AT       6
#define ICMP_PROTO     IPPROTO_ICMPV6
#define OPTION_STEP    8
#define ICMP_UNREACH   1, 4
#define ICMP_NARROW    2, 0
#define ICMP_HOPS      3, 0
#define ICMP_ECHO_TYPE 128
#define ICMP_ERRORS    1, 2, 3, 4
#define HOPS_AT	       7
#endif
#define DST_LOW	    (ETH + ADDR_AT + 2 * ADDR_N - 1) /* the last byte of the destination */
#define FRAG_HEADER 8				     /* IPv6 only */

#endif
