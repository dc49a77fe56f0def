// Long-running work at the centre, as UCloud's page shows it: its progress, and pausing and
// cancelling it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { faults } from "./support/axe.js";
import { TestServer } from "./support/test-server.js";
import { User } from "./support/user.js";

/**
 * Number of files. A copy of them takes several times the 3.5 s after which it is a task, and
 * reports progress several more times. The files are empty.
 */
const FILES = 450_000;

/** Timeout of a copy of them, in milliseconds. */
const COPY_MAX_MS = 120_000;

let testServer;
let alice;
let home;

before(async () => {
  testServer = await TestServer.start();
  alice = await User.at(testServer, "alice");
  ({ home } = testServer.user("alice"));
  // A folder of a hundred files, and a hundred copies of it.
  const make = `cd "$1" && mkdir -p runs/0 && cd runs && (cd 0 && seq -f %g.csv 100 | xargs touch) &&
    for run in $(seq ${FILES / 100 - 1}); do cp -al 0 $run; done && chown -R --reference=.. .`;
  execFileSync("bash", ["-ec", make, "bash", home]);
  await (await alice.connect()).close();
  await alice.openFiles();
  await alice.file("runs").waitFor();
});
afterEach(() => assert.deepEqual(alice.browser.complaints(), [], "a page complained"));
after(async () => {
  await alice?.leave();
  await testServer?.end();
});

const task = (name) => alice.portal.getByRole("listitem").filter({ has: alice.portal.getByRole("progressbar", { name: new RegExp(`→ /home/${name}$`) }) });
const value = (name) => task(name).locator("progress").evaluate((bar) => bar.value);

/** Waits until this holds of a task's progress. */
async function until(name, holds, limit = COPY_MAX_MS) {
  const begun = performance.now();
  for (;;) {
    const [at, text] = [await value(name), await task(name).locator(".hint").innerText()];
    if (await holds(at, text)) return { at, text };
    assert.ok(performance.now() - begun < limit, `${at}: ${text}`);
    await alice.portal.waitForTimeout(100);
  }
}

/** The number of finished files in a text. */
const done = (text) => Number(/(\d+) of/.exec(text)?.[1]);

/**
 * Pauses a task and repeats until it is paused: UCloud shows a task shortly before the centre knows
 * UCloud's name for it.
 */
function pause(name) {
  const pausing = task(name).getByRole("button", { name: "Pause" });
  return until(name, async (_, text) => {
    if (/^paused · \d+ of /.test(text)) return true;
    if (await pausing.isVisible()) await pausing.click();
    return false;
  });
}

test("a long copy is shown while it goes on, and is whole in the end", async (t) => {
  await alice.copy("runs", "whole");
  await task("whole").waitFor();
  const seen = new Set();
  let looked = false;
  await until("whole", (at, text) => {
    if (at > 0 && at < 100) seen.add(at);
    looked ||= /under way · \d+ of \d+ files/.test(text);
    return /^done/.test(text);
  });
  t.diagnostic(`progress seen, of a hundred: ${[...seen].join(" ")}`);
  assert.ok(seen.size >= 2 && looked, `${[...seen]}`);
  assert.deepEqual([...seen], [...seen].sort((a, b) => a - b), "it never goes back");
  assert.equal(await value("whole"), 100);
  assert.equal(await task("whole").getByRole("button").count(), 0, "there is nothing more to say to it");
  execFileSync("diff", ["--recursive", join(home, "runs"), join(home, "whole")]);
  assert.equal(statSync(join(home, "whole", "7", "100.csv")).uid, statSync(home).uid);
  await alice.openFiles();
  await alice.file("whole").waitFor();
});

test("a long copy is paused, goes on, and is stopped: nothing of it is left", async () => {
  // Enough files that the copy does not end during this test. A name costs as much as a file.
  execFileSync("bash", ["-ec", `cd "$1" && cp -al runs whole/runs`, "bash", home]);
  await alice.copy("whole", "half");
  await task("half").waitFor();
  const { text } = await pause("half");
  // After several of the centre's reports, it has not progressed.
  await alice.portal.waitForTimeout(2_500);
  assert.equal((await until("half", () => true)).text, text);
  assert.deepEqual(await faults(alice.portal), [], "the page with a task");
  await task("half").getByRole("button", { name: "Go on" }).click();
  await until("half", (_, now) => /^under way/.test(now) && done(now) > done(text));
  await task("half").getByRole("button", { name: "Stop" }).click();
  await until("half", (_, text) => /^stopped/.test(text));
  assert.equal(existsSync(join(home, "half")), false);
  assert.deepEqual(readdirSync(home).filter((name) => name.startsWith(".countersign-")), []);
});

test("what Core asks of a task in its user's name is refused", async () => {
  await alice.copy("whole", "third");
  await alice.told("Taken.");
  await task("third").waitFor();
  await alice.letCore("replay");
  await pause("third");
  const told = await alice.told("Refused.");
  assert.match(told, /sent your request a second time/);
  assert.match(told, /482 · INTENT_REPLAYED/);
  await task("third").getByRole("button", { name: "Stop" }).click();
  await until("third", (_, text) => /^stopped/.test(text));
  await alice.letCore("honest");
});
