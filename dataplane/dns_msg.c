/* SPDX-License-Identifier: Apache-2.0
 * The DNS wire format: names, questions, records. */
#include "dns_msg.h"

#include <errno.h>

enum { POINTER = 0xc0, LABEL_MAX = 63, OPT_LEN = 11, RR_FIXED = 10, DO_BIT = 0x8000 };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void set16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void set32(uint8_t *p, uint32_t v)
{
	set16(p, (uint16_t)(v >> 16));
	set16(p + 2, (uint16_t)v);
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* ------------------------------------------------------------------ names */

static int label_add(struct dns_name *n, const uint8_t *p, size_t len)
{
	if (len == 0 || len > LABEL_MAX || n->len + len + 2 > DNS_NAME_MAX)
		return -EINVAL;
	n->w[n->len++] = (uint8_t)len;
	for (size_t i = 0; i < len; i++)
		n->w[n->len++] = lower(p[i]);
	return 0;
}

int dns_name_of(struct str text, struct dns_name *ret)
{
	struct dns_name n = {0};
	if (text.n && text.p[text.n - 1] == '.')
		text.n--;
	while (text.n) {
		bool more = memchr(text.p, '.', text.n) != NULL;
		struct str label = str_cut(&text, '.');
		if (label_add(&n, (const uint8_t *)label.p, label.n) || (more && !text.n))
			return -EINVAL;
	}
	n.w[n.len++] = 0;
	*ret = n;
	return 0;
}

int dns_name_read(const uint8_t *msg, size_t n, size_t *pos, struct dns_name *ret)
{
	struct dns_name name = {0};
	size_t at = *pos, end = 0, limit = *pos;
	for (;;) {
		if (at >= n)
			return -EBADMSG;
		uint8_t len = msg[at];
		if (len == 0)
			break;
		if ((len & POINTER) == POINTER) {
			if (at + 2 > n)
				return -EBADMSG;
			end = end ? end : at + 2;
			at = (size_t)(get16(msg + at) & 0x3fff);
			/* always before everything read so far: no loop is possible */
			if (at >= limit)
				return -EBADMSG;
			limit = at;
			continue;
		}
		if (at + 1 + len > n || label_add(&name, msg + at + 1, len))
			return -EBADMSG;
		at += 1U + len;
	}
	name.w[name.len++] = 0;
	*pos = end ? end : at + 1;
	*ret = name;
	return 0;
}

size_t dns_name_labels(const struct dns_name *n, struct str *ret, size_t cap)
{
	size_t k = 0;
	for (const uint8_t *p = n->w; *p && k < cap; p += 1 + *p)
		ret[k++] = (struct str){.p = (const char *)p + 1, .n = *p};
	return k;
}

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
	return a->len == b->len && memcmp(a->w, b->w, a->len) == 0;
}

bool dns_name_under(const struct dns_name *n, const struct dns_name *zone)
{
	for (const uint8_t *p = n->w;; p += 1 + *p) {
		size_t left = (size_t)(n->w + n->len - p);
		if (left == zone->len)
			return memcmp(p, zone->w, left) == 0;
		if (!*p || left < zone->len)
			return false;
	}
}

int dns_name_join(struct str label, const struct dns_name *rest, struct dns_name *ret)
{
	struct dns_name n = {0};
	if (label_add(&n, (const uint8_t *)label.p, label.n) || n.len + rest->len > DNS_NAME_MAX)
		return -EINVAL;
	memcpy(n.w + n.len, rest->w, rest->len);
	n.len = (uint8_t)(n.len + rest->len);
	*ret = n;
	return 0;
}

/* ------------------------------------------------------------------ questions */

static int opt_take(struct dns_query *q, const uint8_t *rr, size_t left)
{
	if (left < OPT_LEN || (size_t)OPT_LEN + get16(rr + 9) > left || q->edns)
		return -EBADMSG;
	uint16_t size = get16(rr + 3);
	q->edns = true;
	q->udp_size = size < DNS_UDP_MIN ? DNS_UDP_MIN : size > DNS_UDP_MAX ? DNS_UDP_MAX : size;
	q->edns_version = rr[6];
	q->dnssec_ok = get16(rr + 7) & DO_BIT;
	return 0;
}

