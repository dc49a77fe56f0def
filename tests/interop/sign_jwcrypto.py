"""Version 2 intents by PyPI's `jwcrypto`."""

import json

from item import digest, run
from jwcrypto import jwk, jws

KEY = {
    "ES256": {"kty": "EC", "crv": "P-256"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
    "PS256": {"kty": "RSA", "size": 3072},
    "RS256": {"kty": "RSA", "size": 2048},
}


def sign(job):
    keys = {}
    signed = []
    for intent in job["intents"]:
        alg = intent["alg"]
        if alg not in keys:
            keys[alg] = jwk.JWK.generate(**KEY[alg])
        claims = {**intent["claims"], "params": [digest(item) for item in intent["items"]]}
        token = jws.JWS(json.dumps(claims, ensure_ascii=False).encode())
        token.allowed_algs = [alg]
        header = {"alg": alg, "kid": intent["kid"], "typ": "ucloud-intent+jwt"}
        token.add_signature(keys[alg], alg=alg, protected=json.dumps(header))
        signed.append({"jwk": keys[alg].export_public(as_dict=True), "jws": token.serialize(compact=True)})
    return signed


run(sign)
