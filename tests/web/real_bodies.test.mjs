// A user's parameters and the real Core's body for them have the same digest. The parameters are in
// keys/tests/vectors/real.json; keys/tests/real_bodies.rs reads Core's bodies.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { BadParameters, digest, projection } from "../../web/js/digest.js";
import { readTable } from "../../web/js/table.js";

const read = async (name) => JSON.parse(await readFile(new URL(`../../keys/tests/vectors/${name}`, import.meta.url), "utf8"));
const { fixtures } = await read("real.json");
const table = readTable((await read("digests.json")).rows);

test("c06 what the user says has the digest of what the real Core sends", async () => {
  // Calls for which Core's token is enough are not signed and have no row.
  const signed = fixtures.filter(({ call }) => table.has(call));
  assert.ok(signed.length > 50, `${signed.length} fixtures`);
  for (const { call, params, digests } of signed) {
    const row = table.get(call);
    assert.deepEqual(await Promise.all(params.map((item) => digest(row, item))), digests, call);
  }
});

test("c06 what is shown and signed is what arrives", () => {
  const { params } = fixtures.find(({ call }) => call === "jobs.create");
  const { specification } = projection(table.get("jobs.create"), params[0]);
  assert.equal(params[0].specification.name, " first job ");
  assert.equal(specification.name, "first job");
  assert.equal(specification.allowDuplicateJob, undefined);
  assert.equal(specification.restartOnExit, undefined);
  assert.equal(params[0].specification.resources[0].readOnly, true);
  assert.equal(specification.resources[0].readOnly, undefined);
  assert.equal(specification.parameters.share.value, 0.1);
});

test("c06 two names that are one to Core are not signed", () => {
  const labels = (value) => projection(table.get("jobs.updateLabels"), { id: "7", labels: value });
  assert.deepEqual({ ...labels({ " Colour": "Red" }).labels }, { colour: "Red" });
  assert.throws(() => labels({ Colour: "a", colour: "b" }), BadParameters);
});
