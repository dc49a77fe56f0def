// The page that ./demo serves, in a browser that was told of no certificate: a newcomer's first two minutes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { Browser } from "./support/browser.js";
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

test("connect, open the files, let UCloud cheat", async () => {
  assert.ok(portal, "the demo prints the page's address");
  const { users } = await (await fetch(`${portal}/site.json`)).json();
  const stage = { portal, user: (account) => users.find((user) => user.account === account) };
  const alice = new User(stage, "alice", await Browser.open(null));
  try {
    await alice.openPortal();
    const page = await alice.clickConnect();
    const command = await alice.commandOn(page);
    await alice.lookAtPortal();
    const desk = alice.portal.frameLocator("#desk");
    await desk.getByLabel("alice$").fill(command);
    await desk.getByRole("button", { name: "Run" }).click();
    await finished(page);
    await alice.openFiles();
    await alice.file("notes.txt").waitFor();
    await alice.letCore("path");
    await alice.makeFolder("mine");
    assert.match(await alice.told("Refused."), /482 · INTENT_INVALID/);
    await desk.locator("li.bad", { hasText: "files.createFolder" }).first().waitFor();
    assert.deepEqual(alice.browser.complaints(), []);
  } finally {
    await alice.leave();
  }
});
