// The extension's packages: reproducible, with exactly the permissions and the policy that
// docs/extension.md states, no code from elsewhere, and every text in every language.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { scriptsFor } from "../../web/extension/worker/content-scripts.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const made = [];

/** Builds both packages. Returns their folder. */
function build(site) {
  const folder = mkdtempSync(join(tmpdir(), "countersign-package-"));
  made.push(folder);
  const more = [];
  if (site !== undefined) {
    writeFileSync(join(folder, "site.json"), JSON.stringify(site));
    more.push("--site", join(folder, "site.json"));
  }
  execFileSync(process.execPath, [join(ROOT, "web/extension/build"), "--to", folder, ...more]);
  return folder;
}
after(() => made.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

const plain = build();
const manifest = (folder, browser) => JSON.parse(readFileSync(join(folder, browser, "manifest.json"), "utf8"));
const read = (path) => readFileSync(join(plain, "chromium", path), "utf8");

/** Every file below a folder. */
function files(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : [path];
  });
}
const all = files(join(plain, "chromium")).map((path) => relative(join(plain, "chromium"), path)).sort();

test("extension: the same sources give the same bytes", () => {
  const again = build();
  for (const name of ["countersign-chromium.zip", "countersign-firefox.zip"]) {
    const [first, second] = [plain, again].map((folder) => readFileSync(join(folder, name)));
    assert.ok(first.equals(second), name);
    assert.ok(first.length > 100_000 && first.subarray(0, 4).equals(Buffer.from("PK\x03\x04", "latin1")), name);
  }
});

test("extension: its permissions are those that the documentation states, and no more", () => {
  for (const browser of ["chromium", "firefox"]) {
    const { permissions, optional_permissions, host_permissions, optional_host_permissions, web_accessible_resources, content_scripts } = manifest(plain, browser);
    assert.deepEqual(permissions, ["scripting", "storage"], browser);
    assert.deepEqual(optional_host_permissions, ["https://*/*"], browser);
    for (const none of [optional_permissions, host_permissions, web_accessible_resources, content_scripts]) assert.equal(none, undefined, browser);
  }
  const stated = readFileSync(join(ROOT, "docs/extension.md"), "utf8");
  for (const permission of ["scripting", "storage", "optional_host_permissions"]) assert.match(stated, new RegExp(`^\\| \`${permission}\``, "m"));
});

test("extension: its pages load and contact nothing else", () => {
  const { content_security_policy } = manifest(plain, "firefox");
  assert.deepEqual(content_security_policy, manifest(plain, "chromium").content_security_policy);
  assert.deepEqual(content_security_policy.extension_pages.split("; "), [
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self' https: http://127.0.0.1:* http://localhost:*", "base-uri 'none'",
    "form-action 'none'", "frame-ancestors 'none'",
  ]);
  assert.ok(readFileSync(join(ROOT, "docs/extension.md"), "utf8").includes(content_security_policy.extension_pages));
});

test("extension: a site's own package may work at that site, and asks for no other", () => {
  const folder = build({
    providers: [{ address: "https://hpc.example.org:8443/ucloud/hpc", ucloud: "https://cloud.example.org" }],
    update: { chromium: "https://hpc.example.org/chromium.xml", firefox: "https://hpc.example.org/firefox.json" }, id: "countersign@example.org",
  });
  const [chromium, firefox] = ["chromium", "firefox"].map((browser) => manifest(folder, browser));
  const hosts = ["https://hpc.example.org/*", "https://cloud.example.org/*"];
  assert.deepEqual([chromium.host_permissions, firefox.host_permissions], [hosts, hosts]);
  assert.equal(chromium.update_url, "https://hpc.example.org/chromium.xml");
  assert.deepEqual(firefox.browser_specific_settings.gecko.update_url, "https://hpc.example.org/firefox.json");
  assert.equal(firefox.browser_specific_settings.gecko.id, "countersign@example.org");
});

test("extension: no other extension can send it messages, and no page can open its pages", () => {
  assert.deepEqual(manifest(plain, "chromium").externally_connectable, { ids: [] });
  const scripts = all.filter((path) => path.endsWith(".js")).map(read).join("\n");
  assert.doesNotMatch(scripts, /onMessageExternal|onConnectExternal|onConnect\b/);
});

