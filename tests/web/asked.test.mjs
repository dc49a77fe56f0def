// Items that are raised to dangerous ones: the cases of keys/tests/vectors/asked.json, with which
// the crate is tested too (keys/tests/asked.rs), and how the signer handles them.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { holds, met } from "../../web/js/ask.js";
import { Clock } from "../../web/js/clock.js";
import { projection } from "../../web/js/digest.js";
import { makeKeyPair } from "../../web/js/jws.js";
import { dangers } from "../../web/js/places.js";
import { Signer } from "../../web/js/signer.js";
import { UnreadableTable, readTable } from "../../web/js/table.js";

const read = async (name) => JSON.parse(await readFile(new URL(`../../keys/tests/vectors/${name}`, import.meta.url), "utf8"));
const { rows, conditions, items } = await read("asked.json");

/** The rows of these calls. keys/tests/asked.rs checks that they are those of the table. */
const TABLE = readTable(rows);

test("v66_s02 a condition holds for every spelling of such a place", () => {
  assert.ok(conditions.length > 80);
  for (const { when, value, holds: want } of conditions) assert.equal(holds(when, value), want, `${when} ${JSON.stringify(value)}`);
});

test("v66_s02 an item is dangerous by its own parameters, in words", () => {
  assert.ok(items.length > 30);
  for (const { call, params, danger } of items) {
    const row = TABLE.get(call);
    const item = projection(row, params);
    const isDangerous = row.class === "danger" || met(row, item).length > 0;
    assert.equal(isDangerous, danger, `${call} ${JSON.stringify(params)}`);
    assert.equal(dangers(row, item).length > 0, met(row, item).length > 0, `${call} ${JSON.stringify(params)}: words`);
  }
});

test("v66_s02 the words name the place", () => {
  const says = (id, want) => assert.match(dangers(TABLE.get("files.createUpload"), projection(TABLE.get("files.createUpload"), { id })).join(" "), want, id);
  says("/home/.ssh/authorized_keys", /who can log in as you/);
  says("/home/.bashrc", /runs when you log in/);
  says("/home/.Profile", /runs when you log in/);
  says("/home/.config/autostart/x.desktop", /start automatically when you log in/);
  says("/home/.config/countersign/authorized_keys", /whose keys can act as you/);
  says("/home/bin/ls", /runs when its name is typed/);
  says("/home/.local/bin/ls", /runs when its name is typed/);
  says("/home/public_html/x.php", /web server/);
  says("/home/x.desktop", /launcher/);
  says("/home/.something", /hidden place/);
  says("/home/a/../b", /hidden place/);
});

test("v66 a table with a rule that this code does not know cannot be read", () => {
  const row = { call: "files.move", items: "bulk", class: "write", bound: [{ name: "id" }] };
  const check = (ask_if) => assert.throws(() => readTable([{ ...row, ask_if }]), UnreadableTable, JSON.stringify(ask_if));
  check([{ parameter: "id", when: "shiny" }]);
  check([{ parameter: "id" }]);
  check([{ parameter: "other", when: "hidden" }]);
  check([{ parameter: "id", when: "hidden", unless: "x" }]);
  check([null]);
  check({});
  check("hidden");
  assert.deepEqual(readTable([{ ...row, ask_if: [{ parameter: "id", when: "hidden" }] }]).get("files.move").askIf, [{ parameter: "id", when: "hidden" }]);
});

const CORE = "https://cloud.example.org";
const page = { provider: "hpc", origin: "https://hpc.example.org", coreOrigin: CORE, base: "/ucloud/hpc" };
const { privateKey } = await makeKeyPair("EdDSA");
const key = {
  kid: "AAAAAAAAAAAAAAAAAAAAAA", provider: "hpc", username: "alice", privateKey, state: "active", name: "x",
  created: 1_000, expires: 2_000_000_000, lastUsed: null, lifetimeMax: 60, sessionOnly: false,
};

/** Has a request signed. Returns how often a person was asked, and the claims. */
async function signed(request, type = "deposit") {
  const asked = [], deposited = [];
  const signer = new Signer({
    page, clock: new Clock(() => 1_800_000_000_000), keys: async () => [key],
    provider: { table: async () => TABLE, deposit: async (jws) => (deposited.push(jws), {}), post: async () => ({}) },
    ask: async (question) => (asked.push(question), true),
    drives: { known: () => null, of: async () => new Map() },
    clockJumped: () => {},
    usePasskey: async () => ({}), signed: () => {}, failed: (error) => { throw error; }, stranger: () => {},
  });
  const answers = [];
  const data = { countersign: 1, channel: "c", id: 1, type, username: "alice", requests: [{ project: null, ...request }] };
  await signer.take({ origin: CORE, data }, (answer) => answers.push(answer));
  assert.equal(answers.at(-1).type, "result", JSON.stringify(answers.at(-1)));
  return { asked: asked.length, claims: deposited.map((jws) => JSON.parse(Buffer.from(jws.split(".")[1], "base64url").toString("utf8"))), deposited };
}

test("v66_s02 the signer asks for what is dangerous by an item, and the intent says so", async () => {
  for (const { call, params, danger } of items) {
    const { asked, claims } = await signed({ call, items: [params] });
    assert.equal(asked, danger ? 1 : 0, `${call} ${JSON.stringify(params)}`);
    assert.equal(claims[0].asked, danger ? true : undefined, `${call} ${JSON.stringify(params)}`);
  }
});

test("v66_s02 one dangerous item among 999 harmless ones is asked for", async () => {
  const many = Array.from({ length: 999 }, (_, number) => ({ id: `/home/${number}` }));
  assert.equal((await signed({ call: "files.createFolder", items: many })).asked, 0);
  many.splice(500, 0, { id: "/home/.ssh" });
  assert.equal((await signed({ call: "files.createFolder", items: many })).asked, 1);
});

test("v66_s02 a page can have a person asked for what need not be", async () => {
  const { asked, claims } = await signed({ call: "files.createUpload", items: [{ id: "/home/data", type: "FOLDER" }], ask: true });
  assert.deepEqual([asked, claims[0].asked], [1, true]);
  for (const ask of [1, "true", {}, null, false]) {
    assert.equal((await signed({ call: "files.createUpload", items: [{ id: "/home/data", type: "FOLDER" }], ask })).asked, 0, JSON.stringify(ask));
  }
});

test("v66_s02 what a person was asked for is left at the provider too, which may want a passkey", async () => {
  assert.equal((await signed({ call: "files.createFolder", items: [{ id: "/home/.ssh" }] }, "sign")).deposited.length, 1);
  assert.equal((await signed({ call: "files.createFolder", items: [{ id: "/home/a" }] }, "sign")).deposited.length, 0);
});
