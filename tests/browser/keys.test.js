// The page of keys: its content, renewing a key, removing one, and a revoked one.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { PATIENCE_MS } from "./support/browser.js";
import { TestServer } from "./support/test-server.js";
import { User } from "./support/user.js";

let testServer;
let alice;
let other;

before(async () => {
  testServer = await TestServer.start();
  alice = await User.at(testServer, "alice");
  await (await alice.connect()).close();
  other = await User.at(testServer, "alice");
  await (await other.connect()).close();
});
afterEach(() => {
  for (const user of [alice, other]) assert.deepEqual(user.browser.complaints(), [], "a page complained");
});
after(async () => {
  await alice?.leave();
  await other?.leave();
  await testServer?.end();
});

/** The page, once it has loaded all keys. */
async function keysPage(user, count) {
  const page = await user.browser.tab(testServer.page("keys"));
  await page.locator(".card").nth(count - 1).waitFor();
  return page;
}

/** The ids of the active keys of this account, as the centre lists them. */
async function active() {
  const { stdout } = await testServer.must({ do: "run", arguments: ["keys", "list", "--json"], as: "alice" });
  const listed = JSON.parse(stdout);
  return (Array.isArray(listed) ? listed : listed.keys).filter(({ state }) => state === "active").map(({ kid }) => kid).sort();
}

test("it shows this browser's key and the others, with age, end and last use", async () => {
  const page = await keysPage(alice, 2);
  const [mine, theirs] = await page.locator(".card").allInnerTexts();
  assert.match(mine, /this browser/);
  assert.match(theirs, /another browser/);
  for (const card of [mine, theirs]) assert.match(card, /Made[\s\S]*Ends\s+in 6 months[\s\S]*Last used[\s\S]*In words/);
  await page.close();
});

test("renewing: the old key signs the new one, nobody has to approve it, and the old one is gone", { timeout: PATIENCE_MS }, async () => {
  const before = await active();
  const [old] = await alice.keys();
  const page = await keysPage(alice, 2);
  await page.locator(".card", { hasText: "this browser" }).getByRole("button", { name: "Renew" }).click();
  let renewed = old;
  while (renewed.kid === old.kid) [renewed] = await alice.keys();
  assert.deepEqual({ extractable: renewed.extractable, exported: renewed.exported }, { extractable: false, exported: false });
  assert.deepEqual(await active(), [...before.filter((kid) => kid !== old.kid), renewed.kid].sort());
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
  await page.close();
});

test("a key that was revoked at the centre is shown as revoked", async () => {
  const [{ kid }] = await other.keys();
  assert.equal((await testServer.ask({ do: "revoke", kid, as: "alice" })).ok, true);
  const page = await keysPage(alice, 1);
  await page.getByText(/Keys that were removed/).click();
  assert.match((await page.locator("details .card").allInnerTexts()).join("\n"), /revoked/);
  const theirs = await other.browser.tab(testServer.page("keys"));
  await theirs.getByText("does not accept this browser's key").waitFor();
  await other.openFiles();
  assert.match(await other.told("The centre refused it."), /482 · INTENT_INVALID/);
  await theirs.close();
  await page.close();
});

test("removing this browser's key asks first, and ends it everywhere", async () => {
  const page = await keysPage(alice, 1);
  const remove = page.locator(".card", { hasText: "this browser" }).getByRole("button", { name: "Remove" });
  await remove.click();
  await page.getByRole("dialog").getByRole("button", { name: "Keep it" }).click();
  assert.equal((await active()).length, 1);
  await remove.click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await page.getByText("This browser has no key").waitFor();
  assert.deepEqual(await active(), []);
  assert.deepEqual(await alice.keys(), []);
  await page.close();
});
