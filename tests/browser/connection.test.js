// The connection, from a click at UCloud to a first signed listing, and the protection of the key
// afterwards.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { TestServer } from "./support/test-server.js";
import { User, finished } from "./support/user.js";

let testServer;
let alice;

before(async () => {
  testServer = await TestServer.start();
  alice = await User.at(testServer, "alice");
});
afterEach(() => assert.deepEqual(alice.browser.complaints(), [], "a page complained"));
after(async () => {
  await alice?.leave();
  await testServer?.end();
});

test("a connection page that was closed goes on where it was", async () => {
  const page = await alice.clickConnect();
  const command = await alice.commandOn(page);
  assert.match(command, /^countersign connect approve \S+$/);
  assert.equal(new URL(page.url()).hash, "", "the ticket does not stay in the address");
  await page.close();
  const again = await alice.browser.tab(testServer.page("connect"));
  assert.equal(await alice.commandOn(again), command);
  await again.reload();
  assert.equal(await alice.commandOn(again), command);
  assert.equal((await alice.approve(command)).ok, true);
  await finished(again);
  await again.close();
});

test("a click at UCloud leads to a signed listing", async () => {
  const page = await alice.clickConnect();
  await page.getByText("The UCloud user alice#1234").waitFor();
  const command = await alice.commandOn(page);
  const approved = await alice.approve(command);
  assert.equal(approved.ok, true, approved.stderr);
  await finished(page);
  const steps = await page.locator(".progress li").evaluateAll((all) => all.map((one) => one.dataset.state));
  assert.deepEqual(steps, ["done", "done", "done", "done", "done"]);
  const { approved: told } = await testServer.must({ do: "told" });
  assert.ok(told.includes("alice#1234"), "Core has been told");

  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
  const [forwarded] = (await testServer.decisions("files.browse")).filter(({ decision }) => decision === "forward");
  assert.equal(forwarded.username, "alice#1234");
  assert.ok((await alice.keys()).some(({ kid }) => kid === forwarded.kid), "signed by a key of this browser");
});

test("what a user does with files is signed and done", async () => {
  await alice.makeFolder("results");
  await alice.file("results").waitFor();
  await alice.rename("results.csv", "run1.csv");
  await alice.file("run1.csv").waitFor();
  await alice.letCore("deposits");
  await alice.openFiles();
  await alice.told("Done.");
  const deposits = (await testServer.must({ do: "decisions" })).decisions.filter(({ decision }) => decision === "deposit");
  assert.equal(deposits.length, 1);
  await alice.makeFolder("deposited");
  await alice.file("deposited").waitFor();
  await alice.letCore("honest");
});

test("the key cannot be taken out of the browser, and nothing of UCloud's sees it", async () => {
  const keys = await alice.keys();
  assert.ok(keys.length > 0);
  for (const key of keys) {
    assert.deepEqual(
      { extractable: key.extractable, exported: key.exported, usages: key.usages },
      { extractable: false, exported: false, usages: ["sign"] },
    );
  }
  const seen = await alice.portal.evaluate(async () => ({
    databases: (await indexedDB.databases()).map(({ name }) => name),
    stored: localStorage.length + sessionStorage.length,
    cookies: document.cookie,
  }));
  assert.deepEqual(seen, { databases: [], stored: 0, cookies: "" });
});

test("the key survives a reload and a restart of the browser", async () => {
  const before = await alice.keys();
  await alice.portal.reload();
  await alice.portal.locator("html[data-ready]").waitFor({ state: "attached" });
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();

  await alice.browser.restart();
  assert.deepEqual(await alice.keys(), before);
  alice.signer = null;
  await alice.openPortal();
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
});

test("a second browser gets a key of its own", async () => {
  const second = await User.at(testServer, "alice");
  try {
    await second.openFiles();
    assert.match(await second.told("That did not work."), /This browser has no key/);
    await second.connect();
    await second.openFiles();
    await second.file("notes.txt").waitFor();
    const [theirs] = await second.keys();
    assert.ok((await alice.keys()).every(({ kid }) => kid !== theirs.kid));
    assert.deepEqual(second.browser.complaints(), []);
  } finally {
    await second.leave();
  }
});

test("v69_s06: a connection begun at the centre asks for the account, and for UCloud's word", async () => {
  const bob = await User.at(testServer, "bob");
  try {
    const { url } = await testServer.must({ do: "start", username: "bob#5678", as: "bob" });
    const page = await bob.browser.tab(url);
    await page.getByText("The account bob at this computing centre").waitFor();
    await page.getByRole("button", { name: "Yes, create a key in this browser" }).click();
    await page.getByRole("heading", { name: "Press Connect at UCloud" }).waitFor();
    const { redirectTo } = await testServer.must({ do: "connect", username: "bob#5678" });
    const fromUcloud = await bob.browser.tab(redirectTo);
    await finished(page);
    await fromUcloud.close();
    await bob.openFiles();
    await bob.file("notes.txt").waitFor();
    assert.deepEqual(bob.browser.complaints(), []);
  } finally {
    await bob.leave();
  }
});

test("a revoked key is shown as revoked, and signs nothing", async () => {
  for (const { kid } of await alice.keys()) {
    const revoked = await testServer.ask({ do: "revoke", kid, as: "alice" });
    assert.equal(revoked.ok, true, revoked.stderr);
  }
  await alice.openFiles();
  assert.match(await alice.told("The centre refused it."), /482 · INTENT_INVALID/);
});
