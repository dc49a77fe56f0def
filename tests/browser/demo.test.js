// The page that ./demo serves, in a browser that trusts no special certificate: a newcomer's first
// two minutes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { Browser } from "./support/browser.js";
import { Extended } from "./support/extension.js";
import { PlainUcloud } from "./support/plain-ucloud.js";
import { User, finished } from "./support/user.js";

let demo;
let portal;

before(async () => {
  const { COUNTERSIGN_PORTAL, COUNTERSIGN_BIN, COUNTERSIGN_ACCOUNTS } = process.env;
  demo = spawn(COUNTERSIGN_PORTAL, ["demo", "--bin", COUNTERSIGN_BIN, "--accounts", COUNTERSIGN_ACCOUNTS]);
  for await (const line of createInterface({ input: demo.stdout })) {
    portal = /open (http:\S+) in a browser/i.exec(line)?.[1];
    if (portal) break;
  }
});
after(async () => {
  const gone = new Promise((resolve) => demo.once("exit", resolve));
  demo.kill("SIGINT");
  assert.equal(await gone, 0);
});

test("n03_n04 connect, open the files, let UCloud cheat", async () => {
  assert.ok(portal, "the demo prints the page's address");
  const { users } = await (await fetch(`${portal}/site.json`)).json();
  const testServer = { portal, user: (account) => users.find((user) => user.account === account) };
  const alice = new User(testServer, "alice", await Browser.open(null));
  try {
    await alice.openPortal();
    // Before any action, no text claims one.
    assert.match(await alice.portal.locator("#connected").innerText(), /not connected yet/);
    const log = alice.portal.frameLocator("#desk").locator("#decisions li", { hasText: "#" });
    assert.equal(await log.count(), 0, "no decision about any user");
    const page = await alice.clickConnect();
    const command = await alice.commandOn(page);
    // The real command asks, and shows the page's words.
    const words = await page.locator("#words li").allInnerTexts();
    assert.equal(words.length, 6);
    const asked = (await alice.approveAtDesk(command)).replaceAll(/\s+/g, " ");
    assert.ok(asked.includes(words.join(" ")), `${words}: ${asked}`);
    await finished(page);
    await alice.openFiles();
    await alice.file("notes.txt").waitFor();
    await alice.letCore("path");
    await alice.makeFolder("mine");
    const cheated = await alice.told("Refused.");
    assert.match(cheated, /482 · INTENT_INVALID/);
    assert.match(cheated, /What you asked for was not done: make the folder mine/);
    const desk = alice.portal.frameLocator("#desk");
    await desk.locator("li.bad", { hasText: "files.createFolder" }).first().waitFor();
    await alice.letCore("replay");
    await alice.makeFolder("mine");
    assert.match(await alice.told("Refused."), /What you asked for was done: make the folder mine/);
    await alice.openTerminal();
    await alice.sayYes();
    await alice.portal.locator(".outcome", { hasText: "was done" }).waitFor();
    await alice.type("echo one''two");
    await alice.shows("onetwo");
    assert.deepEqual(alice.browser.complaints(), []);
  } finally {
    await alice.leave();
  }
});

test("n03 with the extension: a UCloud that knows nothing of signatures, connected and signed for", async () => {
  const { users, provider } = await (await fetch(`${portal}/site.json`)).json();
  const testServer = { portal, user: (account) => users.find((user) => user.account === account) };
  const extended = await Extended.open([], null, [{ address: `${provider.origin}/ucloud/${provider.id}`, ucloud: portal }]);
  try {
    const bob = testServer.user("bob").username;
    const { page } = await PlainUcloud.open(testServer, extended.browser, bob);
    await page.getByRole("button", { name: "Connect to providers" }).click();
    await page.getByRole("button", { name: "Connect to hpc" }).click();
    await page.waitForURL((url) => url.protocol === "chrome-extension:");
    await page.locator("#command:not(:empty)").waitFor();
    assert.match(await page.locator("#command").innerText(), /^countersign connect approve /);
  } finally {
    await extended.close();
  }
});