/* Questions may carry records (OPT, a transaction signature): OPT is read, the others skipped. */
static int query_extras(struct dns_query *q, const uint8_t *msg, size_t n, size_t pos)
{
	unsigned records = 0U + get16(msg + 6) + get16(msg + 8) + get16(msg + 10);
	struct dns_name owner;
	for (; records; records--) {
		size_t at = pos;
		if (dns_name_read(msg, n, &pos, &owner) || pos + RR_FIXED > n)
			return -EBADMSG;
		if (get16(msg + pos) == DNS_OPT &&
			(owner.len != 1 || pos != at + 1 || opt_take(q, msg + at, n - at)))
			return -EBADMSG;
		pos += RR_FIXED + (size_t)get16(msg + pos + 8);
		if (pos > n)
			return -EBADMSG;
	}
	return 0;
}

int dns_query_parse(const uint8_t *msg, size_t n, struct dns_query *ret)
{
	if (n < DNS_HEADER || get16(msg + 2) & DNS_QR)
		return -EPROTO;
	*ret = (struct dns_query){
		.id = get16(msg), .flags = get16(msg + 2), .udp_size = DNS_UDP_MIN};
	if (ret->flags >> 11 & 15)
		return -EOPNOTSUPP;
	size_t pos = DNS_HEADER;
	if (get16(msg + 4) != 1 || dns_name_read(msg, n, &pos, &ret->name) || pos + 4 > n ||
		pos != (size_t)DNS_HEADER + ret->name.len) /* no pointer may stand here */
		return -EBADMSG;
	ret->type = get16(msg + pos);
	ret->class = get16(msg + pos + 2);
	ret->question = msg + DNS_HEADER;
	ret->question_len = ret->name.len + 4U;
	int r = query_extras(ret, msg, n, pos + 4);
	return r ? r : ret->edns_version ? -EPROTONOSUPPORT : 0;
}

static size_t opt_write(uint8_t *p, uint16_t size, unsigned rcode, bool dnssec_ok)
{
	memset(p, 0, OPT_LEN);
	set16(p + 1, DNS_OPT);
	set16(p + 3, size);
	p[5] = (uint8_t)(rcode >> 4);
	set16(p + 7, dnssec_ok ? DO_BIT : 0);
	return OPT_LEN;
}

size_t dns_question(uint8_t *out, uint16_t id, const struct dns_name *name, uint16_t type,
	uint16_t flags, bool edns, bool dnssec_ok)
{
	size_t n = DNS_HEADER;
	memset(out, 0, DNS_HEADER);
	set16(out, id);
	set16(out + 2, flags);
	set16(out + 4, 1);
	memcpy(out + n, name->w, name->len);
	n += name->len;
	set16(out + n, type);
	set16(out + n + 2, DNS_CLASS_IN);
	n += 4;
	if (!edns)
		return n;
	set16(out + 10, 1);
	return n + opt_write(out + n, DNS_UDP_MAX, 0, dnssec_ok);
}

/* ------------------------------------------------------------------ writing */

static uint16_t suffix_hash(const uint8_t *p, size_t n)
{
	uint32_t h = 2166136261U;
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 16777619U;
	return (uint16_t)(h ^ h >> 16);
}

/* Does the name at off, pointers followed, spell this suffix? What we wrote ourselves is sound. */
static bool spells(const struct dns_writer *w, size_t off, const uint8_t *p)
{
	for (;;) {
		while ((w->p[off] & POINTER) == POINTER)
			off = (size_t)(get16(w->p + off) & 0x3fff);
		if (w->p[off] != *p)
			return false;
		if (!*p)
			return true;
		for (unsigned i = 1; i <= *p; i++)
			if (lower(w->p[off + i]) != p[i])
				return false;
		off += 1U + *p;
		p += 1 + *p;
	}
}

static size_t find_seen(
	const struct dns_writer *w, unsigned n_seen, const uint8_t *p, uint16_t hash)
{
	for (unsigned i = 0; i < n_seen; i++)
		if (w->seen[i].hash == hash && spells(w, w->seen[i].off, p))
			return w->seen[i].off;
	return 0;
}

static void remember(struct dns_writer *w, size_t off, uint16_t hash)
{
	if (w->n_seen < 128 && off < 0x4000) {
		w->seen[w->n_seen].off = (uint16_t)off;
		w->seen[w->n_seen++].hash = hash;
	}
}

static bool room(const struct dns_writer *w, size_t n)
{
	return w->len + n <= w->cap;
}

