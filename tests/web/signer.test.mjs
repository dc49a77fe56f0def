// Which pages the signer answers, what it signs, and when it asks a person first.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Clock } from "../../web/js/clock.js";
import { digest } from "../../web/js/digest.js";
import { makeKeyPair } from "../../web/js/jws.js";
import { Refused, Unreachable } from "../../web/js/provider.js";
import { Signer } from "../../web/js/signer.js";
import { readTable } from "../../web/js/table.js";
import { Declined } from "../../web/js/webauthn.js";

const bound = (...names) => names.map((name) => ({ name, kind: "plain", changes: [] }));
const TABLE = readTable([
  { call: "files.browse", items: "whole", class: "read", bound: bound("path") },
  { call: "files.move", items: "bulk", class: "write", bound: bound("oldId", "newId", "conflictPolicy"),
    ask_if: [{ parameter: "conflictPolicy", when: "replaces" }] },
  { call: "files.trash", items: "bulk", class: "danger", bound: bound("id") },
  { call: "jobs.create", items: "bulk", class: "danger",
    bound: [{ name: "specification", kind: "tree" }, { name: "script", kind: "plain", optional: true }] },
  { call: "acme.rotate", items: "bulk", class: "read", bound: bound("id") },
  { call: "keys.remove", items: "whole", class: "danger", from: "user", bound: bound("kid") },
  { call: "keys.list", items: "whole", class: "read", from: "user", bound: [] },
  { call: "session.open", items: "whole", class: "write", from: "user", to: "session", bound: bound("token") },
]);
const CORE = "https://cloud.example.org";
const page = { provider: "hpc", origin: "https://hpc.example.org", coreOrigin: CORE, base: "/ucloud/hpc" };
const { privateKey } = await makeKeyPair("EdDSA");
const key = {
  kid: "AAAAAAAAAAAAAAAAAAAAAA", provider: "hpc", username: "alice", privateKey, state: "active", name: "x",
  created: 1_000, expires: 2_000_000_000, lastUsed: null, lifetimeMax: 60, sessionOnly: false,
};

/** A signer, a record of its questions and actions, and a way to send it messages. */
function bench(change = {}) {
  const seen = { asked: [], deposited: [], posted: [], strangers: [], signed: [], failed: [] };
  const ground = {
    page,
    clock: new Clock(() => 1_800_000_000_000),
    provider: {
      table: async () => TABLE,
      deposit: async (jws) => (seen.deposited.push(jws), {}),
      post: async (path, body) => (seen.posted.push([path, body]), {}),
    },
    keys: async () => [key],
    ask: async (question) => (seen.asked.push(question), true),
    drives: { known: () => null, of: async () => new Map() },
    preview: async () => { throw new Refused(404, "NOT_FOUND", "this provider does not offer this"); },
    clockJumped: () => {},
    usePasskey: async () => ({ id: "credential" }),
    signed: (...what) => seen.signed.push(what),
    failed: (error) => seen.failed.push(error),
    stranger: (origin) => seen.strangers.push(origin),
    ...change,
  };
  const signer = new Signer(ground);
  let id = 0;
  const send = async (message, origin = CORE) => {
    const answers = [];
    await signer.take({ origin, data: message }, (answer) => answers.push(answer));
    return answers;
  };
  const ask = (requests, more = {}) =>
    send({ countersign: 1, channel: "c", id: (id += 1), type: "sign", username: "alice", requests, ...more }, more.origin);
  return { seen, send, ask };
}
const browse = { call: "files.browse", items: [{ path: "/1/x" }], project: null };
const trash = { call: "files.trash", items: [{ id: "/1/x" }, { id: "/1/y" }], project: "p" };
const claimsOf = (jws) => JSON.parse(Buffer.from(jws.split(".")[1], "base64url").toString("utf8"));
const last = (answers) => answers[answers.length - 1];

