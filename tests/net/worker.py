# SPDX-License-Identifier: Apache-2.0
"""Runs in one namespace. Servers say who they are and whom they see; clients report what they got.
One JSON command a line on stdin, one JSON answer a line on stdout."""
import errno, json, os, select, socket, struct, sys, threading, time

held = {}


def serve_tcp(name, s):
    while True:
        c, peer = s.accept()
        threading.Thread(target=tcp_client, args=(name, c, peer), daemon=True).start()


def tcp_client(name, c, peer):
    f = c.makefile("rb")
    with c:
        for line in f:  # "SIZE": who am I, then SIZE bytes; "upload SIZE": SIZE bytes, then how many came
            if line.startswith(b"upload "):
                c.sendall(b"%d\n" % len(f.read(int(line.split()[1]))))
                continue
            n = int(line)
            c.sendall(f"{name} {peer[0]}\n".encode() + b"x" * n)


def serve_udp(name, s):
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(f"{name} {peer[0]} {len(data)}".encode() + b"y" * max(0, len(data) - 64), peer)


def family_of(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


def op_serve(name, port, addr="0.0.0.0"):
    t = socket.socket(family_of(addr))
    t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    t.bind((addr, port))
    t.listen(512)
    u = socket.socket(family_of(addr), socket.SOCK_DGRAM)
    u.bind((addr, port))
    threading.Thread(target=serve_tcp, args=(name, t), daemon=True).start()
    threading.Thread(target=serve_udp, args=(name, u), daemon=True).start()
    return {}


def ask(c, size):
    c.sendall(b"%d\n" % size)
    f = c.makefile("rb")
    who = f.readline().decode().split()
    got = len(f.read(size)) if size else 0
    return who, got


def one(kind, addr, port, size, timeout):
    if kind == "tcp":
        with socket.create_connection((addr, port), timeout) as c:
            c.settimeout(timeout)
            who, got = ask(c, size)
            return who[0], who[1], got
    with socket.socket(family_of(addr), socket.SOCK_DGRAM) as u:
        u.settimeout(timeout)
        u.connect((addr, port))
        u.send(b"z" * max(size, 1))
        data = u.recv(65536)
        who = data.rstrip(b"y").decode().split()
        return who[0], who[1], int(who[2])


def op_ask(addr, port, kind="tcp", n=1, size=0, timeout=3):
    names, peers, errors, got = {}, {}, [], 0
    t = time.monotonic()
    for _ in range(n):
        try:
            name, peer, k = one(kind, addr, port, size, timeout)
            names[name] = names.get(name, 0) + 1
            peers[peer] = peers.get(peer, 0) + 1
            got += k
        except OSError as e:
            errors.append(type(e).__name__)
    return dict(names=names, peers=peers, errors=errors, got=got, took=time.monotonic() - t)


def op_probe(addr, port, kind="tcp", n=1, timeout=1.0):
    """What a client finds there: refused, silence, or who answers and as whom they see the client."""
    names, peers = set(), set()
    for _ in range(n):
        try:
            name, peer, _ = one(kind, addr, port, 0, timeout)
            names.add(name)
            peers.add(peer)
        except ConnectionRefusedError:
            return dict(found="refused" if not names else "refused at times")
        except TimeoutError:
            return dict(found="silence" if not names else "silence at times")
        except OSError as e:
            return dict(found=os.strerror(e.errno) if e.errno else str(e))
    return dict(found="answer", names=sorted(names), peers=sorted(peers))


def op_hold(key, addr, port):
    c = socket.create_connection((addr, port), 3)
    c.settimeout(5)
    held[key] = c
    return dict(name=ask(c, 0)[0][0])


def op_push(addr, port, size):
    """Sends that much and asks how much arrived."""
    with socket.create_connection((addr, port), 3) as c:
        c.settimeout(20)
        c.sendall(b"upload %d\n" % size)
        for _ in range(size >> 16):
            c.sendall(b"u" * 65536)
        return dict(got=int(c.makefile("rb").readline()))


def op_listen(port):
    """Keeps what comes; op_received tells."""
    s = socket.socket(type=socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    held[port] = s
    return {}


def op_received(port, n, timeout=2):
    """The first n datagrams and who sent them."""
    s, out = held[port], []
    s.settimeout(timeout)
    try:
        while len(out) < n:
            data, peer = s.recvfrom(65536)
            out.append([data.decode("latin1"), peer[0], peer[1]])
    except OSError:
        pass
    return dict(packets=out)


def op_sendto(addr, port, hex, sport=0):
    with socket.socket(type=socket.SOCK_DGRAM) as u:
        u.bind(("0.0.0.0", sport))
        u.sendto(bytes.fromhex(hex), (addr, port))
    return {}


def op_ping(addr, n=2, size=56, ident=4711, timeout=3):
    """Echo requests one after the other: how many answers came, from whom."""
    six, got = ":" in addr, []
    kind, proto = (socket.AF_INET6, 58) if six else (socket.AF_INET, 1)
    data = bytes(i & 255 for i in range(size))
    with socket.socket(kind, socket.SOCK_RAW, proto) as s:
        s.settimeout(timeout)
        for seq in range(n):
            head = struct.pack(">BBHHH", 128 if six else 8, 0, 0, ident, seq)
            if not six:  # the kernel fills in the other one's
                words = struct.unpack(f">{(len(head + data) + 1) // 2}H", head + data + b"\0" * (size & 1))
                total = sum(words)
                total = (total & 0xffff) + (total >> 16)
                head = struct.pack(">BBHHH", 8, 0, ~(total + (total >> 16)) & 0xffff, ident, seq)
            s.sendto(head + data, (addr, 0))
            want = struct.pack(">BBxxHH", 129 if six else 0, 0, ident, seq)
            end = time.monotonic() + timeout
            while time.monotonic() < end:
                try:
                    msg, peer = s.recvfrom(65536)
                except OSError:
                    break
                msg = msg if six else msg[20:]
                if msg[:2] + b"\0\0" + msg[4:8] == want and msg[8:] == data:
                    got.append(peer[0])
                    break
    return dict(got=got)


def op_again(key, size=0):
    try:
        who, got = ask(held[key], size)
        return dict(name=who[0], got=got)
    except (OSError, IndexError) as e:
        return dict(error=type(e).__name__)


def op_traffic(addr, port, seconds, stop="/nonexistent"):
    """Requests on one long connection and on a new one each, until the file appears or the time is over."""
    end, ok, errors = time.monotonic() + seconds, 0, []
    long = socket.create_connection((addr, port), 3)
    long.settimeout(5)
    while time.monotonic() < end and not os.path.exists(stop):
        step, t = "old connection", time.monotonic()
        try:
            ask(long, 2000)
            step = "new connection"
            one("tcp", addr, port, 10, 5)
            step = "datagram"
            one("udp", addr, port, 10, 2)
            ok += 3
        except OSError as e:
            errors.append(f"{step}: {type(e).__name__} {e} after {time.monotonic() - t:.1f} s, {end - t:.1f} s left")
            if len(errors) > 5:
                break
    return dict(ok=ok, errors=errors)


def op_dgrams(addr, port, n=1, keep=None, timeout=3):
    """sendto() on one unconnected socket: who answered, and from which address it came."""
    u = held.get(keep) or socket.socket(family_of(addr), socket.SOCK_DGRAM)
    u.settimeout(timeout)
    names, sources, errors = [], [], []
    for _ in range(n):
        try:
            u.sendto(b"z", (addr, port))
            data, peer = u.recvfrom(65536)
            names.append(data.rstrip(b"y").decode().split()[0])
            sources.append(list(peer[:2]))
        except OSError as e:
            errors.append(type(e).__name__)
    if keep:
        held[keep] = u
    else:
        u.close()
    return dict(names=names, sources=sources, errors=errors)


def op_peer(addr, port, kind="tcp", timeout=3):
    """connect(): whom the socket says that it speaks with, who answers, and from where."""
    s = socket.socket(family_of(addr), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    with s:
        s.settimeout(timeout)
        s.connect((addr, port))
        if kind == "tcp":
            return dict(peer=list(s.getpeername()[:2]), name=ask(s, 0)[0][0])
        s.send(b"z")
        data, source = s.recvfrom(65536)
        return dict(peer=list(s.getpeername()[:2]), name=data.rstrip(b"y").decode().split()[0],
                    source=list(source[:2]))


def op_udp_hold(key, addr, port):
    u = socket.socket(family_of(addr), socket.SOCK_DGRAM)
    u.settimeout(2)
    u.connect((addr, port))
    held[key] = u
    return op_udp_again(key)


def op_udp_again(key):
    try:
        held[key].send(b"z")
        return dict(name=held[key].recv(65536).rstrip(b"y").decode().split()[0])
    except OSError as e:
        return dict(error=errno.errorcode.get(e.errno, str(e)))


def op_bind(addr, port, kind="tcp"):
    s = socket.socket(family_of(addr), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    with s:
        try:
            s.bind((addr, port))
            return {}
        except OSError as e:
            return dict(error=errno.errorcode[e.errno])


# Options of sockets by family: errors queued, hops, path discovery (and the value for "never fragment"), path MTU.
IP = {socket.AF_INET: (socket.IPPROTO_IP, 11, socket.IP_TTL, 10, 14),
      socket.AF_INET6: (socket.IPPROTO_IPV6, 25, socket.IPV6_UNICAST_HOPS, 23, 24)}


def op_hop(addr, port, ttl, timeout=2):
    """A datagram with few hops: the ICMP error that comes back (type, code, who sent it) and whom it is about."""
    family = family_of(addr)
    level, recverr, hops, _, _ = IP[family]
    with socket.socket(family, socket.SOCK_DGRAM) as u:
        u.setblocking(False)
        u.setsockopt(level, recverr, 1)
        u.setsockopt(level, hops, ttl)
        u.sendto(b"z", (addr, port))
        ready = select.poll()
        ready.register(u, select.POLLIN)
        for _, what in ready.poll(timeout * 1000):
            if not what & select.POLLERR:
                return dict(answer=u.recv(64).decode().split()[0])
            _, extra, _, about = u.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            data = extra[0][2]  # struct sock_extended_err, then the offender's sockaddr
            by = data[20:24] if family == socket.AF_INET else data[24:40]
            return dict(type=data[5], code=data[6], by=socket.inet_ntop(family, by), about=list(about[:2]))
    return dict(error="silence")


def op_path_mtu(addr, port, size, timeout=3):
    """Sends datagrams that must not be fragmented until the path's MTU is learnt."""
    level, _, _, discover, mtu = IP[family_of(addr)]
    with socket.socket(family_of(addr), socket.SOCK_DGRAM) as u:
        u.setsockopt(level, discover, 2)
        u.connect((addr, port))
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                u.send(b"z" * size)
                time.sleep(0.02)
            except OSError as e:
                if e.errno == errno.EMSGSIZE:
                    break
        return dict(mtu=u.getsockopt(level, mtu))


def op_upload_spaces(addr, port, size, timeout=10):
    with socket.create_connection((addr, port), timeout) as c:
        c.settimeout(timeout)
        c.sendall(b" " * size)
        return dict(name=ask(c, 0)[0][0])


def op_options(addr, port, kind):
    """Every packet has eight bytes that mean nothing: IPv4 options, or an IPv6 extension header."""
    family = family_of(addr)
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        if family == socket.AF_INET:
            s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x01" * 8)
        else:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, bytes((0, 0, 1, 4, 0, 0, 0, 0)))
        s.connect((addr, port))
        if kind == "tcp":
            return dict(name=ask(s, 0)[0][0])
        s.send(b"z")
        return dict(name=s.recv(65536).rstrip(b"y").decode().split()[0])


def op_flood(addr, port, n, sources):
    """SYNs that nobody will answer (their checksum is wrong), each of another client."""
    family = family_of(addr)
    raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    dst = socket.inet_pton(family, addr)
    for i in range(n):
        src = socket.inet_pton(family, sources[i % len(sources)])
        ip = (struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) if family == socket.AF_INET else
              struct.pack("!IHBB", 6 << 28, 20, 6, 64)) + src + dst
        raw.sendto(ip + struct.pack("!HHIIBBHHH", 1024 + i // len(sources), port, i, 0, 0x50, 2, 1000, 1, 0), (addr, 0))
    return {}


for line in sys.stdin:
    cmd = json.loads(line)
    op = cmd.pop("op")
    try:
        answer = globals()["op_" + op](**cmd)
    except Exception as e:
        answer = dict(error=f"{type(e).__name__}: {e}")
    print(json.dumps(answer), flush=True)
