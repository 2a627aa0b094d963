#!/usr/bin/python3
"""
strangers.py HOST PORT SOCKET WHAT [SEED] - clients that do not speak the protocol, or stop speaking it

Each prints nothing when the server did what it should: an error message of the protocol or
a closed connection, always within a time.
"""
import os
import random
import selectors
import socket
import struct
import sys
import time

host, port, unix, what = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
SOON = 20


def connect(way="tcp"):
    if way == "tcp":
        s = socket.create_connection((host, port), SOON)
    else:
        s = socket.socket(socket.AF_UNIX)
        s.connect(unix)  # with a timeout it would fail when the queue is full
        s.settimeout(SOON)
    return s


def packet(code, body=b""):
    return struct.pack("!II", len(body) + 8, code) + body


def startup(**settings):
    return packet(3 << 16, b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in settings.items()) + b"\0")


def rest(s):
    """What comes until the other end closes; a reset is an end as well."""
    got = b""
    try:
        while data := s.recv(65536):
            got += data
    except ConnectionError:
        pass
    return got


def error_of(answer):
    assert answer[:1] == b"E", answer[:80]
    fields = {f[:1]: f[1:].decode() for f in answer[5:].split(b"\0") if f}
    return fields[b"C"], fields[b"M"]


def one(way, data, shut=True):
    s = connect(way)
    try:
        s.sendall(data)
        if shut:
            s.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it had seen enough
    answer = rest(s)
    s.close()
    return answer


# What is sent; the answer: an error's code and how it begins, bytes, or None for any.
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))
GARBAGE = {
    "nothing at all": (b"", b""),
    "one byte": (b"\x00", b""),
    "half a length": (b"\0\0", b""),
    "a length of zero": (struct.pack("!I", 0) + bytes(8), b""),
    "a length of four": (struct.pack("!I", 4) + bytes(8), b""),
    "a length of two gigabytes": (struct.pack("!I", 0x7FFFFFFF) + bytes(64), b""),
    "a negative length": (struct.pack("!I", 0xFFFFFFFF) + bytes(64), b""),
    "a length just too long": (struct.pack("!I", 10001 + 4) + struct.pack("!I", 3 << 16) + bytes(10000), b""),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
    "a line of SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", b""),
    "a TLS hello that asks for another protocol": (TLS_HELLO, b""),
    "version 2 of the protocol": (packet(2 << 16, bytes(288)), b"EFATAL:  unsupported frontend protocol 2.0"),
    "version 99 of the protocol": (packet(99 << 16, b"user\0app\0\0"), ("0A000", "unsupported frontend protocol 99.0")),
    "no user": (startup(database="app"), ("28000", "no PostgreSQL user name specified in startup packet")),
    "an empty user": (startup(user=""), ("28000", "no PostgreSQL user name specified in startup packet")),
    "no end of the list": (packet(3 << 16, b"user\0app\0"), ("08P01", "invalid startup packet layout")),
    "a name without its end": (packet(3 << 16, b"user"), ("08P01", "invalid startup packet layout")),
    "an unknown setting": (startup(user="nobody", database="no such", nonsense="1"), None),
    "a user of 9,000 letters": (startup(user="u" * 9000), None),
    "a cancel of a session that is not there": (packet(80877102, struct.pack("!II", 1, 1)), b""),
    "a cancel that is too short": (packet(80877102), b""),
    "TLS, then no hello": (packet(80877103), b"S"),
    "TLS, then plain text after it": (packet(80877103) + startup(user="app"), None),
    "GSS encryption": (packet(80877104), b"N"),
    "a password before it is asked for": (startup(user="app", database="app") + b"p\0\0\0\x0amilk\0\0", None),
}


def garbage():
    for name, (data, want) in GARBAGE.items():
        for way in "tcp", "unix":
            if way == "unix" and want == b"S":
                want = b"N"
            answer = one(way, data)
            if isinstance(want, tuple):
                code, message = error_of(answer)
                assert code == want[0] and message.startswith(want[1]), (name, way, answer)
            elif want is not None:
                assert answer == want if len(want) < 2 else answer.startswith(want), (name, way, answer)


def noise():
    """Random bytes, 50 connections at a time."""
    rng = random.Random(int(sys.argv[5]))
    for _ in range(20):
        each = []
        for _ in range(50):
            s = connect(rng.choice(["tcp", "unix"]))
            size = rng.choice([1, 3, 4, 7, 8, 9, 40, 1000, 20000])
            data = rng.randbytes(size)
            kind = rng.randrange(4)
            if kind == 0:  # a length that fits, any code
                data = struct.pack("!I", size + 4) + data
            elif kind == 1:  # the right version, nonsense inside
                data = packet(3 << 16, data)
            elif kind == 2:  # a good beginning, then nonsense where a password is expected
                data = startup(user="app", database="app") + data
            try:
                s.sendall(data)
                if rng.random() < 0.5:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            each.append(s)
        for s in each:
            if rng.random() < 0.3:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            s.close()


def silent():
    """Who says nothing, or only half of it, is dropped after authentication_timeout (2 s here)."""
    begun = time.monotonic()
    watch = selectors.DefaultSelector()
    ways = []
    for way in "tcp", "unix":
        for data in b"", b"\0\0\0", struct.pack("!II", 100, 3 << 16), packet(80877103), startup(user="app", database="app"):
            if way == "unix" and data[4:8] == struct.pack("!I", 3 << 16) and len(data) > 8:
                continue  # without a password it is let in
            for _ in range(3):
                s = connect(way)
                s.sendall(data)
                watch.register(s, selectors.EVENT_READ)
                ways.append(s)
    left = len(ways)
    while left:
        assert time.monotonic() - begun < SOON, f"{left} of {len(ways)} are still connected"
        for key, _ in watch.select(1):
            try:
                data = key.fileobj.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                watch.unregister(key.fileobj)
                left -= 1
    took = time.monotonic() - begun
    assert took > 1, f"dropped after {took} s"


globals()[what]()