test("a read is signed silently, for whoever asks from UCloud's origin", async () => {
  const { seen, ask } = bench();
  const [answer] = await ask([browse]);
  assert.equal(answer.type, "result");
  const { jti, ...claims } = claimsOf(answer.results[0].jws);
  assert.deepEqual(claims, {
    aud: page.origin, username: "alice", project: null, call: "files.browse", iat: 1_800_000_000, exp: 1_800_000_030,
    params: [await digest(TABLE.get("files.browse"), { path: "/1/x" })],
  });
  assert.deepEqual([seen.asked.length, seen.deposited.length, seen.signed.length], [0, 0, 1]);
});

test("a page of any other origin gets no answer at all", async () => {
  const { seen, ask } = bench();
  for (const origin of ["https://evil.example", "https://cloud.example.org.evil.example", "http://cloud.example.org", "null", ""]) {
    assert.deepEqual(await ask([browse], { origin }), [], origin);
  }
  assert.equal(seen.strangers.length, 5);
  assert.equal(seen.signed.length, 0);
  assert.equal((await ask([browse], { origin: page.origin }))[0].type, "result", "our own pages are answered");
});

test("a dangerous call waits for a person, who sees exactly what is signed", async () => {
  const { seen, ask } = bench();
  const answers = await ask([trash]);
  assert.deepEqual(answers.map(({ type }) => type), ["asking", "result"]);
  const [{ requests, username, origin }] = seen.asked;
  assert.deepEqual([username, origin], ["alice", CORE]);
  assert.deepEqual(requests[0].items.map((item) => ({ ...item })), trash.items);
  const claims = claimsOf(last(answers).results[0].jws);
  assert.deepEqual(claims.params, await Promise.all(requests[0].items.map((item) => digest(requests[0].row, item))));
  assert.deepEqual([claims.project, claims.exp - claims.iat], ["p", 60]);
  assert.equal(seen.deposited.length, 1, "the provider may want a passkey");
});

test("what replaces something waits for a person, whatever its class", async () => {
  const check = async (conflictPolicy, asked) => {
    const { seen, ask } = bench();
    const item = { oldId: "/1/a", newId: "/1/b", ...(conflictPolicy === undefined ? {} : { conflictPolicy }) };
    assert.equal(last(await ask([{ call: "files.move", items: [{ oldId: "x", newId: "y" }, item], project: null }])).type, "result");
    assert.equal(seen.asked.length, asked, conflictPolicy);
  };
  await check(undefined, 0);
  await check(null, 0);
  await check("RENAME", 0);
  await check("REJECT", 0);
  await check("MERGE_RENAME", 0);
  await check("REPLACE", 1);
  await check("replace", 1);
  await check("SOMETHING_NEW", 1);
  await check("", 1);
});

test("no is no, and signs nothing of the batch", async () => {
  const { seen, ask } = bench({ ask: async () => false });
  const answer = last(await ask([browse, trash]));
  assert.deepEqual([answer.type, answer.code], ["error", "refused"]);
  assert.deepEqual([seen.signed.length, seen.deposited.length], [0, 0]);
});

test("a batch is asked about once, and questions come one after the other", async () => {
  let open = 0, most = 0, asked = 0;
  const { ask } = bench({
    ask: async () => {
      asked += 1;
      most = Math.max(most, (open += 1));
      await new Promise((resolve) => setImmediate(resolve));
      open -= 1;
      return true;
    },
  });
  const answers = await Promise.all([ask([trash, browse, trash]), ask([trash]), ask([trash])]);
  assert.ok(answers.every((each) => last(each).type === "result"));
  assert.equal(last(answers[0]).results.length, 3);
  assert.deepEqual([asked, most], [3, 1]);
});

test("a silent request does not wait for a question", async () => {
  let answer;
  const { ask } = bench({ ask: () => new Promise((resolve) => (answer = resolve)) });
  const waiting = ask([trash]);
  assert.equal(last(await ask([browse])).type, "result");
  answer(true);
  assert.equal(last(await waiting).type, "result");
});

test("too many questions at once are refused", async () => {
  const answers = [];
  const { ask } = bench({ ask: () => new Promise((resolve) => answers.push(resolve)) });
  const all = Array.from({ length: 21 }, () => ask([trash]));
  assert.equal(last(await all[20]).code, "refused");
  const first = Promise.all(all.slice(0, 20));
  const drain = setInterval(() => answers.splice(0).forEach((answer) => answer(true)), 0);
  assert.ok((await first).every((each) => last(each).type === "result"));
  clearInterval(drain);
});

