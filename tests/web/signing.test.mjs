// Signatures of the browser: their form, their validity, and what the signer refuses to sign.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import { test } from "node:test";
import { decode, encode } from "../../web/js/base64url.js";
import { BadParameters } from "../../web/js/digest.js";
import { enrolmentProof, isTicket, makeKeyPair, publicJwk, renewalProof, ticketHash } from "../../web/js/enrolment.js";
import { claims, signIntent } from "../../web/js/intent.js";
import { isSignedBy } from "../../web/js/jws.js";

const row = { call: "files.trash", items: "bulk", class: "danger", from: "core", bound: [{ name: "id", kind: "plain", changes: [] }] };
const whole = { ...row, call: "files.browse", items: "whole", bound: [{ name: "path", kind: "plain", changes: [] }] };
const statement = { origin: "https://hpc.example.org", username: "Ælice#1234", project: null, row, items: [{ id: "/1/x" }], now: 1_800_000_000.9 };
const ticket = encode(new Uint8Array(32).fill(7));

/** Header and claims of a JWS, after an independent implementation has verified its signature. */
const read = async (jws, publicKey) => {
  const [header, payload, signature] = jws.split(".");
  const key = createPublicKey({ key: await publicJwk(publicKey), format: "jwk" });
  const input = Buffer.from(`${header}.${payload}`);
  assert.ok(verify("sha256", input, { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url")));
  return [header, payload].map((part) => JSON.parse(Buffer.from(part, "base64url").toString("utf8")));
};

test("a key's private half cannot be read", async () => {
  const { privateKey, publicKey } = await makeKeyPair();
  assert.equal(privateKey.extractable, false);
  assert.deepEqual(privateKey.usages, ["sign"]);
  for (const format of ["jwk", "pkcs8", "raw"]) await assert.rejects(crypto.subtle.exportKey(format, privateKey));
  assert.deepEqual(Object.keys(await publicJwk(publicKey)), ["kty", "crv", "x", "y"]);
});

test("an intent is what the protocol says", async () => {
  const { privateKey, publicKey } = await makeKeyPair();
  const key = { kid: "AAAAAAAAAAAAAAAAAAAAAA", alg: "ES256", privateKey };
  const jws = await signIntent(key, statement);
  const [header, payload] = await read(jws, publicKey);
  assert.deepEqual(header, { alg: "ES256", kid: key.kid, typ: "ucloud-intent+jwt" });
  const { jti, ...rest } = payload;
  assert.equal(decode(jti).length, 16);
  assert.deepEqual(rest, {
    aud: "https://hpc.example.org", username: "Ælice#1234", project: null, call: "files.trash",
    iat: 1_800_000_000, exp: 1_800_000_030,
    params: [createHash("sha256").update('{"id":"/1/x"}').digest("base64url")],
  });
  assert.ok(await isSignedBy(publicKey, jws));
  assert.equal(await isSignedBy((await makeKeyPair()).publicKey, jws), false);
});

test("no two intents have the same id", async () => {
  const ids = await Promise.all(Array.from({ length: 50 }, async () => (await claims(statement)).jti));
  assert.equal(new Set(ids).size, 50);
});

test("items, project and shape are checked before anything is signed", async () => {
  const check = (change) => assert.rejects(claims({ ...statement, ...change }), BadParameters, JSON.stringify(change));
  await check({ items: [] });
  await check({ items: Array.from({ length: 1001 }, () => ({ id: "x" })) });
  await check({ row: whole, items: [{ path: "/1" }, { path: "/2" }] });
  await check({ items: [{ id: "x" }, { id: "y", extra: 1 }] });
  await check({ project: "" });
  await check({ project: 7 });
  await check({ project: "a\nb" });
  await check({ project: "ø".repeat(65) });
  assert.equal((await claims({ ...statement, project: "ø".repeat(64) })).project, "ø".repeat(64));
});

test("proofs say what they are for", async () => {
  const { privateKey, publicKey } = await makeKeyPair();
  const origin = "https://hpc.example.org";
  const enrolment = await enrolmentProof(privateKey, { origin, ticket, username: "alice", nonce: "n" });
  assert.deepEqual(await read(enrolment, publicKey), [
    { alg: "ES256", typ: "ucloud-enrol+jwt" },
    { aud: origin, ticket: createHash("sha256").update(Buffer.alloc(32, 7)).digest("base64url"), username: "alice", nonce: "n" },
  ]);
  const renewal = await renewalProof(privateKey, { origin, username: "alice", oldKid: "AAAAAAAAAAAAAAAAAAAAAA" });
  assert.deepEqual(await read(renewal, publicKey), [
    { alg: "ES256", typ: "ucloud-renew+jwt" },
    { aud: origin, username: "alice", kid: "AAAAAAAAAAAAAAAAAAAAAA" },
  ]);
});

test("a ticket is 32 bytes in one spelling", async () => {
  assert.ok(isTicket(ticket));
  for (const text of ["", "short", `${ticket}A`, `${ticket}=`, ticket.slice(0, -1), `${ticket.slice(0, -1)}9`, `+${ticket.slice(1)}`]) {
    assert.equal(isTicket(text), false, text);
  }
  assert.equal(await ticketHash(ticket), createHash("sha256").update(Buffer.alloc(32, 7)).digest("base64url"));
});

test("base64url is Node's, for every length", () => {
  for (let length = 0; length < 70; length += 1) {
    const bytes = crypto.getRandomValues(new Uint8Array(length));
    assert.equal(encode(bytes), Buffer.from(bytes).toString("base64url"));
    assert.deepEqual(decode(encode(bytes)), bytes);
  }
  for (const text of ["A", "AA==", "AB", "A A", "+/", "ø"]) assert.throws(() => decode(text), SyntaxError, text);
});
