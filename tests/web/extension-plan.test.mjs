// The extension's worker: which providers a request of UCloud's page concerns, the providers of the
// settings, and the proofs for one-time tokens.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { makeKeyPair } from "../../web/js/jws.js";
import { Unreachable } from "../../web/js/provider.js";
import { REVISION, packedTable } from "../../web/js/packed-table.js";
import { Differs } from "../../web/js/table.js";
import { ConnectedProvider } from "../../web/extension/worker/connected-provider.js";
import { scriptsFor } from "../../web/extension/worker/content-scripts.js";
import { whyNot } from "../../web/extension/worker/holds.js";
import { NeedsList, NotPlanned, planner } from "../../web/extension/worker/plan.js";
import { Routes } from "../../web/extension/worker/routes.js";
import { BadSite, patternsOf, readSite } from "../../web/extension/worker/settings.js";
import { Tokens } from "../../web/extension/worker/tokens.js";

const TABLE = JSON.parse(await readFile(new URL("../../keys/tests/vectors/calls.json", import.meta.url), "utf8"));
const UCLOUD = "https://cloud.example.org";
const { privateKey } = await makeKeyPair("EdDSA");
const keyAt = (provider) => ({
  kid: "AAAAAAAAAAAAAAAAAAAAAA", provider, username: "alice", privateKey, state: "active", name: "x", created: 1_000,
  expires: null, lastUsed: null, lifetimeMax: 60, sessionOnly: false,
});
const claimsOf = (jws) => JSON.parse(Buffer.from(jws.split(".")[1], "base64url").toString("utf8"));
const memory = () => {
  const kept = new Map();
  return { get: async (name) => kept.get(name), set: async (name, value) => void kept.set(name, value) };
};

function bench({ ids = ["hpc", "other"], keys = ids, down = [], drives = {}, tables = {} } = {}) {
  const providers = ids.map((id) => {
    const one = new ConnectedProvider({ id, origin: `https://${id}.example.org`, ucloud: UCLOUD, by: "user" }, "calls.json");
    one.provider = {
      table: async () => {
        if (down.includes(id)) throw new Unreachable("down");
        const { rows = TABLE, revision = REVISION } = tables[id] ?? {};
        return packedTable(TABLE, rows, revision);
      },
    };
    one.drives = { of: async () => new Map((drives[id] ?? []).map((number) => [number, { title: number, startup: false }])) };
    return one;
  });
  const routes = new Routes(memory());
  const plan = planner({ providers: async () => providers, keys: async () => keys.map(keyAt), routes });
  const ask = (method, path, body, more = {}) => plan({
    kind: "xhr", method, path: `/api/${path}`, query: more.query ?? "", body: body === null ? null : JSON.stringify(body),
    username: "alice", project: null, lists: {}, ...more,
  }, more.ucloud ?? UCLOUD);
  return { ask, routes, providers };
}
const parts = (planned) => planned.map(({ provider, request: { row, items, project } }) => [provider, row.call, items.map((item) => ({ ...item })), project]);
const why = (error) => error instanceof NotPlanned && error.why;
const trash = (...ids) => ({ type: "bulk", items: ids.map((id) => ({ id })) });

test("extension: the page's own answers say which provider a drive belongs to", async () => {
  const { ask, routes } = bench();
  await routes.learn(UCLOUD, "/api/files/collections/browse", JSON.stringify({ items: [
    { id: "4", specification: { product: { provider: "hpc" } }, owner: { project: null } },
    { id: "5", specification: { product: { provider: "other" } }, owner: { project: "p1" } },
  ] }));
  assert.deepEqual(parts(await ask("POST", "files/trash", trash("/4/b", "/5/x", "/4/a"))), [
    ["hpc", "files.trash", [{ id: "/4/b" }, { id: "/4/a" }], null], ["other", "files.trash", [{ id: "/5/x" }], "p1"],
  ]);
  assert.deepEqual(parts(await ask("GET", "files/browse", null, { query: "?path=%2F5%2Fa%20b&includeSizes=true" })), [["other", "files.browse", [{ path: "/5/a b" }], "p1"]]);
});

