// Compact JWS (RFC 7515), signed with a WebCrypto key that is not extractable.

import { decode, encode } from "./base64url.js";

/**
 * A signing key. The provider assigns `kid` at enrolment.
 * @typedef {{kid: string, alg: "ES256", privateKey: CryptoKey}} SigningKey
 */

/** ES256 in WebCrypto's terms. Its signatures are r and s concatenated, as JWS requires. */
export const ES256 = { generate: { name: "ECDSA", namedCurve: "P-256" }, sign: { name: "ECDSA", hash: "SHA-256" } };

/** @param {unknown} value */
function part(value) {
  return encode(new TextEncoder().encode(JSON.stringify(value)));
}

/**
 * @param {CryptoKey} privateKey
 * @param {object} header
 * @param {object} claims
 */
export async function sign(privateKey, header, claims) {
  const input = `${part(header)}.${part(claims)}`;
  const signature = await crypto.subtle.sign(ES256.sign, privateKey, new TextEncoder().encode(input));
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
  return crypto.subtle.verify(ES256.sign, publicKey, signature, new TextEncoder().encode(jws.slice(0, end)));
}
