/* SPDX-License-Identifier: Apache-2.0
 * The bytes that the store keeps on disk: records inside frames. docs/store.md describes them.
 * Pure: bytes in, structs out. Everything is little-endian and 8-byte aligned. */
#ifndef XEBEC_STORE_RECORD_H
#define XEBEC_STORE_RECORD_H

#include "xebec/base/buf.h"

#define STORE_FORMAT 1u

enum record_type {
	REC_PUT = 1,  /* a new version of a key */
	REC_DEL,      /* a tombstone */
	REC_COMPACT,  /* history below rev is gone */
	REC_LEASE,    /* lease granted */
	REC_UNLEASE,  /* lease revoked or expired */
	REC_CLOSE,    /* orderly shutdown: everything before was on disk */
	REC_SNAP_END, /* last record of a snapshot: version = number of records before it */
	REC_TYPES
};
struct record {
	uint8_t type;
	uint64_t rev; /* PUT, DEL: mod_rev; COMPACT: the revision */
	uint64_t create_rev, version;
	uint64_t lease; /* PUT: 0 = none; LEASE, UNLEASE: the id */
	int64_t ttl;	/* LEASE: seconds */
	struct str key, value;
};
const char *record_type_name(uint8_t type);
void record_add(struct buf *out, const struct record *r);
/* Cuts the first record off *in (key and value are borrowed from it). 1 = one record, 0 = the end,
 * -EBADMSG = not a record. */
int record_next(struct str *in, struct record *ret);

/* A frame is what one group commit writes: all of it counts or none. Its checksums are seeded with
 * the file's salt, so bytes left by an earlier use of a recycled file never look valid. */
#define FRAME_MAGIC    0x31574658u /* "XFW1" */
#define FRAME_MAX      (256u << 20)
#define FRAME_HEAD_LEN 24u
struct frame {
	uint64_t seq;
	struct str payload; /* borrowed */
	size_t size;	    /* head + payload + padding */
};
size_t frame_size(size_t payload_len);
/* Appends a whole frame. */
void frame_add(struct buf *out, uint64_t salt, uint64_t seq, struct str payload);
/* Fills the head of a frame whose payload (padded with zeros) already follows it in memory. */
void frame_seal(char *head, uint64_t salt, uint64_t seq, size_t payload_len);
/* The frame at in. 1 = valid; 0 = no bytes left; -EBADMSG = nothing valid here. */
int frame_parse(struct str in, uint64_t salt, struct frame *ret);
/* First offset >= from where a valid frame starts; in.n when there is none. */
size_t frame_find(struct str in, size_t from, uint64_t salt, struct frame *ret);

/* Headers of the two kinds of file; FILE_HEAD_LEN bytes, the rest of them zero. */
#define FILE_HEAD_LEN 4096u
enum file_kind { FILE_WAL, FILE_SNAPSHOT };
struct file_head {
	enum file_kind kind;
	uint64_t salt;
	/* WAL */
	uint64_t seq;	   /* number of the segment; they are consecutive */
	uint64_t frame;	   /* sequence number of its first frame */
	uint64_t prev_end; /* where the valid data of the segment before ends; 0 = no segment before
			    */
	/* snapshot: the state after frame `frame`, at revision rev */
	uint64_t rev, compact_rev, last_lease;
};
void file_head_write(char out[static FILE_HEAD_LEN], const struct file_head *h);
/* 0; -EBADMSG with *ret_why = what is wrong. */
int file_head_parse(
	struct str file, enum file_kind kind, struct file_head *ret, const char **ret_why);

#endif
