// The extension's texts in another language: the shared modules' sentences, and the pages that are the
// provider's, all have a translation; nothing else does.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { afterEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { sentence, wordsFor } from "../../web/js/call-descriptions.js";
import { hints } from "../../web/js/confusables.js";
import { toldOf } from "../../web/js/errors.js";
import { setLanguage, translated } from "../../web/js/language.js";
import { duration, fromNow, onDay } from "../../web/js/relative-time.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const read = (path) => readFileSync(`${ROOT}${path}`, "utf8");
const LANGUAGES = readdirSync(`${ROOT}web/extension/words`).map((name) => name.replace(/\.json$/, ""));
const dictionaryOf = (language) => JSON.parse(read(`web/extension/words/${language}.json`));
/** Names, which are the same in every language. */
const NAMES = ["Connect", "UCloud"];
afterEach(() => setLanguage("en-GB", {}));

/** Every sentence that the pages and the worker can show. */
function sentences() {
  const all = new Set();
  const add = (text) => void (/\p{L}{2}|^\p{L}$/u.test(text) && !NAMES.includes(text) && all.add(text));
  // A dictionary that only notes what is looked up.
  const asked = new Proxy({}, { getOwnPropertyDescriptor: (_target, name) => void add(name) });
  setLanguage("en-GB", asked);
  for (const { call } of JSON.parse(read("keys/tests/vectors/calls.json"))) if (wordsFor(call) !== undefined) sentence(wordsFor(call), [{}, {}]);
  for (const kind of [...read("web/js/errors.js").matchAll(/^  (?:"([\w-]+)"|(\w+)): {/gm)].map(([, quoted, plain]) => quoted ?? plain)) toldOf(kind);
  setLanguage("en-GB", {});
  for (const name of ["approval", "call-descriptions", "confusables", "connect", "display", "errors", "keys", "passkeys", "places", "relative-time", "review-script", "user-side"]) {
    for (const [, argument] of read(`web/js/${name}.js`).matchAll(/translated\(((?:[^()]|\([^()]*\))*)\)/g)) {
      for (const [, text] of argument.matchAll(/"((?:[^"\\]|\\.)+)"/g)) add(text);
    }
  }
  // Texts in a list, which are translated where they are shown.
  for (const [name, list] of [["call-descriptions", /const LABELS = {([^]*?)};/], ["places", /const PLACES = \[([^]*?)\];/], ["places", /const OTHERWISE = {([^]*?)};/], ["table", /const DIFFERENCES = {([^]*?)};/], ["connect", /const heard = ([^]*?);/]]) {
    for (const [, text] of list.exec(read(`web/js/${name}.js`))[1].matchAll(/(?:[:,?] )"([^"]+)"/g)) add(name === "table" ? `${text}.` : text);
  }
  for (const name of ["connect", "keys"]) {
    const main = /{% block main %}\n([^]*?){% endblock %}/.exec(read(`web/templates/${name}.html`))[1];
    const shown = main.replace(/<noscript>[^]*?<\/noscript>|<code[^]*?<\/code>/g, "<code>").replaceAll(/{{[^}]*}}/g, "");
    for (const part of shown.split(/<[^>]*>/)) add(part.replaceAll(/\s+/g, " ").trim());
  }
  for (const text of [...read("web/js/keys.js").matchAll(/"(this browser|another browser|not accepted)"/g)].map(([, text]) => text)) add(text);
  return all;
}

test("extension: every sentence has a translation in every language", () => {
  const wanted = sentences();
  assert.ok(wanted.size > 300, `${wanted.size}`);
  for (const language of LANGUAGES) {
    const dictionary = dictionaryOf(language);
    assert.deepEqual([...wanted].filter((text) => !Object.hasOwn(dictionary, text)), [], language);
  }
});

test("extension: a translation has the places of its sentence, and says something else", () => {
  const places = (text) => (text.match(/\{\w+\}/g) ?? []).sort();
  for (const language of LANGUAGES) {
    for (const [english, other] of Object.entries(dictionaryOf(language))) {
      assert.deepEqual(places(other), places(english), english);
      assert.ok(/^\{/.test(english) || other !== english, english);
    }
  }
});

test("extension: descriptions are in the language of the browser, values as they are", () => {
  setLanguage("da", dictionaryOf("da"));
  const words = wordsFor("files.trash");
  assert.deepEqual([words.button, sentence(words, [{ id: "/1/a" }]), sentence(words, [{}, {}])], ["Flyt til papirkurven", "Flyt et element til papirkurven", "Flyt 2 elementer til papirkurven"]);
  assert.deepEqual(words.subjects, ["id"]);
  assert.equal(wordsFor("site.own"), undefined);
  assert.match(hints("a\u202eb")[0], /læseretningen/);
  assert.equal(toldOf("expired").title, "Dette link er udløbet");
  assert.equal(toldOf("expired").again, true);
  assert.equal(fromNow(0, 3 * 86_400), "for 3 dage siden");
  assert.equal(duration(240), "4 minutter");
  assert.match(onDay(1_800_000_000), /januar 2027/);
});

test("a value is never looked up or read as a place", () => {
  setLanguage("da", { "Folder": "Mappe", "The provider says: {why}.": "Udbyderen siger: {why}." });
  assert.equal(translated("The provider says: {why}.", { why: "{why} Folder" }), "Udbyderen siger: {why} Folder.");
  assert.equal(translated("toString"), "toString");
});