test("extension: of too many drives the oldest are forgotten, whatever their numbers", async () => {
  const { ask, routes } = bench();
  const learn = (ids) => routes.learn(UCLOUD, "/api/files/collections/browse", JSON.stringify({ items: ids.map((id) => ({ id: String(id), specification: { product: { provider: "other" } } })) }));
  await learn(Array.from({ length: 3_000 }, (_, at) => 10_000 + at));
  await learn([4]);
  assert.deepEqual(parts(await ask("POST", "files/trash", trash("/4/x"))).map(([provider]) => provider), ["other"]);
  await assert.rejects(ask("POST", "files/trash", trash("/10000/x")), (error) => /not known/.test(why(error)));
});

test("extension: a drive of which the page knows nothing is asked of the providers", async () => {
  const { ask } = bench({ drives: { other: ["6"] } });
  assert.deepEqual(parts(await ask("POST", "files/trash", trash("/6/x"))), [["other", "files.trash", [{ id: "/6/x" }], null]]);
  await assert.rejects(ask("POST", "files/trash", trash("/7/x")), (error) => /not known/.test(why(error)));
  const both = bench({ drives: { other: ["6"], hpc: ["6"] } });
  await assert.rejects(both.ask("POST", "files/trash", trash("/6/x")), (error) => /not known/.test(why(error)), "two claim it");
});

test("extension: another UCloud's answers and providers do not count", async () => {
  const { ask, routes } = bench();
  await routes.learn("https://evil.example", "/api/files/collections/browse", JSON.stringify({ items: [{ id: "4", specification: { product: { provider: "hpc" } } }] }));
  await assert.rejects(ask("POST", "files/trash", trash("/4/x")), (error) => /not known/.test(why(error)));
  await assert.rejects(ask("POST", "files/trash", trash("/4/x"), { ucloud: "https://evil.example" }), (error) => why(error) === "whyNoProvider");
});

test("extension: a provider that is not set up here needs no signature", async () => {
  const { ask, routes } = bench({ ids: ["hpc"] });
  await routes.learn(UCLOUD, "/api/files/collections/browse", JSON.stringify({ items: ["hpc", "k8s"].map((provider, at) => ({ id: `${4 + at}`, specification: { product: { provider } } })) }));
  assert.deepEqual(await ask("POST", "files/trash", trash("/5/x")), []);
  assert.deepEqual(parts(await ask("POST", "files/trash", trash("/4/x", "/5/x"))).map(([provider]) => provider), ["hpc"]);
});

/** The rows, of which one is described otherwise. */
const retold = (call, retell) => structuredClone(TABLE).map((row) => (row.call === call ? { ...row, ...retell(row) } : row));
const browse = ["GET", "files/browse", null, { query: "?path=%2F4%2Fa" }];

test("extension: a provider cannot describe a request as another call, at itself or elsewhere", async () => {
  // A look into a folder as the making of one, a move as a copy, and a deletion as a look.
  const { bound } = TABLE.find(({ call }) => call === "files.createFolder");
  const lies = [
    retold("files.browse", ({ user: [side] }) => ({ call: "files.createFolder", bound, user: [{ ...side, effect: { signed: { ...side.effect.signed, takes: [{ name: "id", from: "/path" }] } } }] }))
      .filter((row, at, all) => all.findIndex(({ call }) => call === row.call) === at),
    retold("files.move", () => ({ call: "files.copy" })),
    retold("files.trash", () => ({ class: "read" })),
  ];
  for (const rows of lies) {
    const { ask, routes } = bench({ ids: ["evil", "hpc"], tables: { evil: { rows } } });
    await routes.learn(UCLOUD, "/api/files/collections/browse", JSON.stringify({ items: ["evil", "hpc"].map((provider, at) => ({ id: `${4 + at}`, specification: { product: { provider } } })) }));
    const planned = [];
    for (const given of [browse, ["POST", "files/move", { items: [{ oldId: "/4/a", newId: "/4/b", conflictPolicy: "RENAME" }] }], ["POST", "files/trash", trash("/4/x")]]) {
      const calls = await ask(...given).then(parts, (error) => {
        assert.ok(error instanceof Differs && error.how === "unlike", error);
        return [];
      });
      planned.push(...calls.map(([provider, call, , project]) => [provider, call, project]));
    }
    for (const planAtEvil of planned) assert.ok(["files.browse", "files.move", "files.trash"].includes(planAtEvil[1]), planAtEvil[1]);
    assert.ok(planned.length < 3, "the call that was described otherwise is not signed");
    assert.deepEqual(parts(await ask("POST", "files/trash", trash("/5/x"))), [["hpc", "files.trash", [{ id: "/5/x" }], null]], "another provider is not concerned");
  }
});

