// Direct calls of the browser: the request that is sent is the one that is signed, and a renewed
// key is stored before the old one is removed.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Clock } from "../../web/js/clock.js";
import { digest } from "../../web/js/digest.js";
import { publicJwk } from "../../web/js/enrolment.js";
import { makeKeyPair } from "../../web/js/jws.js";
import { DirectChannel } from "../../web/js/direct.js";
import { Refused, Unreachable } from "../../web/js/provider.js";
import { SessionStorage } from "../../web/js/storage.js";
import { readTable } from "../../web/js/table.js";
import { isSigned } from "./verified.mjs";

const page = { provider: "hpc", origin: "https://hpc.example.org", coreOrigin: "https://cloud.example.org", base: "/ucloud/hpc" };
const vectors = JSON.parse(await readFile(new URL("../../keys/tests/vectors/digests.json", import.meta.url), "utf8"));
const TABLE = readTable(vectors.rows.map((row) => ({ ...row, from: /^(pass)?keys\./.test(row.call) ? "user" : "core" })));
const pair = await makeKeyPair("EdDSA");
const key = {
  kid: "AAAAAAAAAAAAAAAAAAAAAA", provider: "hpc", username: "alice", privateKey: pair.privateKey, state: "active", name: "Firefox on Linux",
  created: 1_000, expires: 2_000_000_000, lastUsed: null, lifetimeMax: 60, sessionOnly: false,
};

const parts = (jws) => jws.split(".").slice(0, 2).map((part) => JSON.parse(Buffer.from(part, "base64url").toString("utf8")));

function bench(answers = {}) {
  const sent = [];
  const provider = {
    table: async () => TABLE,
    deposit: async () => ({}),
    post: async (path, body, intent) => {
      sent.push({ path, body: structuredClone(body), intent });
      return answers[path]?.(body) ?? {};
    },
  };
  return { sent, direct: new DirectChannel({ page, clock: new Clock(() => 1_800_000_000_000), provider }) };
}

test("what is sent is what is signed", async () => {
  const { sent, direct } = bench({ "keys/list": () => ({ keys: [1] }), "passkeys/list": () => ({ passkeys: [2] }) });
  assert.deepEqual(await direct.keys(key), [1]);
  assert.deepEqual(await direct.passkeys(key), [2]);
  await direct.removeKey(key, "BBBBBBBBBBBBBBBBBBBBBA");
  await direct.removePasskey(key, "id");
  assert.deepEqual(sent.map(({ path }) => path), ["keys/list", "passkeys/list", "keys/remove", "passkeys/remove"]);
  for (const { path, body, intent } of sent) {
    const [header, claims] = parts(intent);
    assert.ok(isSigned(intent, await publicJwk(pair.publicKey)), path);
    assert.equal(header.kid, key.kid);
    assert.deepEqual([claims.call, claims.username, claims.project], [path.replace("/", "."), "alice", null]);
    assert.deepEqual(claims.params, [await digest(TABLE.get(claims.call), body)], path);
  }
});

test("the old key vouches for the new one, and the new one for itself", async () => {
  const { sent, direct } = bench({ "keys/renew": () => ({ kid: "BBBBBBBBBBBBBBBBBBBBBA", expires: 1_815_000_000 }) });
  const storage = new SessionStorage();
  await storage.putKey(key);
  const renewed = await direct.renew(key, storage);
  const [{ body, intent }] = sent;
  assert.deepEqual([body.alg, body.name, Object.keys(body).sort()], ["EdDSA", key.name, ["alg", "jwk", "name", "proof"]]);
  assert.ok(isSigned(intent, await publicJwk(pair.publicKey)), "the intent is the old key's");
  assert.ok(isSigned(body.proof, body.jwk), "the proof is the new key's");
  assert.deepEqual(parts(body.proof), [
    { alg: "EdDSA", typ: "ucloud-renew+jwt" },
    { aud: page.origin, username: "alice", kid: key.kid },
  ]);
  assert.deepEqual([renewed.kid, renewed.expires, renewed.created, renewed.username], ["BBBBBBBBBBBBBBBBBBBBBA", 1_815_000_000, 1_800_000_000, "alice"]);
  assert.notEqual(renewed.privateKey, key.privateKey);
  assert.equal(renewed.privateKey.extractable, false);
  assert.deepEqual((await storage.keys()).map(({ kid }) => kid), [key.kid, renewed.kid], "both are kept until the new one has shown that it works");
});

test("a renewal that is refused changes nothing", async () => {
  const { direct } = bench({ "keys/renew": () => { throw new Refused(400, "KEY_REFUSED", "no"); } });
  const storage = new SessionStorage();
  await storage.putKey(key);
  await assert.rejects(direct.renew(key, storage), Refused);
  assert.deepEqual((await storage.keys()).map(({ kid }) => kid), [key.kid]);
});

test("what the provider does not offer is not asked", async () => {
  const sent = [];
  let tries = 0;
  const provider = {
    table: async () => {
      if ((tries += 1) === 1) throw new Unreachable("gone");
      return readTable([{ call: "keys.list", items: "whole", class: "read", from: "core", bound: [] }]);
    },
    post: async (path) => sent.push(path),
  };
  const direct = new DirectChannel({ page, clock: new Clock(), provider });
  await assert.rejects(direct.keys(key), Unreachable);
  await assert.rejects(direct.keys(key), Refused, "a row of Core's is not the browser's");
  await assert.rejects(direct.passkeys(key), Refused);
  assert.deepEqual(sent, []);
});