test("a page that does not want it any more is not waited for", async () => {
  const { send, ask } = bench({
    ask: ({ withdrawn }) => new Promise((resolve) => withdrawn.addEventListener("abort", () => resolve(false))),
  });
  const waiting = ask([trash]);
  await new Promise((resolve) => setImmediate(resolve));
  await send({ countersign: 1, channel: "another", id: 1, type: "cancel" });
  await send({ countersign: 1, channel: "c", id: 1, type: "cancel" });
  assert.equal(last(await waiting).code, "refused");
});

test("what is said twice is signed once", async () => {
  let answer;
  const { seen, send } = bench({ ask: () => new Promise((resolve) => (answer = resolve)) });
  const message = { countersign: 1, channel: "c", id: 7, type: "sign", username: "alice", requests: [trash] };
  const first = send(message);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(await send(message), []);
  answer(true);
  await first;
  assert.equal(seen.signed.length, 1);
});

test("whose key, and which", async () => {
  const check = async (keys, username, want) => {
    const { ask } = bench({ keys: async () => keys });
    const answer = last(await ask([browse], { username }));
    if (answer.type === "error") return assert.equal(answer.code, want, username);
    const [header] = answer.results[0].jws.split(".");
    return assert.equal(JSON.parse(Buffer.from(header, "base64url").toString("utf8")).kid, want);
  };
  const newer = { ...key, kid: "BBBBBBBBBBBBBBBBBBBBBA", created: 2_000 };
  await check([], "alice", "no_key");
  await check([{ ...key, provider: "other" }], "alice", "no_key");
  await check([{ ...key, state: "offered" }], "alice", "no_key");
  await check([key], "bob", "unknown_user");
  await check([key], "Alice", "unknown_user");
  await check([{ ...key, expires: 1_800_000_000 }], "alice", "key_expired");
  await check([key, newer], "alice", newer.kid);
  await check([key, { ...newer, expires: 1 }], "alice", key.kid);
  await check([key, { ...newer, username: "bob" }], "alice", key.kid);
  await check([{ ...key, expires: null }], "alice", key.kid);
});

test("what it cannot describe, and what is the browser's own, it does not sign", async () => {
  const { seen, ask } = bench();
  const check = async (call, parameters) => {
    const answer = last(await ask([{ call, items: [parameters], project: null }]));
    assert.deepEqual([answer.type, answer.code], ["error", "unknown_call"], call);
  };
  await check("acme.rotate", { id: "x" });
  await check("keys.remove", { kid: "x" });
  await check("keys.list", {});
  await check("no.such", {});
  await check("toString", {});
  assert.equal(seen.asked.length + seen.signed.length, 0);
});

test("the use of a one-time token is signed for the page that has it, and nobody is asked", async () => {
  const { seen, ask } = bench();
  const answer = last(await ask([{ call: "session.open", items: [{ token: "x" }], project: null }]));
  assert.equal(answer.type, "result");
  assert.deepEqual([seen.asked.length, seen.signed.length], [0, 1]);
});

test("parameters are exactly the call's", async () => {
  const { seen, ask } = bench();
  const check = async (request, code = "bad_parameters") => {
    const answer = last(await ask([{ project: null, ...request }]));
    assert.deepEqual([answer.type, answer.code], ["error", code], JSON.stringify(request));
  };
  await check({ call: "files.trash", items: [{ id: "/1/x", also: "/1/y" }] });
  await check({ call: "files.trash", items: [{ id: 2 ** 53 }] });
  await check({ call: "files.trash", items: [{ id: "\ud800" }] });
  await check({ call: "files.trash", items: [] });
  await check({ call: "files.trash", items: ["/1/x"] });
  await check({ call: "files.browse", items: [{ path: "/1" }, { path: "/2" }] });
  await check({ call: "files.browse", items: [{ path: "/1" }], project: "" });
  await check({ call: "files.browse", items: [{ path: "/1" }], project: 7 });
  await check({ call: "files.trash", items: Array.from({ length: 1001 }, () => ({ id: "x" })) });
  assert.equal(seen.asked.length + seen.signed.length, 0);
});