test("extension: of two tables the user is told which is older", async () => {
  const rows = retold("files.browse", ({ adds }) => ({ adds: [...adds, "/more"] }));
  for (const [tables, how] of [
    [{ rows, revision: REVISION - 1 }, "behind"], [{ rows, revision: 0 }, "behind"], [{ rows, revision: REVISION + 1 }, "ahead"],
    [{ rows, revision: REVISION }, "unlike"], [{ rows, revision: NaN }, "unlike"], [{ rows: TABLE.slice(1), revision: 0 }, "behind"], [{ rows: {}, revision: REVISION }, "unlike"],
  ]) {
    const { ask } = bench({ ids: ["hpc"], tables: { hpc: tables } });
    await assert.rejects(ask(...browse), (error) => error instanceof Differs && error.how === how && /^whyProvider/.test(whyNot(error)), how);
  }
});

test("extension: a site's own rows are not held, and a passkey that it asks for is respected", async () => {
  const own = { ...TABLE.find(({ call }) => call === "files.trash"), call: "site.wipe", user: [{ ...TABLE.find(({ call }) => call === "files.trash").user[0], path: "/api/site/wipe" }] };
  const rows = [own, ...retold("files.trash", () => ({ stepUp: true }))];
  const { ask } = bench({ ids: ["hpc"], tables: { hpc: { rows } } });
  assert.deepEqual(await ask("POST", "site/wipe", trash("/4/x")), []);
  const [{ request }] = await ask("POST", "files/trash", trash("/4/x"));
  assert.deepEqual([request.row.stepUp, request.row.class], [true, "danger"]);
});

test("extension: the use of a token is not signed by a row that differs", async () => {
  const failed = [];
  const { providers } = bench({ ids: ["hpc"], tables: { hpc: { rows: retold("session.open", () => ({ bound: [{ name: "token", at: ["/token"] }] })) } } });
  const tokens = new Tokens({ providers: async () => providers, keys: async () => [keyAt("hpc")], session: memory(), note: () => {}, failed: (error) => failed.push(error) });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const token = `${part({})}.${part({ username: "alice" })}.c2ln`;
  assert.equal(await tokens.prove({ address: `https://hpc.example.org/ucloud/hpc/download?token=${token}`, token, piece: null }, UCLOUD), null);
  assert.ok(failed[0] instanceof Differs);
});

test("extension: a task and a drive of one number are two things", async () => {
  const { ask, routes } = bench();
  await routes.learn(UCLOUD, "/api/tasks", JSON.stringify({ messages: [{ type: "TASK", taskId: 4, provider: "other" }] }));
  await routes.learn(UCLOUD, "/api/files/collections/browse", JSON.stringify({ items: [{ id: "4", specification: { product: { provider: "hpc" } } }] }));
  const [[provider]] = parts(await ask("POST", "tasks/pauseOrCancel", { id: 4, requestedState: "CANCELLED" }));
  assert.equal(provider, "other");
});

test("extension: one provider that is down does not keep the other from signing", async () => {
  const { ask, routes } = bench({ down: ["hpc"] });
  await routes.learn(UCLOUD, "/api/files/collections/browse", JSON.stringify({ items: ["hpc", "other"].map((provider, at) => ({ id: `${4 + at}`, specification: { product: { provider } } })) }));
  assert.equal((await ask("POST", "files/trash", trash("/5/x"))).length, 1);
  await assert.rejects(ask("POST", "files/trash", trash("/4/x")), Unreachable);
  await assert.rejects(bench({ down: ["hpc", "other"] }).ask("POST", "files/trash", trash("/4/x")), Unreachable);
});

