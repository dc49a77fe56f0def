"""A whole request of Core for one user, for keys/examples/replay.rs: with Core's key, and the user's enrolled key.

    target/interop-venv/bin/python tests/interop/request.py > keys/tests/vectors/request.json

Both keys are made here and thrown away, so every run makes another file. PyPI's `cryptography` signs, and `rfc8785` writes the canonical form.
"""

import base64
import hashlib
import json
import os

import rfc8785
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = 1_800_000_000
USERNAME = "Ælice#1234"
PARAMETERS = {"oldId": "/1/thesis.tex", "newId": "/1/paper/thesis.tex", "conflictPolicy": "RENAME"}


def base64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def spki(key):
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def rs256(key, octets):
    return key.sign(octets, padding.PKCS1v15(), hashes.SHA256())


def es256(key, octets):
    r, s = decode_dss_signature(key.sign(octets, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def jws(sign, key, header, claims):
    signing_input = f"{base64url(json.dumps(header).encode())}.{base64url(json.dumps(claims).encode())}"
    return f"{signing_input}.{base64url(sign(key, signing_input.encode()))}"


def main():
    core = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    user = ec.generate_private_key(ec.SECP256R1())
    kid = base64url(os.urandom(16))
    token = jws(rs256, core, {"alg": "RS256", "typ": "JWT"}, {
        "iss": "cloud.sdu.dk", "sub": "_UCloud", "role": "SERVICE", "principalType": "service",
        "aud": ["all:write"], "iat": NOW, "exp": NOW + 600,
    })
    intent = jws(es256, user, {"alg": "ES256", "kid": kid, "typ": "ucloud-intent+jwt"}, {
        "aud": "https://hpc.example.org", "username": USERNAME, "project": None, "call": "files.move",
        "iat": NOW, "exp": NOW + 30, "jti": base64url(os.urandom(16)), "params": [base64url(hashlib.sha256(rfc8785.dumps(PARAMETERS)).digest())],
    })
    collection = {"id": "1", "owner": {"createdBy": USERNAME, "project": None}}
    print(json.dumps({
        "provider": "hpc",
        "origin": "https://hpc.example.org",
        "now": NOW,
        "core_key": spki(core),
        "keys": [{
            "owner": USERNAME, "kid": kid, "algorithm": "ES256", "spki": spki(user), "protocol": 2, "state": "active",
            "created": NOW - 1000, "expires": NOW + 100_000, "name": "Firefox on the laptop",
        }],
        "method": "POST",
        "path": "/ucloud/hpc/files/move",
        "headers": [
            ["Authorization", f"Bearer {token}"],
            ["UCloud-Username", base64.b64encode(USERNAME.encode()).decode()],
            ["UCloud-Signed-Intent", intent],
        ],
        "body": {"items": [PARAMETERS | {"resolvedOldCollection": collection, "resolvedNewCollection": collection}]},
    }, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
