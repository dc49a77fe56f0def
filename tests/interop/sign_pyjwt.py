"""Version 2 intents by PyPI's `PyJWT`."""

import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from item import digest, run

MAKE_KEY = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
}


def sign(job):
    keys = {}
    signed = []
    for intent in job["intents"]:
        alg = intent["alg"]
        if alg not in keys:
            keys[alg] = MAKE_KEY[alg]()
        key = keys[alg]
        claims = {**intent["claims"], "params": [digest(item) for item in intent["items"]]}
        headers = {"kid": intent["kid"], "typ": "ucloud-intent+jwt"}
        jwk = json.loads(jwt.get_algorithm_by_name(alg).to_jwk(key.public_key()))
        signed.append({"jwk": jwk, "jws": jwt.encode(claims, key, algorithm=alg, headers=headers)})
    return signed


run(sign)
