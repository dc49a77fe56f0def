// The pages and their modules fit together: a page preloads exactly the modules that its script
// loads, nothing is inline, and each id that a script looks for is in the page.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const web = new URL("../../web/", import.meta.url);
const read = (path) => readFile(new URL(path, web), "utf8");

/** Each page's template, and the module that its script element loads. */
const SCRIPTS = { connect: "connect", keys: "keys", signer: "signer-window" };

/** Every module that this module loads. */
async function loaded(module, seen = new Set()) {
  const text = await read(`js/${module}.js`);
  for (const [, path] of text.matchAll(/^import [^;]*? from "\.\/([^"]+)\.js";/gms)) {
    if (seen.has(path)) continue;
    seen.add(path);
    await loaded(path, seen);
  }
  return seen;
}

for (const [page, entry] of Object.entries(SCRIPTS)) {
  test(`${page}: what is preloaded is what is loaded`, async () => {
    const template = await read(`templates/${page}.html`);
    const preloaded = JSON.parse(/{% for module in (\[.*?\]) %}/.exec(template)[1]);
    assert.deepEqual(preloaded, [...(await loaded(entry))].sort());
  });

  test(`${page}: what its script looks for is there`, async () => {
    const template = await read(`templates/${page}.html`);
    const script = await read(`js/${entry}.js`);
    const wanted = [...script.matchAll(/byId\("([^"]+)"\)/g)].map(([, id]) => id);
    assert.ok(wanted.length > 2);
    for (const id of wanted) assert.ok(template.includes(`id="${id}"`), `${page}: #${id}`);
  });

  test(`${page}: nothing is inline, and nothing comes from elsewhere`, async () => {
    for (const template of [await read(`templates/${page}.html`), await read("templates/base.html")]) {
      assert.doesNotMatch(template, /\son\w+\s*=|\sstyle\s*=|<style|javascript:|https?:\/\//i);
      for (const [script] of template.matchAll(/<script[^]*?<\/script>/g)) assert.match(script, /^<script type="module" src="{{ web }}\/js\/[\w-]+\.js"><\/script>$/);
    }
  });
}

test("the connection page is small over the wire", async () => {
  const modules = await Promise.all([...(await loaded("connect")), "connect"].map((module) => read(`js/${module}.js`)));
  const all = [await read("templates/connect.html"), await read("css/style.css"), ...modules];
  const bytes = all.reduce((sum, text) => sum + gzipSync(text).length, 0);
  assert.ok(bytes < 60_000, `${bytes} bytes`);
});

test("no module makes markup of strings, or runs them", async () => {
  const names = new Set(Object.values(SCRIPTS));
  for (const entry of Object.values(SCRIPTS)) for (const module of await loaded(entry)) names.add(module);
  for (const name of names) {
    const text = await read(`js/${name}.js`);
    assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setTimeout\("|srcdoc|trustedTypes/, name);
    assert.doesNotMatch(text, /localStorage|postMessage\([^)]*"\*"/, name);
  }
});