static bool name_write(struct dns_writer *w, const struct dns_name *n, bool compress)
{
	unsigned whole = w->n_seen; /* this name's own are not: what follows is not written yet */
	for (const uint8_t *p = n->w; *p; p += 1 + *p) {
		uint16_t hash = suffix_hash(p, (size_t)(n->w + n->len - p));
		size_t off = compress ? find_seen(w, whole, p, hash) : 0;
		if (!room(w, off ? 2 : 1U + *p))
			return false;
		if (off) {
			set16(w->p + w->len, (uint16_t)(POINTER << 8 | off));
			w->len += 2;
			return true;
		}
		remember(w, w->len, hash);
		memcpy(w->p + w->len, p, 1U + *p);
		w->len += 1U + *p;
	}
	if (!room(w, 1))
		return false;
	w->p[w->len++] = 0;
	return true;
}

void dns_reply_begin(struct dns_writer *w, uint8_t *buf, size_t cap, const struct dns_query *q)
{
	w->p = buf;
	w->cap = cap - (q->edns ? OPT_LEN : 0);
	w->len = DNS_HEADER;
	w->q = q;
	memset(w->counts, 0, sizeof w->counts);
	w->truncated = false;
	w->n_seen = 0;
	memset(buf, 0, DNS_HEADER);
	if (!q->question_len)
		return;
	memcpy(buf + w->len, q->question, q->question_len);
	for (const uint8_t *p = q->name.w; *p; p += 1 + *p)
		remember(w, DNS_HEADER + (size_t)(p - q->name.w),
			suffix_hash(p, (size_t)(q->name.w + q->name.len - p)));
	w->len += q->question_len;
}

/* A record under construction: undone when it does not fit. */
struct mark {
	size_t len, data;
	unsigned n_seen;
};

static bool rr_begin(struct dns_writer *w, const struct dns_name *owner, uint16_t type,
	uint32_t ttl, struct mark *m)
{
	*m = (struct mark){.len = w->len, .n_seen = w->n_seen};
	if (!name_write(w, owner, true) || !room(w, RR_FIXED))
		return false;
	set16(w->p + w->len, type);
	set16(w->p + w->len + 2, DNS_CLASS_IN);
	set32(w->p + w->len + 4, ttl);
	w->len += RR_FIXED;
	m->data = w->len;
	return true;
}

static bool bytes_write(struct dns_writer *w, const void *p, size_t n)
{
	if (!room(w, n))
		return false;
	memcpy(w->p + w->len, p, n);
	w->len += n;
	return true;
}

static bool rr_end(struct dns_writer *w, enum dns_section s, const struct mark *m, bool fits)
{
	if (fits) {
		set16(w->p + m->data - 2, (uint16_t)(w->len - m->data));
		w->counts[s]++;
		return true;
	}
	w->len = m->len;
	w->n_seen = m->n_seen;
	w->truncated |= s != DNS_ADDITIONAL;
	return false;
}

bool dns_put_data(struct dns_writer *w, enum dns_section s, const struct dns_name *owner,
	uint16_t type, uint32_t ttl, const void *data, size_t n)
{
	struct mark m;
	bool fits = rr_begin(w, owner, type, ttl, &m) && bytes_write(w, data, n);
	return rr_end(w, s, &m, fits);
}

bool dns_put_name(struct dns_writer *w, enum dns_section s, const struct dns_name *owner,
	uint16_t type, uint32_t ttl, const struct dns_name *target)
{
	struct mark m;
	bool fits = rr_begin(w, owner, type, ttl, &m) && name_write(w, target, true);
	return rr_end(w, s, &m, fits);
}

bool dns_put_srv(struct dns_writer *w, const struct dns_name *owner, uint32_t ttl, uint16_t weight,
	uint16_t port, const struct dns_name *target)
{
	struct mark m;
	uint8_t head[6] = {0};
	set16(head + 2, weight);
	set16(head + 4, port);
	/* RFC 2782: the target is not compressed */
	bool fits = rr_begin(w, owner, DNS_SRV, ttl, &m) && bytes_write(w, head, sizeof head) &&
		    name_write(w, target, false);
	return rr_end(w, DNS_ANSWER, &m, fits);
}

bool dns_put_soa(struct dns_writer *w, enum dns_section s, const struct dns_name *zone,
	uint32_t ttl, const struct dns_name *primary, const struct dns_name *mail,
	const uint32_t numbers[5])
{
	struct mark m;
	uint8_t tail[20];
	for (unsigned i = 0; i < 5; i++)
		set32(tail + 4 * i, numbers[i]);
	bool fits = rr_begin(w, zone, DNS_SOA, ttl, &m) && name_write(w, primary, true) &&
		    name_write(w, mail, true) && bytes_write(w, tail, sizeof tail);
	return rr_end(w, s, &m, fits);
}

