// What shows that an offered key is in this browser's hands (protocol, section 6). The types of these JWS differ from an intent's, so
// that neither can ever pass for the other.

import { decode } from "./base64url.js";
import { sha256 } from "./digest.js";
import { ES256, sign } from "./jws.js";

/** A ticket: 32 bytes in base64url. @param {string} text */
export function isTicket(text) {
  try {
    return decode(text).length === 32;
  } catch {
    return false;
  }
}

/** What a ticket is known by: its hash names it and does not open it. @param {string} ticket */
export async function ticketHash(ticket) {
  return sha256(decode(ticket));
}

/**
 * Makes a key pair. The private half can sign and can never be read, by this page or any other.
 * @returns {Promise<CryptoKeyPair>}
 */
export async function makeKeyPair() {
  const pair = await crypto.subtle.generateKey(ES256.generate, false, ["sign", "verify"]);
  return /** @type {CryptoKeyPair} */ (pair);
}

/** The public half as the provider takes it: what it needs and nothing more. @param {CryptoKey} publicKey */
export async function publicJwk(publicKey) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", publicKey);
  return { kty, crv, x, y };
}

/**
 * The proof that comes with an offer.
 * @param {CryptoKey} privateKey
 * @param {{origin: string, ticket: string, username: string, nonce: string}} challenge
 */
export async function enrolmentProof(privateKey, { origin, ticket, username, nonce }) {
  const header = { alg: "ES256", typ: "ucloud-enrol+jwt" };
  return sign(privateKey, header, { aud: origin, ticket: await ticketHash(ticket), username, nonce });
}

/**
 * The proof that comes with a renewal: the new key says that it takes the old one's place.
 * @param {CryptoKey} privateKey of the new key
 * @param {{origin: string, username: string, oldKid: string}} renewal
 */
export async function renewalProof(privateKey, { origin, username, oldKid }) {
  return sign(privateKey, { alg: "ES256", typ: "ucloud-renew+jwt" }, { aud: origin, username, kid: oldKid });
}
