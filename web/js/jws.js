// Compact JWS (RFC 7515), signed with a WebCrypto key that is not extractable.

import { decode, encode } from "./base64url.js";

/**
 * A signing key. The provider assigns `kid` at enrolment.
 * @typedef {{kid: string, privateKey: CryptoKey}} SigningKey
 */

/** @typedef {"EdDSA" | "ES256"} Algorithm the names of JWS (RFC 7518, RFC 8037) */

/**
 * The algorithms in WebCrypto's terms. ECDSA signatures are r and s concatenated, as JWS requires.
 * @type {{[name in Algorithm]: {generate: any, sign: any}}}
 */
const WEBCRYPTO = {
  EdDSA: { generate: { name: "Ed25519" }, sign: { name: "Ed25519" } },
  ES256: { generate: { name: "ECDSA", namedCurve: "P-256" }, sign: { name: "ECDSA", hash: "SHA-256" } },
};

/**
 * Creates a key pair. The private key is not extractable: no page can read it.
 * @param {Algorithm} algorithm
 * @returns {Promise<CryptoKeyPair>}
 */
export async function makeKeyPair(algorithm) {
  const pair = await crypto.subtle.generateKey(WEBCRYPTO[algorithm].generate, false, ["sign", "verify"]);
  return /** @type {CryptoKeyPair} */ (pair);
}

/** @param {CryptoKey} key @returns {Algorithm} */
export function algorithmOf(key) {
  return key.algorithm.name === "Ed25519" ? "EdDSA" : "ES256";
}

/** @param {unknown} value */
function part(value) {
  return encode(new TextEncoder().encode(JSON.stringify(value)));
}

/**
 * @param {CryptoKey} privateKey
 * @param {object} header without `alg`, which is the key's
 * @param {object} claims
 */
export async function sign(privateKey, header, claims) {
  const alg = algorithmOf(privateKey);
  const input = `${part({ alg, ...header })}.${part(claims)}`;
  const signature = await crypto.subtle.sign(WEBCRYPTO[alg].sign, privateKey, new TextEncoder().encode(input));
  return `${input}.${encode(signature)}`;
}

/**
 * Whether the JWS is signed by this key: the self-test of a new one.
 * @param {CryptoKey} publicKey
 * @param {string} jws
 */
export async function isSignedBy(publicKey, jws) {
  const end = jws.lastIndexOf(".");
  const signature = decode(jws.slice(end + 1));
  return crypto.subtle.verify(WEBCRYPTO[algorithmOf(publicKey)].sign, publicKey, signature, new TextEncoder().encode(jws.slice(0, end)));
}