test("extension: no code comes from elsewhere, and no text becomes markup", () => {
  for (const path of all.filter((path) => path.endsWith(".js"))) {
    assert.doesNotMatch(read(path), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|importScripts|createElement\("script/, path);
    for (const [, from, later] of read(path).matchAll(/^(?:import|export)\s[^;]*?from "([^"]+)"|\bimport\("([^"]+)"/gms)) assert.match(from ?? later, /^\.{1,2}\//, `${path} imports ${from}`);
  }
  for (const path of all.filter((path) => path.endsWith(".html"))) {
    assert.doesNotMatch(read(path), /\son\w+\s*=|\sstyle\s*=|<style|javascript:|https?:\/\//i, path);
    assert.equal([...read(path).matchAll(/<script/g)].length, 1, path);
  }
});

test("extension: every file that a file names is in the package", () => {
  const { background, action, options_ui, icons, storage } = manifest(plain, "chromium");
  const named = [background.service_worker, action.default_popup, options_ui.page, ...Object.values(icons), storage.managed_schema];
  for (const path of all.filter((path) => path.endsWith(".js"))) {
    for (const [, to] of read(path).matchAll(/"(extension\/[\w./-]+\.(?:js|html|json))"/g)) named.push(to);
  }
  assert.ok(named.length > 10);
  for (const path of named) assert.ok(all.includes(path), path);
});

test("extension: every language has every text, and no other", () => {
  const languages = all.filter((path) => path.startsWith("_locales/"));
  assert.deepEqual(languages, ["_locales/da/messages.json", "_locales/en/messages.json"]);
  const [da, en] = languages.map((path) => JSON.parse(read(path)));
  assert.deepEqual(Object.keys(da), Object.keys(en));
  for (const [key, { message }] of Object.entries(en)) {
    const places = (text) => (text.match(/\$\d/g) ?? []).sort();
    assert.deepEqual(places(da[key].message), places(message), key);
    if (key !== "name") assert.notEqual(da[key].message, message, key);
  }
  const used = all.filter((path) => path.startsWith("extension/")).map((path) => read(path)).join("\n") + JSON.stringify(manifest(plain, "chromium"));
  for (const key of Object.keys(en)) assert.match(used, new RegExp(`["_]${key}["_]`), key);
});

test("extension: its content scripts are in the package, and need no module", () => {
  const scripts = scriptsFor([{ id: "hpc", origin: "https://hpc.example.org", ucloud: "https://cloud.example.org", by: "user" }]).flatMap(({ js }) => js);
  assert.ok(scripts.length > 8);
  for (const path of scripts) {
    assert.ok(all.includes(path), path);
    assert.doesNotMatch(read(path), /^(?:import|export)\b/m, path);
  }
});

test("extension: its table of calls is what the program prints", () => {
  // tests/commands.rs compares the program's output with this file.
  assert.equal(read("extension/calls.json"), readFileSync(join(ROOT, "keys/tests/vectors/calls.json"), "utf8"));
});

test("extension: the hook holds exactly what the table of calls can sign or must explain", async () => {
  const rows = JSON.parse(readFileSync(join(ROOT, "keys/tests/vectors/calls.json"), "utf8"));
  const user = rows.flatMap((row) => row.user ?? []).filter(({ effect }) => effect !== "core");
  const http = user.filter(({ transport }) => transport === "http").map(({ method, path }) => `${method} ${path}`).sort();
  const sockets = [...new Set(user.filter(({ transport }) => transport === "websocket").map(({ path }) => path))];
  const hook = read("extension/page/hook-requests.js");
  const list = hook.slice(hook.indexOf("const HELD"), hook.indexOf("const WITH_TOKENS"));
  const held = [...list.matchAll(/\["(GET|POST|DELETE)", "([^"]+)"\]/g)].flatMap(([, method, paths]) => paths.split(" ").map((path) => `${method} /api/${path}`));
  assert.deepEqual(held.sort(), http);
  const named = JSON.parse(/const SOCKETS = (\[.*?\]);/.exec(read("extension/page/hook-sockets.js"))[1]);
  assert.deepEqual(sockets.filter((path) => !path.startsWith("/api/hpc/apps/ucx/")).sort(), named.sort());
});
