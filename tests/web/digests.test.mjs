// The browser's digests are those of keys/tests/vectors/digests.json, like the crate's
// (keys/tests/digests.rs): parameters of every call, with canonical texts by PyPI's rfc8785.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { BadParameters, canonicalItem, digest, projection } from "../../web/js/digest.js";
import { NotCanonical, canonical, spelt } from "../../web/js/jcs.js";
import { readTable } from "../../web/js/table.js";

const vectors = JSON.parse(await readFile(new URL("../../keys/tests/vectors/digests.json", import.meta.url), "utf8"));
const table = readTable(vectors.rows);
const row = (call) => {
  const found = table.get(call);
  assert.ok(found, call);
  return found;
};

test("every row's digests are those of the vectors", async () => {
  let cases = 0;
  for (const { call, cases: ofRow } of vectors.rows) {
    for (const { params, canonical: wanted, digest: wantedDigest } of ofRow) {
      assert.equal(canonicalItem(row(call), params), wanted, call);
      assert.equal(await digest(row(call), params), wantedDigest, call);
      cases += 1;
    }
  }
  assert.ok(cases >= 600, `${cases} cases`);
});

test("what comes by postMessage has the same digests", async () => {
  for (const { call, cases } of vectors.rows) {
    for (const { params, digest: wanted } of cases) {
      assert.equal(await digest(row(call), structuredClone(params)), wanted, call);
    }
  }
});

test("many items, each with its own digest", async () => {
  const { call, params, digests } = vectors.many;
  assert.deepEqual(await Promise.all(params.map((item) => digest(row(call), item))), digests);
});

test("what two ends could read differently is refused", () => {
  assert.ok(vectors.refused.length > 5);
  for (const text of vectors.refused) {
    assert.throws(() => canonical(JSON.parse(text)), NotCanonical, text);
    for (const item of [`{"id":${text}}`, `{"id":"x","conflictPolicy":{"deep":[${text}]}}`, `{"conflictPolicy":${text}}`]) {
      assert.throws(() => canonicalItem(row("files.createFolder"), JSON.parse(item)), BadParameters, item);
    }
  }
  assert.throws(() => canonical({ "\ud800": 1 }), NotCanonical);
  for (const value of [NaN, Infinity, 1n, undefined, () => 1, Symbol("x"), new Date(0), new Map(), [undefined], [, 1]]) {
    assert.throws(() => canonical(value), NotCanonical);
  }
});

test("c06 fractions have the digests of the vectors", async () => {
  assert.ok(vectors.fractions.length > 15);
  for (const { text, canonical: wanted, digest: wantedDigest } of vectors.fractions) {
    const item = { conflictPolicy: JSON.parse(text) };
    assert.equal(canonicalItem(row("files.createFolder"), item), wanted, text);
    assert.equal(await digest(row("files.createFolder"), item), wantedDigest, text);
  }
});

test("c06 numbers are spelt as RFC 8785, appendix B, spells them", async () => {
  const numbers = JSON.parse(await readFile(new URL("../../keys/tests/vectors/numbers.json", import.meta.url), "utf8"));
  assert.ok(numbers.length >= 20);
  for (const [bits, wanted] of numbers) {
    const number = new DataView(Uint8Array.from(bits.match(/../g), (byte) => Number.parseInt(byte, 16)).buffer).getFloat64(0);
    assert.equal(spelt(number), wanted, bits);
    // Integers beyond 53 bits are not signed, in any spelling.
    if (Math.abs(number) < 2 ** 53) assert.equal(canonical(number), wanted, bits);
    else assert.throws(() => canonical(number), NotCanonical, bits);
  }
});

test("nesting has a limit, on this side too", () => {
  const nested = (depth) => (depth === 0 ? 1 : [nested(depth - 1)]);
  assert.equal(canonical(nested(24)), `${"[".repeat(24)}1${"]".repeat(24)}`);
  assert.throws(() => canonical(nested(25)), NotCanonical);
});

test("RFC 8785, section 3.2.3: members in order of UTF-16", () => {
  const value = {
    "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", 1: "One",
    "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis",
  };
  const order = Object.values(JSON.parse(canonical(value)));
  assert.equal(order.length, 7);
  assert.deepEqual(
    [...canonical(value).matchAll(/:"([^"]*)"/g)].map((match) => match[1]),
    [
      "Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis", "Euro Sign", "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh",
    ],
  );
});

test("parameters are exactly those of the row", () => {
  const trash = row("files.trash");
  assert.deepEqual({ ...projection(trash, { id: "/1/x" }) }, { id: "/1/x" });
  assert.deepEqual({ ...projection(trash, {}) }, { id: null });
  assert.deepEqual({ ...projection(trash, { id: undefined }) }, { id: null });
  for (const item of [{ id: "/1/x", also: "/1/y" }, { ID: "/1/x" }, { __proto__: { id: "/1/x" } }, null, "x", [], [1]]) {
    assert.throws(() => projection(trash, item), BadParameters, JSON.stringify(item));
  }
  assert.throws(() => projection(trash, JSON.parse('{"id":"x","__proto__":"y"}')), BadParameters);
});

test("a set is a list of texts, in no order", () => {
  const keys = row("ssh.keyUploaded");
  const check = (value, wanted) => assert.equal(canonicalItem(keys, { keys: value }), `{"keys":${wanted}}`);
  check(["b", "a", "b"], '["a","b","b"]');
  check(["\u{1f600}", "\uffff"], '["\u{1f600}","\uffff"]');
  check(null, "[]");
  check(undefined, "[]");
  for (const value of ["a", 1, {}, [1], [null], [["a"]]]) {
    assert.throws(() => canonicalItem(keys, { keys: value }), BadParameters);
  }
});
