// Every call that UCloud can have signed has a description, and the description fits its row.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { readTable } from "../../web/js/table.js";
import { sentence, wordsFor, wordsOf } from "../../web/js/call-descriptions.js";

const vectors = JSON.parse(await readFile(new URL("../../keys/tests/vectors/digests.json", import.meta.url), "utf8"));
const rows = [...readTable(vectors.rows).values()].filter(({ call }) => !/^((pass)?keys|drives)\.|^jobs\.preview$/.test(call));

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
  assert.equal(sentence(words, [{ id: "/1/a" }]), "Move an item to the trash");
  assert.equal(sentence(words, [{}, {}, {}]), "Move 3 items to the trash");
});

const OWN = {
  call: "acme.rotate", items: "bulk", class: "danger", bound: [{ name: "id" }, { name: "size" }],
  words: { one: "Make the key {id} {size} bytes long", many: "Change {n} keys", button: "Change", note: "The old key ends.", subjects: ["id"] },
};

test("n19 a site's own row is described by the words that it brings", () => {
  const row = readTable([OWN]).get("acme.rotate");
  const words = wordsOf(row);
  const check = (item, want) => assert.equal(sentence(words, [item]), want);
  check({ id: "main", size: 32 }, "Make the key “main” “32” bytes long");
  check({ id: "main", size: null }, "Make the key “main” (not given) bytes long");
  check({ id: "{size}", size: "{id}" }, "Make the key “{size}” “{id}” bytes long");
  check({ id: "a\u202eb", size: 1 }, "Make the key “a⟨U+202E right-to-left override⟩b” “1” bytes long");
  check({ id: "x".repeat(500), size: 1 }, `Make the key “${"x".repeat(60)}…” “1” bytes long`);
  check({ id: ["a"], size: { b: 1 } }, "Make the key “[\"a\"]” “{\"b\":1}” bytes long");
  assert.equal(sentence(words, [{}, {}]), "Change 2 keys");
  assert.equal(sentence({ one: "Rotate {id}" }, [{}, {}]), "Rotate …, 2 times");
});

test("n19 no site's words stand for a standard call's, and a row without words has none", () => {
  const trash = { ...OWN, call: "files.trash", bound: [{ name: "id" }], words: { one: "Look at a file" } };
  assert.equal(wordsOf(readTable([trash]).get("files.trash")).one, "Move an item to the trash");
  const { words: _, ...silent } = OWN;
  assert.equal(wordsOf(readTable([silent]).get("acme.rotate")), undefined);
});

test("n19 words that this code does not know are no table", () => {
  for (const words of [{}, { one: 7 }, { one: "x", many: 7 }, { one: "x", subjects: ["other"] }, { one: "x", subjects: "id" }, { one: "x", also: "y" }]) {
    assert.throws(() => readTable([{ ...OWN, words }]), JSON.stringify(words));
  }
});
