// Proof that this browser has the private key it offers (protocol, section 6). These JWS types
// differ from an intent's, so that neither is accepted as the other.

import { decode } from "./base64url.js";
import { sha256 } from "./digest.js";
import { sign } from "./jws.js";

/** Whether the text is a ticket: 32 bytes in base64url. @param {string} text */
export function isTicket(text) {
  try {
    return decode(text).length === 32;
  } catch {
    return false;
  }
}

/**
 * The ticket's hash: it identifies the ticket and does not grant its use.
 * @param {string} ticket
 */
export async function ticketHash(ticket) {
  return sha256(decode(ticket));
}

/**
 * The public key as the provider expects it, without other members.
 * @param {CryptoKey} publicKey
 */
export async function publicJwk(publicKey) {
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", publicKey);
  // A point of Ed25519 has no second coordinate.
  return y === undefined ? { kty, crv, x } : { kty, crv, x, y };
}

/**
 * The proof for an offer.
 * @param {CryptoKey} privateKey
 * @param {{origin: string, ticket: string, username: string, nonce: string}} challenge
 */
export async function enrolmentProof(privateKey, { origin, ticket, username, nonce }) {
  const header = { typ: "ucloud-enrol+jwt" };
  return sign(privateKey, header, { aud: origin, ticket: await ticketHash(ticket), username, nonce });
}

/**
 * The proof for a renewal: the new key names the old one that it replaces.
 * @param {CryptoKey} privateKey of the new key
 * @param {{origin: string, username: string, oldKid: string}} renewal
 */
export async function renewalProof(privateKey, { origin, username, oldKid }) {
  return sign(privateKey, { typ: "ucloud-renew+jwt" }, { aud: origin, username, kid: oldKid });
}
