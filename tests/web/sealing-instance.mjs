// A user's instance that seals, simulated from the protocol's text: its key, a token, and the receiver's
// half of HPKE (RFC 9180).

import "./webcrypto.mjs";
import { KIND, Opener, Sealer } from "../../web/sdk/seal.js";

const ORIGIN = "https://hpc.example.org";
const utf8 = (text) => new TextEncoder().encode(text);
const encoded = (bytes) => Buffer.from(bytes).toString("base64url");
const hmac = async (key, ...parts) => {
  const how = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key.length === 0 ? new Uint8Array(32) : key, how, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign(how, imported, Buffer.concat(parts.map((part) => (typeof part === "string" ? utf8(part) : part)))));
};
const sha256 = async (text) => new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(text)));
const KEM = Buffer.from("KEM\0\x10", "latin1");
const SUITE = Buffer.from("HPKE\0\x10\0\x01\0\x02", "latin1");
const expand = (suite, key, label, info) => hmac(key, Buffer.from([0, 32]), "HPKE-v1", suite, label, info, Buffer.from([1]));
const extract = (suite, salt, label, secret) => hmac(salt, "HPKE-v1", suite, label, secret);

/** A user's instance: its key, a token, and the receiver's half of HPKE. */
export async function instance(call, { seals = true, aud = ORIGIN, more = {} } = {}) {
  const signing = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const own = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"]);
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", own.publicKey));
  const part = (value) => encoded(utf8(JSON.stringify(value)));
  const seal = { kem: "DHKEM(P-256, HKDF-SHA256)", pk: encoded(point) };
  const claims = { aud, call, username: "alice", ...(seals ? { seal } : {}), ...more };
  const input = `${part({ alg: "ES256", typ: "ucloud-session+jwt" })}.${part(claims)}`;
  const token = `${input}.${encoded(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, signing.privateKey, utf8(input)))}`;
  const accept = async (encText, intent) => {
    const enc = new Uint8Array(Buffer.from(encText, "base64url"));
    const theirs = await crypto.subtle.importKey("raw", enc, { name: "ECDH", namedCurve: "P-256" }, true, []);
    const dh = new Uint8Array(await crypto.subtle.deriveBits({ name: "ECDH", public: theirs }, own.privateKey, 256));
    const shared = await expand(KEM, await extract(KEM, new Uint8Array(0), "eae_prk", dh), "shared_secret", Buffer.concat([enc, point]));
    const hashes = [await extract(SUITE, new Uint8Array(0), "psk_id_hash", ""), await extract(SUITE, new Uint8Array(0), "info_hash", await sha256(token))];
    const exporter = await expand(SUITE, await extract(SUITE, shared, "secret", ""), "exp", Buffer.concat([Buffer.from([0]), ...hashes]));
    const key = async (label) => {
      const bytes = await expand(SUITE, exporter, "sec", Buffer.concat([utf8(label), await sha256(intent)]));
      return crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
    };
    const pieceKey = async (label, body, offset, total) => {
      const place = Buffer.alloc(16);
      place.writeBigInt64BE(BigInt(offset));
      place.writeBigInt64BE(BigInt(total), 8);
      const bytes = await expand(SUITE, exporter, "sec", Buffer.concat([utf8(label), body.subarray(0, 16), place]));
      return crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
    };
    // The instance's word that it has this piece.
    const taken = async (body, offset, total) => {
      const sealer = new Sealer(await pieceKey("countersign piece answer", body, offset, total));
      const records = await Promise.all([KIND.FIRST, KIND.END].map((kind) => sealer.seal(kind, utf8(""))));
      return encoded(Buffer.concat(records.flatMap((record) => [Buffer.from([0, 0, 0, record.length]), Buffer.from(record)])));
    };
    return { opener: new Opener(await key("countersign up")), sealer: new Sealer(await key("countersign down")), taken };
  };
  const signed = [];
  const signer = {
    origin: ORIGIN, provider: "hpc",
    instanceKey: async () => crypto.subtle.exportKey("jwk", signing.publicKey),
    sign: async (request) => {
      signed.push(request);
      return { jws: `proof${signed.length}` };
    },
  };
  return { token, accept, signer, signed, pinned: await crypto.subtle.exportKey("jwk", signing.publicKey) };
}
