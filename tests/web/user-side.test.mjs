// What a user's request to UCloud makes Core send, by the table of calls: compared with what the
// real Core sent, and with cases by hand. keys/tests/user_side.rs reads the same files.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { canonicalItem, digest } from "../../web/js/digest.js";
import { UnreadableTable, readTable } from "../../web/js/table.js";
import { find, toSign } from "../../web/js/user-side.js";

const read = async (name) => JSON.parse(await readFile(new URL(`../../keys/tests/vectors/${name}`, import.meta.url), "utf8"));
const rows = await read("calls.json");
const table = readTable(rows);
const { fixtures, unsent } = await read("real.json");
const byHand = await read("user-side.json");

/** Everything is a drive, a job or a resource of the one provider, outside of projects. */
const one = {
  owner: async () => ({ provider: "hpc", project: null }),
  providers: async () => ["hpc"],
  list: async () => [{ id: "1", specification: { title: "key 1", key: "ssh-ed25519 AAAAC3Nz b" } }],
};

/** The user's request of a fixture. */
function request({ call, asked: { method, path, body } }) {
  const transport = table.get(call)?.user[0].transport ?? "http";
  return { transport, method, url: `https://cloud.example${path}`, headers: {}, body: body === null ? null : JSON.stringify(body) };
}

test("c06 what is derived of the user's request has the digests of what the real Core sends", async () => {
  const compared = new Set();
  for (const fixture of fixtures) {
    const { call, digests } = fixture;
    if (!table.has(call) || unsent.includes(call) || call === "files.transfer") continue;
    const { sign } = await toSign(table, request(fixture), one);
    assert.ok(sign.every((made) => made.call === call && made.provider === "hpc" && made.project === null), call);
    // Each of Core's requests has its own intent. The fixtures have one request each.
    assert.equal(sign.length, 1, call);
    assert.deepEqual(await Promise.all(sign[0].params.map((item) => digest(table.get(call), item))), digests, call);
    compared.add(call);
  }
  const fromCore = [...table.values()].filter(({ from }) => from === "core").map(({ call }) => call);
  assert.deepEqual(fromCore.filter((call) => !compared.has(call)).sort(), [...unsent, "files.transfer"].sort());
});

test("what Core does alone, and what needs no signature, is not signed", async () => {
  for (const fixture of fixtures) {
    const answer = await toSign(table, request(fixture), one);
    if (unsent.includes(fixture.call)) assert.deepEqual(answer, { sign: [] }, fixture.call);
    if (!table.has(fixture.call)) assert.equal(answer, null, fixture.call);
    if (fixture.call === "files.transfer") assert.match(answer.refusal, /two providers/);
  }
});

test("cases by hand", async () => {
  const known = {
    owner: async (kind, id) => {
      const found = byHand.owners[kind]?.[id];
      return found === undefined ? null : { provider: found[0], project: found[1] };
    },
    providers: async () => byHand.providers,
    list: async (path) => byHand.lists[path],
  };
  for (const { what, request: { body = null, ...sent }, makes, refused } of byHand.cases) {
    const answer = await toSign(table, { ...sent, body: body === null ? null : JSON.stringify(body) }, known);
    if (refused) {
      assert.match(answer?.refusal ?? "", /^[A-Z].*\.$/, what);
    } else if (makes === null) {
      assert.equal(answer, null, what);
    } else {
      const made = answer.sign.map(({ params, ...rest }) => ({ ...rest, items: params.map((item) => canonicalItem(table.get(rest.call), item)) }));
      assert.deepEqual(made, makes, what);
    }
  }
});

test("what is not JSON is refused, and what the table does not have is let through", async () => {
  const post = (url, body) => toSign(table, { method: "POST", url, body }, one);
  assert.match((await post("/api/files/trash", "{")).refusal, /could not be read/);
  assert.equal(await post("/api/files/unknown", "{"), null);
  const many = JSON.stringify({ items: Array.from({ length: 1001 }, () => ({ id: "/4/a" })) });
  assert.match((await post("/api/files/trash", many)).refusal, /1000/);
  assert.match((await post("/api/files/trash", '{"items":[{"id":"/4/\\ud800"}]}')).refusal, /cannot be signed/);
});

test("the request of every row is found, and only by its own method and path", () => {
  for (const row of table.values()) {
    assert.equal(row.user.length > 0, row.from === "core", row.call);
    for (const { method, path, transport, message } of row.user) {
      const body = message === null ? null : JSON.stringify({ call: message });
      assert.equal(find(table, { transport, method, url: `https://cloud.example${path}?a=b`, body })?.row.call, row.call);
      assert.equal(find(table, { transport, method, url: `https://cloud.example${path}/x`, body }), null);
    }
  }
});

test("a user's request with something unknown makes the table unreadable", () => {
  const row = rows.find(({ call }) => call === "files.move");
  const [side] = row.user;
  const check = (user) => assert.throws(() => readTable([{ ...row, user }]), UnreadableTable, JSON.stringify(user));
  const signed = (change) => check([{ ...side, effect: { signed: { ...side.effect.signed, ...change } } }]);
  check({});
  check([null]);
  check([{ ...side, more: 1 }]);
  check([{ ...side, method: "PUT" }]);
  check([{ ...side, path: "/files" }]);
  check([{ ...side, transport: "udp" }]);
  check([{ ...side, effect: "other" }]);
  check([{ ...side, effect: { unsignable: "other" } }]);
  check([{ ...side, effect: { ...side.effect, unsignable: "ucx" } }]);
  signed({ more: 1 });
  signed({ place: "header" });
  signed({ split: "none" });
  signed({ split: { provider: { by: "name", at: "/x" } } });
  signed({ split: { item: { by: "path", at: "x" } } });
  signed({ project: "other" });
  signed({ project: { owner: { by: "path" } } });
  signed({ takes: [{ name: "other", from: "" }] });
  signed({ takes: [{ name: "oldId", from: "", made: "up" }] });
  signed({ takes: [{ name: "oldId", from: "", keeps: ["x"] }] });
  signed({ takes: [{ name: "oldId", from: "", list: { browse: "/api/x", each: "/x", change: "sort" } }] });
});
