// Every call that UCloud can ask to have signed has words, and its words fit its row.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { readTable } from "../../web/js/table.js";
import { sentence, wordsFor } from "../../web/js/words.js";

const vectors = JSON.parse(await readFile(new URL("../../keys/tests/vectors/digests.json", import.meta.url), "utf8"));
const rows = [...readTable(vectors.rows).values()].filter(({ call }) => !/^(pass)?keys\./.test(call));

test("every standard call can be described", () => {
  assert.ok(rows.length > 50);
  for (const { call, class: danger, bound, items } of rows) {
    const words = wordsFor(call);
    assert.ok(words, `${call} has no words`);
    assert.equal(words.button !== undefined, danger === "danger", `${call}: a button where a person is asked, and nowhere else`);
    if (items === "bulk") assert.match(words.many ?? "", /\{n\}/, call);
    for (const subject of words.subjects ?? []) assert.ok(bound.some(({ name }) => name === subject), `${call}: ${subject}`);
    assert.ok(bound.length === 0 || (words.subjects ?? []).length > 0, `${call}: what is it done to?`);
  }
});

test("what no person could be told is not described", () => {
  for (const call of ["", "toString", "__proto__", "files.Trash", "keys.remove", "keys.renew", "passkeys.begin", "acme.rotate"]) {
    assert.equal(wordsFor(call), undefined, call);
  }
});

test("sentences count", () => {
  const words = wordsFor("files.trash");
  assert.equal(sentence(words, 1), "Move an item to the trash");
  assert.equal(sentence(words, 3), "Move 3 items to the trash");
});