size_t dns_reply_end(struct dns_writer *w, enum dns_rcode rcode, uint16_t flags)
{
	const struct dns_query *q = w->q;
	uint16_t keep = q->flags & (DNS_RD | DNS_CD | 0x7800);
	set16(w->p, q->id);
	set16(w->p + 2, (uint16_t)(DNS_QR | keep | flags | (w->truncated ? DNS_TC : 0) |
				   ((unsigned)rcode & 15)));
	set16(w->p + 4, q->question_len ? 1 : 0);
	if (q->edns) {
		w->len += opt_write(w->p + w->len, DNS_UDP_MAX, rcode, q->dnssec_ok);
		w->counts[DNS_ADDITIONAL]++;
	}
	for (unsigned i = 0; i < 3; i++)
		set16(w->p + 6 + 2 * i, w->counts[i]);
	return w->len;
}

/* ------------------------------------------------------------------ reading answers */

/* Past a name without decoding it. */
static int name_skip(const uint8_t *msg, size_t n, size_t *pos)
{
	for (size_t at = *pos; at < n; at += 1U + msg[at]) {
		if (msg[at] == 0 || (msg[at] & POINTER) == POINTER) {
			*pos = at + (msg[at] ? 2 : 1);
			return *pos <= n ? 0 : -EBADMSG;
		}
		if (msg[at] & POINTER)
			return -EBADMSG;
	}
	return -EBADMSG;
}

int dns_iter_begin(struct dns_iter *it, const uint8_t *msg, size_t n)
{
	if (n < DNS_HEADER || get16(msg + 4) > 1)
		return -EBADMSG;
	*it = (struct dns_iter){.msg = msg, .n = n, .pos = DNS_HEADER};
	if (get16(msg + 4)) {
		if (name_skip(msg, n, &it->pos) || it->pos + 4 > n)
			return -EBADMSG;
		it->pos += 4;
	}
	for (unsigned i = 0; i < 3; i++)
		it->left[i] = get16(msg + 6 + 2 * i);
	return 0;
}

int dns_iter_next(struct dns_iter *it, struct dns_rr *ret)
{
	while (it->section < 3 && it->left[it->section] == 0)
		it->section++;
	if (it->section == 3)
		return 0;
	struct dns_rr rr = {.section = it->section, .at = it->pos};
	size_t pos = it->pos;
	if (name_skip(it->msg, it->n, &pos) || pos + RR_FIXED > it->n)
		return -EBADMSG;
	const uint8_t *p = it->msg + pos;
	rr.type = get16(p);
	rr.class = get16(p + 2);
	rr.ttl_at = pos + 4;
	rr.ttl = get32(p + 4);
	rr.data_at = pos + RR_FIXED;
	rr.end = rr.data_at + get16(p + 8);
	if (rr.end > it->n)
		return -EBADMSG;
	it->left[it->section]--;
	it->pos = rr.end;
	*ret = rr;
	return 1;
}

static bool answers(const uint8_t *msg, size_t n, const struct dns_name *name, uint16_t type)
{
	size_t pos = DNS_HEADER;
	struct dns_name got;
	return get16(msg + 2) & DNS_QR && get16(msg + 4) == 1 &&
	       dns_name_read(msg, n, &pos, &got) == 0 && pos + 4 <= n && dns_name_eq(&got, name) &&
	       get16(msg + pos) == type && get16(msg + pos + 2) == DNS_CLASS_IN;
}

/* How long, by one record. */
static void ttl_take(struct dns_info *info, const uint8_t *msg, const struct dns_rr *rr)
{
	/* RFC 2181 8: with the top bit set it counts as zero */
	uint32_t ttl = rr->ttl & 0x80000000U ? 0 : rr->ttl;
	if (rr->section == DNS_ANSWER) {
		info->n_answers++;
		info->ttl = ttl < info->ttl ? ttl : info->ttl;
	} else if (rr->section == DNS_AUTHORITY && rr->type == DNS_SOA &&
		   rr->end - rr->data_at >= 22) {
		uint32_t minimum = get32(msg + rr->end - 4);
		ttl = minimum < ttl ? minimum : ttl;
		info->ttl = ttl < info->ttl ? ttl : info->ttl;
		info->cacheable = true;
	}
}

