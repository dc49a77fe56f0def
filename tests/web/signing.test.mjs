// Signatures of the browser: their form, their validity, and what the signer refuses to sign.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { decode, encode } from "../../web/js/base64url.js";
import { BadParameters } from "../../web/js/digest.js";
import { enrolmentProof, isTicket, publicJwk, renewalProof, ticketHash } from "../../web/js/enrolment.js";
import { claims, signIntent } from "../../web/js/intent.js";
import { isSignedBy, makeKeyPair } from "../../web/js/jws.js";
import { BrokenKey, makeTestedKeyPair, testKeyPair } from "../../web/js/key-pair.js";
import { isSigned } from "./verified.mjs";

const row = { call: "files.trash", items: "bulk", class: "danger", from: "core", bound: [{ name: "id", kind: "plain", changes: [] }] };
const whole = { ...row, call: "files.browse", items: "whole", bound: [{ name: "path", kind: "plain", changes: [] }] };
const statement = { origin: "https://hpc.example.org", username: "Ælice#1234", project: null, row, items: [{ id: "/1/x" }], now: 1_800_000_000.9 };
const ticket = encode(new Uint8Array(32).fill(7));

const ALGORITHMS = ["EdDSA", "ES256"];

/** Header and claims of a JWS, after an independent implementation has verified its signature. */
const read = async (jws, publicKey) => {
  assert.ok(isSigned(jws, await publicJwk(publicKey)));
  return jws.split(".").slice(0, 2).map((part) => JSON.parse(Buffer.from(part, "base64url").toString("utf8")));
};

test("a key's private half cannot be read", async () => {
  const members = { EdDSA: ["kty", "crv", "x"], ES256: ["kty", "crv", "x", "y"] };
  for (const alg of ALGORITHMS) {
    const { privateKey, publicKey } = await makeKeyPair(alg);
    assert.equal(privateKey.extractable, false);
    assert.deepEqual(privateKey.usages, ["sign"]);
    for (const format of ["jwk", "pkcs8", "raw"]) await assert.rejects(crypto.subtle.exportKey(format, privateKey));
    assert.deepEqual(Object.keys(await publicJwk(publicKey)), members[alg]);
  }
});

test("an intent is what the protocol says", async () => {
  for (const alg of ALGORITHMS) {
    const { privateKey, publicKey } = await makeKeyPair(alg);
    const key = { kid: "AAAAAAAAAAAAAAAAAAAAAA", privateKey };
    const jws = await signIntent(key, statement);
    const [header, payload] = await read(jws, publicKey);
    assert.deepEqual(header, { alg, kid: key.kid, typ: "ucloud-intent+jwt" });
    const { jti, ...rest } = payload;
    assert.equal(decode(jti).length, 16);
    assert.deepEqual(rest, {
      aud: "https://hpc.example.org", username: "Ælice#1234", project: null, call: "files.trash",
      iat: 1_800_000_000, exp: 1_800_000_030,
      params: [createHash("sha256").update('{"id":"/1/x"}').digest("base64url")],
    });
    assert.ok(await isSignedBy(publicKey, jws));
    assert.equal(await isSignedBy((await makeKeyPair(alg)).publicKey, jws), false);
  }
});

test("j01 an intent carries the digest of a script, which is part of what is signed", async () => {
  const script = createHash("sha256").update("#!/bin/sh\n").digest("base64url");
  const bound = [{ name: "specification", kind: "tree", changes: [] }, { name: "script", kind: "plain", changes: [], isOptional: true }];
  const job = { ...row, call: "jobs.create", bound };
  const of = (...items) => claims({ ...statement, row: job, items });
  const signed = await of({ specification: { name: "n" }, script });
  assert.equal(signed.script, script);
  const text = `{"script":"${script}","specification":{"name":"n"}}`;
  assert.deepEqual(signed.params, [createHash("sha256").update(text).digest("base64url")]);
  const without = await of({ specification: { name: "n" } }, { specification: { name: "m" }, script: null });
  assert.ok(!("script" in without));
  assert.equal(without.params[0], createHash("sha256").update('{"specification":{"name":"n"}}').digest("base64url"));
  for (const bad of ["", "x", `${script}=`, 7, true]) await assert.rejects(of({ specification: {}, script: bad }), BadParameters);
  await assert.rejects(of({ script }, { script: script.replace(/./, "_") }), BadParameters);
});

/** Runs `work` in a browser whose `crypto.subtle` has these methods instead. */
async function inBrowser(methods, work) {
  const originals = Object.fromEntries(Object.keys(methods).map((name) => [name, crypto.subtle[name]]));
  try {
    for (const [name, method] of Object.entries(methods)) {
      Object.defineProperty(crypto.subtle, name, { configurable: true, value: (...rest) => method(originals[name].bind(crypto.subtle), ...rest) });
    }
    return await work();
  } finally {
    for (const name of Object.keys(methods)) delete crypto.subtle[name];
  }
}

const made = async () => (await makeTestedKeyPair()).privateKey.algorithm.name;

test("a new key is Ed25519, or ECDSA where the browser lacks Ed25519 or its keys do not work", async () => {
  assert.equal(await made(), "Ed25519");
  const isEd = (algorithm) => algorithm.name === "Ed25519";
  const unknown = { generateKey: (original, algorithm, ...rest) => isEd(algorithm) ? Promise.reject(new DOMException("unknown", "NotSupportedError")) : original(algorithm, ...rest) };
  assert.equal(await inBrowser(unknown, made), "ECDSA");
  const broken = { sign: (original, algorithm, ...rest) => isEd(algorithm) ? Promise.resolve(new ArrayBuffer(64)) : original(algorithm, ...rest) };
  assert.equal(await inBrowser(broken, made), "ECDSA");
  const useless = { sign: async () => new ArrayBuffer(64) };
  await inBrowser(useless, () => assert.rejects(makeTestedKeyPair(), BrokenKey));
});

test("a key that the browser's storage cannot copy is not used", async () => {
  const { privateKey, publicKey } = await makeKeyPair("EdDSA");
  await testKeyPair({ privateKey, publicKey });
  const uncloneable = new Proxy(privateKey, {});
  await assert.rejects(testKeyPair({ privateKey: uncloneable, publicKey }), (error) => error.name === "DataCloneError");
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
  const origin = "https://hpc.example.org";
  for (const alg of ALGORITHMS) {
    const { privateKey, publicKey } = await makeKeyPair(alg);
    const enrolment = await enrolmentProof(privateKey, { origin, ticket, username: "alice", nonce: "n" });
    assert.deepEqual(await read(enrolment, publicKey), [
      { alg, typ: "ucloud-enrol+jwt" },
      { aud: origin, ticket: createHash("sha256").update(Buffer.alloc(32, 7)).digest("base64url"), username: "alice", nonce: "n" },
    ]);
    const renewal = await renewalProof(privateKey, { origin, username: "alice", oldKid: "AAAAAAAAAAAAAAAAAAAAAA" });
    assert.deepEqual(await read(renewal, publicKey), [
      { alg, typ: "ucloud-renew+jwt" },
      { aud: origin, username: "alice", kid: "AAAAAAAAAAAAAAAAAAAAAA" },
    ]);
  }
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
