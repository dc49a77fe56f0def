"""Requests of HTTP/2 that would become two, or others, when a proxy writes them down as HTTP/1.1.

Reads one line of JSON (host, port, token, username, the body of a request and the whole of it as HTTP/1.1) and from then on, for each further line, makes the next attack on a connection of
its own and prints what became of it: {"name": …, "status": …} or {"name": …, "ended": …}; at the end, {}.
"""

import json
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import h2.exceptions

# An attack that gets no answer in this time is left behind: a proxy may wait for more of it.
SILENCE_S = 0.5

# Who is attacked is known.
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE
CONTEXT.set_alpn_protocols(["h2"])


def attacks(bait):
    authority = f"{bait['host']}:{bait['port']}"
    inner = bait["inner"]
    whole = len(inner.encode())

    def pseudo(method="POST", path="/ucloud/hpc/intents", scheme="https", host=authority):
        return [(":method", method), (":path", path), (":scheme", scheme), (":authority", host)]

    outers = {
        "a stranger's": [("content-type", "application/jwt")],
        "Core's": [("authorization", f"Bearer {bait['token']}"), ("ucloud-username", bait["username"])],
    }
    chunked = "0\r\n\r\n" + inner
    for whose, outer in outers.items():
        path = "/ucloud/hpc/intents" if whose == "a stranger's" else "/ucloud/hpc/files/folder"
        start = pseudo(path=path) + outer

        def attack(name, headers, body="", trailers=None, whose=whose):
            return f"HTTP/2: {name}, {whose}", headers, body, trailers

        yield attack("nothing wrong but the signature", start + [("content-length", str(len(bait["body"])))], bait["body"])
        for length in ["0", "2", str(whole + 5), f"+{whole}", f"{whole}, 0", "0x2", "-1", "", "18446744073709551617"]:
            yield attack(f"a length of {length!r}", start + [("content-length", length)], inner)
        yield attack("two lengths", start + [("content-length", "0"), ("content-length", str(whole))], inner)
        for coding in ["chunked", "Chunked", "identity", "xchunked", " chunked", "chunked\r\nx-a: a"]:
            yield attack(f"chunks: {coding!r}", start + [("transfer-encoding", coding)], chunked)
            yield attack(f"chunks and a length: {coding!r}", start + [("transfer-encoding", coding), ("content-length", str(len(chunked)))], chunked)
        for end in ["\r\n", "\n", "\r", "\0", "\r\n\r\n", "\n\n"]:
            yield attack(f"{end!r} in a value", start + [("x-a", f"a{end}transfer-encoding: chunked")], chunked)
            yield attack(f"{end!r} and a request in a value", start + [("x-a", f"a{end}{inner}")])
            yield attack(f"{end!r} in a name", start + [(f"x-a: a{end}transfer-encoding", "chunked")], chunked)
            yield attack(f"{end!r} in the path", pseudo(path=f"{path} HTTP/1.1{end}transfer-encoding: chunked{end}x-a: a") + outer, chunked)
            yield attack(f"{end!r} in the method", pseudo(method=f"POST {path} HTTP/1.1{end}transfer-encoding: chunked{end}x-a: a", path=path) + outer, chunked)
            yield attack(f"{end!r} in the authority", pseudo(path=path, host=f"{authority}{end}transfer-encoding: chunked") + outer, chunked)
            yield attack(f"{end!r} in the scheme", pseudo(path=path, scheme=f"https{end}x: a") + outer, inner)
        yield attack("a space in the path", pseudo(path=f"{path} HTTP/1.1") + outer, inner)
        yield attack("an absolute path", pseudo(path=f"http://elsewhere.example{path}") + outer, inner)
        yield attack("a path of nothing", pseudo(path="") + outer, inner)
        yield attack("a scheme that is an address", pseudo(path=path, scheme="http://elsewhere.example/?") + outer, inner)
        yield attack("two paths", pseudo(path=path) + [(":path", "/ucloud/hpc/files/folder")] + outer, inner)
        yield attack("two authorities", pseudo(path=path) + [(":authority", "elsewhere")] + outer, inner)
        yield attack("a host of its own", start + [("host", "elsewhere")], inner)
        yield attack("a pseudo-header behind the others", outer + pseudo(path=path), inner)
        yield attack("a colon in a name", start + [("transfer-encoding:", "chunked")], chunked)
        yield attack("a name in capitals", start + [("Transfer-Encoding", "chunked")], chunked)
        yield attack("an underscore", start + [("transfer_encoding", "chunked")], chunked)
        for value in ["close", "transfer-encoding", "content-length", "upgrade, http2-settings", "authorization"]:
            yield attack(f"connection: {value}", start + [("connection", value)], inner)
        yield attack("an upgrade to h2c", start + [("connection", "upgrade"), ("upgrade", "h2c")], inner)
        yield attack("an upgrade to websocket", start + [("upgrade", "websocket"), ("sec-websocket-version", "13")], inner)
        yield attack("extended CONNECT", [(":method", "CONNECT"), (":protocol", "websocket")] + pseudo(path=path)[1:] + outer, inner)
        yield attack("CONNECT", [(":method", "CONNECT"), (":authority", authority)] + outer, inner)
        yield attack("an expectation", start + [("expect", "100-continue"), ("content-length", "0")], inner)
        yield attack("GET with a body", pseudo(method="GET", path=path) + outer, inner)
        for trailer in [("content-length", "0"), ("transfer-encoding", "chunked"), ("ucloud-signed-intent", "a.b.c"), ("x-a", f"a\r\n\r\n{inner}"), (":path", "/")]:
            yield attack(f"a trailer {trailer[0]}", start, "{}", [trailer])


def connect(host, port):
    return CONTEXT.wrap_socket(socket.create_connection((host, port), timeout=10), server_hostname=host)


def perform(bait, headers, body, trailers):
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False, header_encoding="utf-8"
    )
    connection = h2.connection.H2Connection(config)
    with connect(bait["host"], bait["port"]) as stream:
        connection.initiate_connection()
        connection.send_headers(1, headers, end_stream=False)
        connection.send_data(1, body.encode(), end_stream=trailers is None)
        if trailers is not None:
            connection.send_headers(1, trailers, end_stream=True)
        stream.sendall(connection.data_to_send())
        stream.settimeout(SILENCE_S)
        while True:
            came = stream.recv(65536)
            if not came:
                return {"ended": "closed"}
            for event in connection.receive_data(came):
                if isinstance(event, h2.events.ResponseReceived):
                    return {"status": dict(event.headers)[":status"]}
                if isinstance(event, h2.events.StreamReset):
                    return {"ended": "reset"}
                if isinstance(event, h2.events.ConnectionTerminated):
                    return {"ended": "goaway"}


def main():
    lines = iter(sys.stdin)
    bait = json.loads(next(lines))
    bait["port"] = int(bait["port"])
    for _go, (name, headers, body, trailers) in zip(lines, attacks(bait)):
        try:
            outcome = perform(bait, headers, body, trailers)
        except (TimeoutError, ssl.SSLError, OSError) as why:
            outcome = {"ended": type(why).__name__}
        print(json.dumps({"name": name, **outcome}), flush=True)
    print("{}", flush=True)


main()