int dns_response_parse(
	uint8_t *msg, size_t *n, const struct dns_name *name, uint16_t type, struct dns_info *ret)
{
	struct dns_iter it;
	struct dns_rr rr;
	uint16_t additional = 0;
	int r;
	if (*n < DNS_HEADER || !answers(msg, *n, name, type) || dns_iter_begin(&it, msg, *n))
		return -EBADMSG;
	struct dns_info info = {.id = get16(msg),
		.flags = get16(msg + 2),
		.rcode = get16(msg + 2) & 15,
		.ttl = UINT32_MAX};
	while ((r = dns_iter_next(&it, &rr)) > 0) {
		if (rr.type == DNS_OPT && rr.section == DNS_ADDITIONAL) {
			info.rcode |= (unsigned)msg[rr.ttl_at] << 4;
			*n = rr.at;
			set16(msg + 10, additional);
			break;
		}
		if (rr.section == DNS_ADDITIONAL)
			additional++;
		ttl_take(&info, msg, &rr);
	}
	if (r < 0)
		return r;
	bool negative = info.rcode == DNS_NXDOMAIN || info.n_answers == 0;
	info.cacheable = (info.rcode == DNS_NOERROR || info.rcode == DNS_NXDOMAIN) &&
			 (!negative || info.cacheable) && !(info.flags & DNS_TC) &&
			 info.ttl != UINT32_MAX && info.ttl > 0;
	*ret = info;
	return 0;
}

size_t dns_response_copy(uint8_t *out, size_t cap, const uint8_t *msg, size_t n,
	const struct dns_query *q, uint32_t age, uint32_t floor)
{
	struct dns_iter it;
	struct dns_rr rr;
	uint16_t counts[3] = {0};
	unsigned flags = get16(msg + 2) & ~(unsigned)(DNS_RD | DNS_CD | DNS_AA);
	size_t end, room_for = cap - (q->edns ? OPT_LEN : 0);
	int r;
	if (dns_iter_begin(&it, msg, n) || it.pos > room_for ||
		it.pos != DNS_HEADER + q->question_len)
		return 0;
	memcpy(out, msg, DNS_HEADER);
	memcpy(out + DNS_HEADER, q->question, q->question_len);
	end = it.pos;
	while ((r = dns_iter_next(&it, &rr)) > 0) {
		if (rr.end > room_for) {
			flags |= rr.section == DNS_ADDITIONAL ? 0 : DNS_TC;
			break;
		}
		memcpy(out + rr.at, msg + rr.at, rr.end - rr.at);
		set32(out + rr.ttl_at, rr.ttl > age + floor ? rr.ttl - age : floor);
		counts[rr.section]++;
		end = rr.end;
	}
	if (r < 0)
		return 0;
	set16(out, q->id);
	set16(out + 2, (uint16_t)(flags | (q->flags & (DNS_RD | DNS_CD)) | DNS_RA | DNS_QR));
	if (q->edns) {
		end += opt_write(out + end, DNS_UDP_MAX, 0, q->dnssec_ok);
		counts[DNS_ADDITIONAL]++;
	}
	for (unsigned i = 0; i < 3; i++)
		set16(out + 6 + 2 * i, counts[i]);
	return end;
}

enum dns_rcode dns_response_append(struct dns_writer *w, const uint8_t *msg, size_t n)
{
	struct dns_iter it;
	struct dns_rr rr;
	struct dns_name owner, target;
	if (dns_iter_begin(&it, msg, n))
		return DNS_SERVFAIL;
	while (dns_iter_next(&it, &rr) > 0 && rr.section == DNS_ANSWER) {
		size_t pos = rr.at, data = rr.data_at, len = rr.end - rr.data_at;
		if (rr.class != DNS_CLASS_IN || dns_name_read(msg, n, &pos, &owner))
			continue;
		if (rr.type == DNS_CNAME && dns_name_read(msg, rr.end, &data, &target) == 0)
			(void)dns_put_name(w, DNS_ANSWER, &owner, rr.type, rr.ttl, &target);
		else if ((rr.type == DNS_A && len == 4) || (rr.type == DNS_AAAA && len == 16))
			(void)dns_put_data(w, DNS_ANSWER, &owner, rr.type, rr.ttl, msg + data, len);
	}
	unsigned rcode = msg[3] & 15;
	return rcode == DNS_NXDOMAIN  ? DNS_NXDOMAIN
	       : rcode == DNS_NOERROR ? DNS_NOERROR
				      : DNS_SERVFAIL;
}