test("extension: a list of UCloud's that is signed is brought by the page, and a wrong one is not signed", async () => {
  const { ask } = bench({ ids: ["hpc"] });
  const body = { type: "bulk", items: [{ title: "new", key: "ssh-ed25519 C c" }] };
  await assert.rejects(ask("POST", "ssh", body), (error) => error instanceof NeedsList && error.path === "/api/ssh/browse");
  const lists = { "/api/ssh/browse": [{ id: "1", specification: { key: "ssh-ed25519 A a" } }] };
  const [[, call, items]] = parts(await ask("POST", "ssh", body, { lists }));
  assert.deepEqual([call, items], ["ssh.keyUploaded", [{ keys: ["ssh-ed25519 A a", "ssh-ed25519 C c"] }]]);
  await assert.rejects(ask("POST", "ssh", body, { lists: { "/api/ssh/browse": null } }), (error) => why(error) === "whyParameters");
});

test("extension: requests that the table does not have, or explains, are not signed", async () => {
  const { ask } = bench({ ids: ["hpc"] });
  assert.deepEqual(await ask("GET", "jobs/browse", null), []);
  assert.deepEqual(await ask("POST", "files/collections/updateAcl", trash("4")), []);
  await assert.rejects(ask("POST", "files/transfer", { items: [] }), (error) => /transfer/i.test(why(error)));
  for (const broken of [{ method: 7 }, { path: null }, { body: 7 }, { username: "x".repeat(300) }, { kind: "beacon" }, { project: {} }, { path: "/api/files/../files/trash" }, { path: "/api/files/trash?x" }, { path: "//api/files/trash" }]) {
    await assert.rejects(ask("POST", "files/trash", trash("/4/x"), broken), (error) => why(error) === "whyParameters", JSON.stringify(broken));
  }
});

test("extension: only the user's own keys count", async () => {
  await assert.rejects(bench({ keys: [] }).ask("POST", "files/trash", trash("/4/x")), (error) => why(error) === "whyNoKey");
  await assert.rejects(bench().ask("POST", "files/trash", trash("/4/x"), { username: "bob" }), (error) => why(error) === "whyNoKey");
});

test("extension: the addresses of a provider and its UCloud", () => {
  const read = (address, ucloud) => {
    const { id, origin, ucloud: at } = readSite({ address, ucloud }, "user");
    return [id, origin, at];
  };
  const good = ["hpc", "https://hpc.example.org", "https://cloud.example.org"];
  assert.deepEqual(read("https://hpc.example.org/ucloud/hpc", "https://cloud.example.org"), good);
  assert.deepEqual(read(" hpc.example.org/ucloud/hpc/connect#ticket ", "cloud.example.org/app/"), good);
  assert.deepEqual(read("https://hpc.example.org:8443/ucloud/hpc", "http://localhost:8080")[1], "https://hpc.example.org:8443");
  for (const [address, ucloud, what] of [
    ["https://hpc.example.org", "https://cloud.example.org", "address"], ["http://hpc.example.org/ucloud/hpc", "https://cloud.example.org", "address"],
    ["https://a:b@hpc.example.org/ucloud/hpc", "https://cloud.example.org", "address"], ["", "https://cloud.example.org", "address"],
    ["javascript://hpc/ucloud/hpc", "https://cloud.example.org", "address"], ["https://hpc.example.org/ucloud/hpc", "http://cloud.example.org", "ucloud"],
    ["https://hpc.example.org/ucloud/hpc", "", "ucloud"], ["https://hpc.example.org/ucloud/hpc", "https://hpc.example.org", "same"],
  ]) assert.throws(() => read(address, ucloud), (error) => error instanceof BadSite && error.what === what, address);
});

test("extension: its scripts run at the configured places alone", () => {
  const site = readSite({ address: "https://hpc.example.org:8443/ucloud/hpc", ucloud: "https://cloud.example.org" }, "user");
  assert.deepEqual(patternsOf(site), ["https://hpc.example.org/*", "https://cloud.example.org/*"]);
  assert.deepEqual(scriptsFor([]), []);
  assert.deepEqual(scriptsFor([site]).map(({ id, matches, world, allFrames }) => [id, matches, world, allFrames]), [
    ["bridge", ["https://cloud.example.org/*"], undefined, false], ["hook", ["https://cloud.example.org/*"], "MAIN", false],
    ["ticket", ["https://hpc.example.org/ucloud/hpc/connect"], undefined, false],
    ["interface", ["https://hpc.example.org/ucloud/hpc/interface"], undefined, false],
  ]);
});