test("an intent that no header holds is refused, and deposited whole", async () => {
  const { seen, ask } = bench();
  const many = { call: "files.move", items: Array.from({ length: 600 }, (_, n) => ({ oldId: `/1/${n}`, newId: `/2/${n}` })), project: null };
  assert.equal(last(await ask([many])).code, "bad_parameters");
  const answer = last(await ask([many], { type: "deposit" }));
  assert.deepEqual([answer.type, answer.results], ["result", [{}]]);
  assert.equal(claimsOf(seen.deposited[0]).params.length, 600);
});

test("a passkey's word goes with the very intent", async () => {
  const asked = [];
  const { seen, ask } = bench({
    provider: {
      table: async () => TABLE,
      deposit: async (jws) => (asked.push(jws), { stepUp: { publicKey: { challenge: "c" } } }),
      post: async (path, body) => (seen.posted.push([path, body]), {}),
    },
  });
  const answer = last(await ask([trash]));
  const { jws } = answer.results[0];
  assert.deepEqual(asked, [jws]);
  assert.deepEqual(seen.posted, [["intents/assertion", { intent: jws, credential: { id: "credential" } }]]);
});

test("what wants a passkey waits for a person too, and is left at the provider", async () => {
  const table = readTable([{ call: "files.browse", items: "whole", class: "read", bound: bound("path"), stepUp: true }]);
  const deposited = [];
  const { seen, ask } = bench({
    provider: { table: async () => table, deposit: async (jws) => (deposited.push(jws), {}), post: async () => ({}) },
  });
  const answer = last(await ask([browse]));
  assert.deepEqual([seen.asked.length, deposited], [1, [answer.results[0].jws]]);
});

test("a passkey that is not used is a no", async () => {
  const { seen, ask } = bench({
    usePasskey: async () => { throw new Declined("closed"); },
    provider: { table: async () => TABLE, deposit: async () => ({ stepUp: { publicKey: {} } }), post: async () => assert.fail("nothing to post") },
  });
  assert.equal(last(await ask([trash])).code, "refused");
  assert.equal(seen.signed.length, 0);
});

test("a provider that refuses or is gone is said to be that", async () => {
  for (const error of [new Refused(482, "INTENT_INVALID", "no"), new Unreachable("gone"), new TypeError("bug")]) {
    const { seen, ask } = bench({ provider: { table: async () => TABLE, deposit: async () => { throw error; }, post: async () => ({}) } });
    const answer = last(await ask([browse], { type: "deposit" }));
    assert.deepEqual([answer.type, answer.code], ["error", "provider"]);
    assert.deepEqual(seen.failed, [error], "and whoever looks at the window sees it");
  }
});

test("a table that did not come is asked for again", async () => {
  let tries = 0;
  const { ask } = bench({
    provider: { table: async () => { if ((tries += 1) === 1) throw new Unreachable("gone"); return TABLE; }, deposit: async () => ({}), post: async () => ({}) },
  });
  assert.equal(last(await ask([browse])).code, "provider");
  assert.equal(last(await ask([browse])).type, "result");
});

test("what is no message of ours is passed over", async () => {
  const { send, seen } = bench();
  for (const message of [null, 7, "x", {}, { countersign: 2, channel: "c", id: 1, type: "sign" }, { countersign: 1, id: 1, type: "sign" },
    { countersign: 1, channel: "c", type: "sign" }, { countersign: 1, channel: "c", id: 1, type: "else" }]) {
    assert.deepEqual(await send(message), [], JSON.stringify(message));
  }
  assert.equal(seen.strangers.length, 0);
});

