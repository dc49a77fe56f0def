// Sealed sessions in the SDK: RFC 9180's vectors, records, and what is refused.
// tests/transfers.rs and tests/browser test them with the real instance.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { createECDH } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Frames, KIND, Opener, PLAINTEXT_MAX, Sealer, Unopened, agree, isSignedBy, setUp } from "../../web/sdk/seal.js";

const vector = JSON.parse(readFileSync(new URL("../../keys/tests/vectors/hpke.json", import.meta.url), "utf8"));
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const utf8 = (text) => new TextEncoder().encode(text);

async function pairOf(secret) {
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(Buffer.from(secret));
  const point = ecdh.getPublicKey();
  const part = (at) => point.subarray(at, at + 32).toString("base64url");
  const jwk = { kty: "EC", crv: "P-256", x: part(1), y: part(33) };
  const how = { name: "ECDH", namedCurve: "P-256" };
  return {
    publicKey: await crypto.subtle.importKey("jwk", jwk, how, true, []),
    privateKey: await crypto.subtle.importKey("jwk", { ...jwk, d: Buffer.from(secret).toString("base64url") }, how, true, ["deriveBits"]),
  };
}

test("RFC 9180's vectors of this suite pass", async () => {
  const context = await setUp(bytes(vector.pkRm), bytes(vector.info), await pairOf(bytes(vector.skEm)));
  assert.equal(context.enc, Buffer.from(vector.enc, "hex").toString("base64url"));
  assert.equal(vector.exports.length, 3);
  for (const { exporter_context: of, exported_value: want } of vector.exports) {
    assert.equal(Buffer.from(await context.export(bytes(of))).toString("hex"), want);
  }
});

const key = (number = 1) => crypto.subtle.importKey("raw", new Uint8Array(32).fill(number), "AES-GCM", false, ["encrypt", "decrypt"]);
async function said() {
  const sealer = new Sealer(await key());
  return Promise.all([[KIND.FIRST, ""], [KIND.MESSAGE, "one"], [KIND.MESSAGE, "two"], [KIND.END, "bye"]].map(([kind, text]) => sealer.seal(kind, utf8(text))));
}
async function heard(records) {
  const opener = new Opener(await key());
  const texts = [];
  for (const record of records) {
    const opened = await opener.open(record);
    if (opened !== null) texts.push(new TextDecoder().decode(opened.bytes));
  }
  return { texts, isWhole: opener.isWhole };
}

test("p3: records open once, in their order, and to their end", async () => {
  const [first, one, two, end] = await said();
  assert.deepEqual(await heard([first, one, two, end]), { texts: ["one", "two", "bye"], isWhole: true });
  assert.equal((await heard([first, one])).isWhole, false, "truncated");
  for (const wrong of [[one], [first, two], [first, one, one], [first, first], [first, two, one], [end], [first, one, two, end, end]]) {
    await assert.rejects(heard(wrong), Unopened);
  }
  for (let at = 0; at < one.length; at += 1) {
    const altered = one.slice();
    altered[at] ^= at === 0 ? 3 : 0x80;
    await assert.rejects(heard([first, altered]), Unopened);
  }
  const opener = new Opener(await key());
  await assert.rejects(opener.open(one), Unopened);
  await assert.rejects(opener.open(first), Unopened, "after a failure it opens nothing");
  const other = new Sealer(await key(2));
  await assert.rejects(heard([await other.seal(KIND.FIRST, utf8(""))]), Unopened);
});

test("messages are cut and joined, and records open in the order of their calls", async () => {
  const sealer = new Sealer(await key());
  const long = Uint8Array.from({ length: 2 * PLAINTEXT_MAX + 5 }, (_, at) => at);
  const records = [await sealer.seal(KIND.FIRST, utf8("")), ...(await sealer.message(long)), ...(await sealer.message(utf8("")))];
  assert.equal(records.length, 5);
  const opener = new Opener(await key());
  const opened = (await Promise.all(records.map((record) => opener.open(record)))).filter((message) => message !== null);
  assert.deepEqual(opened.map((message) => message.bytes.length), [long.length, 0]);
  assert.deepEqual(opened[0].bytes, long);
});

test("records are found in a stream in any cuts", async () => {
  const records = await said();
  const stream = Buffer.concat(records.flatMap((record) => [Buffer.from([0, 0, 0, record.length]), Buffer.from(record)]));
  for (const cut of [1, 2, 7, stream.length]) {
    const frames = new Frames();
    const found = [];
    for (let at = 0; at < stream.length; at += cut) found.push(...frames.take(Uint8Array.from(stream.subarray(at, at + cut))));
    assert.deepEqual(found.map((record) => Buffer.from(record)), records.map((record) => Buffer.from(record)));
    assert.ok(frames.isBetween);
  }
  assert.throws(() => new Frames().take(Uint8Array.of(255, 0, 0, 0)), Unopened);
});

test("p3: a piece that is sealed again shares no bytes with the first", async () => {
  const context = await setUp(bytes(vector.pkRm), bytes(vector.info));
  const [one, two] = [(await context.piece(0, 10, utf8("0123456789"))).body, (await context.piece(0, 10, utf8("0123456789"))).body];
  assert.equal(one.length, 16 + 3 * 21 + 10);
  assert.notDeepEqual(one, two);
});

test("a token is the instance's, or is refused; without a seal there is none", async () => {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const jwk = await crypto.subtle.exportKey("jwk", pair.publicKey);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const tokenOf = async (claims, header = { alg: "ES256", typ: "ucloud-session+jwt" }) => {
    const input = `${part(header)}.${part(claims)}`;
    const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, utf8(input));
    return `${input}.${Buffer.from(signature).toString("base64url")}`;
  };
  const seal = { kem: "DHKEM(P-256, HKDF-SHA256)", pk: Buffer.from(vector.pkRm, "hex").toString("base64url") };
  const token = await tokenOf({ seal });
  assert.ok(await isSignedBy(token, jwk));
  const stripped = `${token.split(".")[0]}.${part({})}.${token.split(".")[2]}`;
  assert.equal(await isSignedBy(stripped, jwk), false);
  assert.equal(await isSignedBy(await tokenOf({ seal }, { alg: "ES256", typ: "ucloud-intent+jwt" }), jwk), false);
  const other = await crypto.subtle.exportKey("jwk", (await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"])).publicKey);
  assert.equal(await isSignedBy(token, other), false);
  assert.equal((await agree(token)).enc.length, 87);
  assert.equal(await agree(await tokenOf({})), null);
  await assert.rejects(agree(await tokenOf({ seal: { ...seal, kem: "X25519" } })), Unopened);
  await assert.rejects(agree(await tokenOf({ seal: { ...seal, pk: seal.pk.slice(4) } })));
});