test("extension: a token is proved at its provider's address, for its own user", async () => {
  const { providers } = bench();
  const failed = [];
  const tokens = new Tokens({ providers: async () => providers, keys: async () => ["hpc"].map(keyAt), session: memory(), note: () => {}, failed: (error) => failed.push(error) });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const token = `${part({})}.${part({ username: "alice" })}.c2ln`;
  const address = `https://hpc.example.org/ucloud/hpc/download?token=${token}`;
  const prove = async (change, ucloud = UCLOUD) => (await tokens.prove({ address, token, piece: null, ...change }, ucloud))?.intent ?? null;
  assert.deepEqual([claimsOf(await prove({})).call, claimsOf(await prove({})).aud], ["session.open", "https://hpc.example.org"]);
  for (const change of [
    { address: `https://evil.example/ucloud/hpc/download?token=${token}` }, { address: `https://hpc.example.org/ucloud/other/download` },
    { address: "https://hpc.example.org/ucloud/hpc/intents" }, { address: 7 }, { token: "x" }, { token: `${token}&intent=x` }, { token: null },
    { token: `a.${part({ username: "bob" })}.c` }, { token: "a.b.c" },
  ]) assert.equal(await prove(change), null, JSON.stringify(change));
  assert.equal(await prove({}, "https://evil.example"), null);
  const piece = { offset: 0, size: 3, total: 6, digest: Buffer.from("x".repeat(32)).toString("base64") };
  const chunk = { address: "https://hpc.example.org/ucloud/hpc/chunked/upload", piece };
  assert.equal(claimsOf(await prove(chunk)).call, "session.open");
  assert.equal(claimsOf(await prove(chunk)).call, "session.open", "again, since no piece was taken");
  await tokens.taken(token);
  assert.equal(claimsOf(await prove({ ...chunk, piece: { ...piece, offset: 3 } })).call, "session.continue");
  assert.equal(await prove({ ...chunk, piece: { ...piece, offset: "0" } }), null);
});

test("extension: five files at once continue each with their second piece", async () => {
  const { providers } = bench();
  const tokens = new Tokens({ providers: async () => providers, keys: async () => ["hpc"].map(keyAt), session: memory(), note: () => {}, failed: () => {} });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const of = (number) => `${part({ number })}.${part({ username: "alice" })}.c2ln`;
  const address = "https://hpc.example.org/ucloud/hpc/chunked/upload";
  const piece = { offset: 0, size: 3, total: 6, digest: Buffer.from("x".repeat(32)).toString("base64") };
  const call = async (token) => claimsOf((await tokens.prove({ address, token, piece }, UCLOUD)).intent).call;
  const files = [0, 1, 2, 3, 4].map(of);
  assert.deepEqual(await Promise.all(files.map(call)), files.map(() => "session.open"));
  await Promise.all(files.map((token) => tokens.taken(token)));
  for (let other = 5; other < 400; other += 1) {
    if (other % 50 === 0) await tokens.taken(files[0]);
    await tokens.taken(of(other));
  }
  assert.equal(await call(files[0]), "session.continue", "it is in use, whatever came after it");
});

test("extension: an answer's addresses get a proof each, and nothing else of it changes", async () => {
  const { providers } = bench();
  const tokens = new Tokens({ providers: async () => providers, keys: async () => ["hpc"].map(keyAt), session: memory(), note: () => {}, failed: () => {} });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const endpoint = `https://hpc.example.org/ucloud/hpc/upload?token=${part({})}.${part({ username: "alice" })}.c2ln`;
  const foreign = { endpoint: "https://evil.example/ucloud/hpc/upload?token=a.b.c", protocol: "WEBSOCKET" };
  const answer = { responses: [{ endpoint, protocol: "WEBSOCKET", token: "t" }, foreign, { endpoint, protocol: "CHUNKED", token: "t" }, null] };
  const proved = (text) => tokens.withProofs({ text, encs: {} }, UCLOUD);
  const changed = JSON.parse((await proved(JSON.stringify(answer))).text);
  const [intent] = changed.responses[0].endpoint.split("&intent=").slice(1);
  assert.equal(claimsOf(intent).call, "session.open");
  changed.responses[0].endpoint = endpoint;
  assert.deepEqual(changed, answer);
  assert.deepEqual(await proved(JSON.stringify({ responses: [foreign] })), {});
  assert.deepEqual(await proved("[]"), {});
});
