#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small DNS client: dnsq.py [--tcp] [--size N] SERVER[:PORT] NAME [TYPE]. Prints "RCODE FLAGS", then a line a record:
section, owner, type, data. Ends with 1 when there is no answer."""
import random, socket, struct, sys

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33, "ANY": 255}
NAMES = {v: k for k, v in TYPES.items()}
RCODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]


def pack_name(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.rstrip(".").split(".") if p) + b"\0"


def name_at(msg, pos):
    labels, end = [], None
    while msg[pos]:
        if msg[pos] >= 0xC0:
            end = end or pos + 2
            pos = struct.unpack_from(">H", msg, pos)[0] & 0x3FFF
            continue
        labels.append(msg[pos + 1:pos + 1 + msg[pos]].decode())
        pos += 1 + msg[pos]
    return ".".join(labels) + ".", end or pos + 1


def data_text(msg, rtype, pos, n):
    if rtype == 1:
        return socket.inet_ntop(socket.AF_INET, msg[pos:pos + 4])
    if rtype == 28:
        return socket.inet_ntop(socket.AF_INET6, msg[pos:pos + 16])
    if rtype in (2, 5, 12):
        return name_at(msg, pos)[0]
    if rtype == 33:
        return "%d %d %d " % struct.unpack_from(">HHH", msg, pos) + name_at(msg, pos + 6)[0]
    if rtype == 16:
        return msg[pos + 1:pos + n].decode()
    return msg[pos:pos + n].hex()


def records(msg):
    counts = struct.unpack_from(">HHHH", msg, 4)
    pos = 12
    for _ in range(counts[0]):
        pos = name_at(msg, pos)[1] + 4
    for section, count in zip(("answer", "authority", "additional"), counts[1:]):
        for _ in range(count):
            owner, pos = name_at(msg, pos)
            rtype, _, ttl, n = struct.unpack_from(">HHIH", msg, pos)
            pos += 10
            if rtype != 41:
                yield section, owner, NAMES.get(rtype, str(rtype)), ttl, data_text(msg, rtype, pos, n)
            pos += n


def ask(server, name, rtype="A", tcp=False, size=0, timeout=6):
    host, _, port = server.partition(":")
    qid = random.getrandbits(16)
    q = struct.pack(">HHHHHH", qid, 0x0100, 1, 0, 0, 1 if size else 0) + pack_name(name) + struct.pack(">HH", TYPES[rtype], 1)
    if size:
        q += b"\0" + struct.pack(">HHIH", 41, size, 0, 0)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.settimeout(timeout)
    s.connect((host, int(port or 53)))
    if not tcp:
        s.send(q)
        return s.recv(65535)
    s.sendall(struct.pack(">H", len(q)) + q)
    f = s.makefile("rb")
    return f.read(struct.unpack(">H", f.read(2))[0])


def main():
    args, tcp, size = sys.argv[1:], False, 0
    while args[0].startswith("--"):
        if args.pop(0) == "--tcp":
            tcp = True
        else:
            size = int(args.pop(0))
    try:
        msg = ask(args[0], args[1], *args[2:3], tcp=tcp, size=size)
    except OSError as e:
        print("no answer:", e)
        sys.exit(1)
    flags = struct.unpack_from(">H", msg, 2)[0]
    print(RCODES[flags & 15], " ".join(n for b, n in ((0x400, "aa"), (0x200, "tc"), (0x80, "ra")) if flags & b))
    for section, owner, rtype, ttl, data in records(msg):
        print(section, owner, rtype, data)


if __name__ == "__main__":
    main()
