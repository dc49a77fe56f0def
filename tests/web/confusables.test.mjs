// Confusable characters are spelt out and have hints; ordinary names have none.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hints, pieces, twins } from "../../web/js/confusables.js";

const shown = (text) => pieces(text).map(({ text, marked }) => (marked ? `[${text}]` : text)).join("");

test("what does not show is named", () => {
  const check = (text, want) => assert.equal(shown(text), want);
  check("results (2).csv", "results (2).csv");
  check("", "");
  check("æøå 日本語 عربي 😀.txt", "æøå 日本語 عربي 😀.txt");
  check("photo\u202egnp.exe", "photo[U+202E right-to-left override]gnp.exe");
  check("in\u200bvoice", "in[U+200B zero-width space]voice");
  check("a\u00a0b", "a[U+00A0 no-break space]b");
  check(" a ", "[space]a[space]");
  check("a\nb\u0000", "a[U+000A line feed]b[U+0000 nul]");
  check("x\u{e0041}", "x[U+E0041]");
  check("a\u{10feff}\u{10fe80}", "a[byte FF][byte 80]");
  check("a\u2044b", "a[U+2044]b");
  check("\ud800", "\ud800");
});

test("ordinary names have no hint", () => {
  for (const text of [
    "/1/Jobs/results (2).csv", "/55/Ærø/große Änderung.txt", "/1/データ/結果.csv", "/1/Москва/отчёт.pdf", "/1/Αθήνα", "/1/عربي/ملف", "/1/עברית",
    "/1/한국어", "ssh-ed25519 AAAAC3NzaC1 alice@laptop", "#!/bin/sh\n\techo ok\n", "/1/a-b_c.d", "/1/😀",
  ]) {
    assert.deepEqual(hints(text), [], text);
  }
});

test("what fools the eye has one", () => {
  const check = (text, pattern) => assert.ok(hints(text).some((hint) => pattern.test(hint)), `${text}: ${hints(text)}`);
  check("/1/photo\u202egnp.exe", /direction/);
  check("/1/\u2067x\u2069", /direction/);
  check("/1/in\u200bvoice", /do not show/);
  check("/1/a\nb", /do not show/);
  check("a\u0007b", /do not show/);
  check("/1/a\u00a0b", /unusual kind/);
  check("/1/a /b", /at an end/);
  check("/1/a  b", /several in a row/);
  check("/1/a\u2215b", /slash/);
  check("/1/\uff0e\uff0e/x", /slash or a dot/);
  check("/1/p\u0430ypal", /several alphabets/);
  check("/1/\u0440\u0430\u0443", /another alphabet/);
  check("/1/\uff41bc", /unusual form/);
  check("/1/\ufb01le", /unusual form/);
  check("/1/e\u0301", /composed/);
  check("/1/a\u{10feff}", /not text/);
});

test("names that can be taken for one another are found", () => {
  const check = (texts, want) => assert.deepEqual([...twins(texts)], want);
  check(["/1/a", "/1/b", "/1/a"], []);
  check(["/1/file1", "/1/fileI", "/1/other"], ["/1/file1", "/1/fileI"]);
  check(["/1/admin", "/1/\u0430dmin"], ["/1/admin", "/1/\u0430dmin"]);
  check(["/1/a b", "/1/a\u200bb", "/1/ab"], ["/1/a b", "/1/a\u200bb", "/1/ab"]);
  check(["/1/e\u0301", "/1/\u00e9"], ["/1/e\u0301", "/1/\u00e9"]);
  check(["/1/modern", "/1/modem"], ["/1/modern", "/1/modem"]);
  check(["/1/2024", "/1/2025", "/1/Data", "/1/data"], []);
  assert.match(hints("/1/file1", twins(["/1/file1", "/1/fileI"])).join(), /another name/);
});

test("v75_s14: every character of the shared vectors is shown or named as they say", () => {
  const vectors = JSON.parse(readFileSync(new URL("../../keys/tests/vectors/shown.json", import.meta.url), "utf8"));
  const all = (/** @type {string} */ name) => vectors[name].flatMap(([first, last]) => {
    const [from, to] = [Number.parseInt(first, 16), Number.parseInt(last, 16)];
    return Array.from({ length: to - from + 1 }, (_, at) => String.fromCodePoint(from + at));
  });
  for (const character of all("invisible")) {
    const [, second] = pieces(`a${character}b`);
    assert.ok(second?.marked && second.text !== character, `U+${character.codePointAt(0)?.toString(16)}`);
  }
  // Each has an element of its own that isolates its direction (display.js).
  for (const character of [...all("rightToLeft"), ...all("shown").slice(1)]) {
    assert.deepEqual(pieces(`a${character}b`), [{ text: `a${character}b`, marked: false }], character);
  }
});
