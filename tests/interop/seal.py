"""A sealed piece of an upload and the answer to it, by PyPI's `pyhpke` and `cryptography`, written from the protocol alone (protocol, section 10)."""

import base64
import hashlib
import json
import secrets
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from item import run
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

FIRST, MESSAGE, END = 0, 2, 3
SUITE = CipherSuite.new(KEMId.DHKEM_P256_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def framed(key, number, kind, text):
    record = bytes([kind]) + key.encrypt(struct.pack(">4xQ", number), text, bytes([kind]))
    return struct.pack(">I", len(record)) + record


def seal(job):
    token, offset, total, content = job["token"], job["offset"], job["total"], job["content"].encode()
    point = decoded(json.loads(decoded(token.split(".")[1]))["seal"]["pk"])
    jwk = {"kty": "EC", "crv": "P-256"}
    jwk |= {name: base64.urlsafe_b64encode(half).rstrip(b"=").decode() for name, half in (("x", point[1:33]), ("y", point[33:]))}
    enc, sender = SUITE.create_sender_context(KEMKey.from_jwk(jwk), info=hashlib.sha256(token.encode()).digest())
    salt = secrets.token_bytes(16)
    key = AESGCM(sender.export(b"countersign piece" + salt + struct.pack(">qq", offset, total), 32))
    body = salt
    for number, (kind, text) in enumerate([(FIRST, b""), (MESSAGE, content), (END, b"")]):
        body += framed(key, number, kind, text)
    key = AESGCM(sender.export(b"countersign piece answer" + salt + struct.pack(">qq", offset, total), 32))
    answer = b"".join(framed(key, number, kind, b"") for number, kind in enumerate([FIRST, END]))
    return [{"enc": base64.urlsafe_b64encode(enc).rstrip(b"=").decode(), "body": body.hex(), "answer": answer.hex()}]


run(seal)