test("r07 a clock that was set is said, and the provider asked for the time before anything is signed", async () => {
  let [ours, tables] = [1_800_000_000_000, 0];
  const jumps = [];
  const clock = new Clock(() => ours, () => 0);
  clock.learn(1_800_000_000);
  const { ask } = bench({
    clock, clockJumped: (seconds) => jumps.push(seconds),
    provider: { table: async () => ((tables += 1), clock.learn(1_800_000_000), TABLE), deposit: async () => ({}), post: async () => ({}) },
  });
  assert.equal(last(await ask([browse])).type, "result");
  assert.deepEqual([jumps, tables], [[], 1]);
  ours += 600_000;
  const claims = claimsOf(last(await ask([browse])).results[0].jws);
  assert.deepEqual([jumps, tables], [[600], 2]);
  assert.equal(claims.iat, 1_800_000_000);
  assert.equal(last(await ask([browse])).type, "result");
  assert.equal(tables, 2, "once");
});

test("s16 a question says what the provider calls the drives, and asks it only when there is a path", async () => {
  const asked = [];
  const drives = new Map([["5001", { title: "Home", startup: false }], ["5002", { title: "Tools", startup: true }]]);
  const known = { known: () => drives, of: async (_key, names) => (asked.push(names), drives) };
  const { seen, ask } = bench({ drives: known });
  await ask([trash]);
  assert.deepEqual(asked, [["1"]]);
  assert.equal(seen.asked[0].drives, drives);
  await ask([{ call: "files.move", items: [{ oldId: "/5001/a", newId: "/5001/b" }], project: null }]);
  assert.equal(seen.asked.length, 1);
  await ask([{ call: "files.move", items: [{ oldId: "/5001/a", newId: "/5002/b" }], project: null }]);
  assert.equal(seen.asked.length, 2, "v66_s02 a drive from which programs start");
  await ask([{ call: "files.browse", items: [{ path: "/5002/b" }], project: null }]);
  assert.equal(seen.asked.length, 2, "which may be looked at");
});

const job = { call: "jobs.create", items: [{ specification: { application: { name: "a", version: "1" } } }], project: null };
const SCRIPT = "#!/bin/sh\necho hello\n";
const digestOf = (text) => createHash("sha256").update(text).digest("base64url");

test("j01 the script that the provider shows is what the person sees and what is signed", async () => {
  const previewed = [];
  const preview = async (_key, specification) => (previewed.push(specification), { script: SCRIPT, sha256: digestOf(SCRIPT) });
  const { seen, ask } = bench({ preview });
  const [, { results: [{ jws }] }] = await ask([job]);
  assert.deepEqual(structuredClone(previewed), [{ application: { name: "a", version: "1" } }]);
  assert.deepEqual(seen.asked[0].requests[0].scripts, [{ text: SCRIPT, why: null }]);
  const { script, params } = claimsOf(jws);
  assert.equal(script, digestOf(SCRIPT));
  assert.deepEqual(params, [await digest(TABLE.get("jobs.create"), { ...job.items[0], script })]);
});

test("j01 a digest that a page brings is not signed", async () => {
  const preview = async () => ({ script: SCRIPT, sha256: digestOf(SCRIPT) });
  const brought = { ...job, items: [{ ...job.items[0], script: digestOf("#!/bin/sh\nrm -rf ~\n") }] };
  const [, { results: [{ jws }] }] = await bench({ preview }).ask([brought]);
  assert.equal(claimsOf(jws).script, digestOf(SCRIPT));
  const [, { results: [{ jws: without }] }] = await bench().ask([brought]);
  assert.ok(!("script" in claimsOf(without)));
});

test("j01 a job whose script cannot be shown is signed without one, and the person is told", async () => {
  const check = async (preview, why) => {
    const { seen, ask } = bench({ preview });
    const [, { results: [{ jws }] }] = await ask([job]);
    assert.ok(!("script" in claimsOf(jws)));
    assert.match(seen.asked[0].requests[0].scripts[0].why, why);
  };
  await check(async () => { throw new Refused(400, "BAD_REQUEST", "no such machine"); }, /says: no such machine\./);
  await check(async () => { throw new Refused(403, "APPLICATION_NOT_APPROVED", "not approved"); }, /^This application is not approved[^]*staff are asked to review/);
  await check(async () => { throw new Unreachable(); }, /did not show/);
  await check(async () => ({ script: SCRIPT, sha256: digestOf("other") }), /differ/);
  await check(async () => ({ script: "x".repeat(300_000), sha256: "" }), /too long/);
});
