// Signatures of the browser, verified by another implementation than WebCrypto.

import { createPublicKey, verify } from "node:crypto";

/** @param {string} jws @param {any} jwk */
export function isSigned(jws, jwk) {
  const [header, claims, signature] = jws.split(".");
  const key = { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" };
  const hash = jwk.kty === "OKP" ? null : "sha256";
  return verify(hash, Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, "base64url"));
}
