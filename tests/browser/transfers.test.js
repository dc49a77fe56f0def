// Files and a terminal between the user's browser and the centre, through UCloud's page. The bytes
// that arrive are those that were sent, the shell is the user's own, and Core cannot interfere.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { faults } from "./support/axe.js";
import { TestServer } from "./support/test-server.js";
import { User } from "./support/user.js";

let testServer;
let alice;
/** Alice's home at the centre, and a folder on her own machine. */
let home, desktop;

before(async () => {
  testServer = await TestServer.start();
  alice = await User.at(testServer, "alice");
  home = testServer.user("alice").home;
  desktop = mkdtempSync(join(tmpdir(), "desktop-"));
  await (await alice.connect()).close();
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
});
afterEach(() => assert.deepEqual(alice.browser.complaints(), [], "a page complained"));
after(async () => {
  await alice?.leave();
  await testServer?.end();
  if (desktop) rmSync(desktop, { recursive: true });
});

/** Writes a file on Alice's own machine. */
function write(path, content) {
  const at = join(desktop, path);
  mkdirSync(dirname(at), { recursive: true });
  writeFileSync(at, content);
  return at;
}

/** Every file below a folder. */
const filesIn = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();

const is_real = () => process.env.COUNTERSIGN_ACCOUNTS === "own";

test("a large file goes up in pieces and comes back whole", async (t) => {
  const content = randomBytes(20_000_000);
  const begun = performance.now();
  await alice.upload(write("measured.bin", content));
  assert.match(await alice.told("Done."), /Sealed: only your own process at the centre could read it/);
  t.diagnostic(`20 MB up, in pieces of 1 MiB: ${((performance.now() - begun) / 1000).toFixed(1)} s, with a gateway that was built to be debugged`);
  const arrived = join(home, "measured.bin");
  assert.ok(readFileSync(arrived).equals(content), "what arrived is what was sent");
  assert.equal(statSync(arrived).uid, statSync(home).uid, "it is the user's own");
  const opened = await testServer.decisions("session.open.chunked.upload");
  const pieces = await testServer.decisions("session.continue.chunked.upload");
  assert.deepEqual([opened.length, pieces.length], [1, 19], "each piece was judged");
  assert.equal(opened[0].sealed, true);
  assert.ok([...opened, ...pieces].every(({ decision, username }) => decision === "forward" && username === "alice#1234"));
  await alice.file("measured.bin").waitFor();
  assert.ok((await alice.download("measured.bin")).content.equals(content), "what comes back is what was sent");
  const [download] = await testServer.decisions("session.open.download");
  assert.equal(download.sealed, true);
});

test("an empty file, and a name that is not English", async () => {
  for (const name of ["empty", "målinger af Ærø 100%.txt"]) {
    const content = Buffer.from(name === "empty" ? "" : "æøå\n");
    await alice.upload(write(name, content));
    await alice.file(name).waitFor();
    assert.ok(readFileSync(join(home, name)).equals(content));
    const { content: came, name: kept } = await alice.download(name);
    assert.ok(came.equals(content));
    assert.equal(kept, name);
  }
});

test("a name that is taken stays with whom it belongs to", async () => {
  const before = readFileSync(join(home, "notes.txt"));
  await alice.upload(write("notes.txt", "others"));
  await alice.file("notes(1).txt").waitFor();
  assert.deepEqual(readFileSync(join(home, "notes.txt")), before);
  assert.equal(readFileSync(join(home, "notes(1).txt"), "utf8"), "others");
});

test("requests that are lost on the way are sent again", async () => {
  const content = randomBytes(5_000_000);
  const address = `${testServer.provider}/ucloud/hpc/chunked/upload`;
  let seen = 0;
  await alice.browser.context.route(address, async (route) => {
    if (route.request().method() !== "POST") return route.continue();
    seen += 1;
    // The first request never arrives; the answer to the third is lost.
    if (seen === 1) return route.abort("connectionreset");
    if (seen !== 3) return route.continue();
    await route.fetch({ ignoreHTTPSErrors: true });
    return route.abort("connectionreset");
  });
  await alice.upload(write("lossy.bin", content));
  await alice.told("Done.");
  await alice.browser.context.unroute(address);
  assert.equal(seen, 7, "five pieces, and two of them twice");
  assert.ok(readFileSync(join(home, "lossy.bin")).equals(content));
  assert.ok(alice.browser.complaints().every((complaint) => /ERR_CONNECTION_RESET/.test(complaint)));
});

test("a folder goes up with all that is beneath it, and the second time nothing has to be sent", async () => {
  const tree = {
    "readme.md": "top\n", "empty": "", "runs/2026 æ/a b.csv": "1,2\n", "runs/2026 æ/deep/er/x": "x",
    "runs/large.bin": randomBytes(3_000_000),
  };
  for (const [path, content] of Object.entries(tree)) write(join("thesis", path), content);
  await alice.uploadFolder(join(desktop, "thesis"));
  assert.match(await alice.told("Done."), /5 files sent, 0 were there already, 0 could not be read/);
  const there = join(home, "thesis");
  assert.deepEqual(filesIn(there), Object.keys(tree).sort());
  for (const [path, content] of Object.entries(tree)) assert.ok(readFileSync(join(there, path)).equals(Buffer.from(content)), path);
  execFileSync("diff", ["--recursive", join(desktop, "thesis"), there]);
  assert.ok(filesIn(there).every((path) => statSync(join(there, path)).uid === statSync(home).uid), "all of it is the user's own");
  await alice.uploadFolder(join(desktop, "thesis"));
  assert.match(await alice.told("Done."), /0 files sent, 5 were there already/);
});

test("the folder comes down again as it went up, file by file", async () => {
  await bringDown("thesis", join(desktop, "again"));
  execFileSync("diff", ["--recursive", join(desktop, "thesis"), join(desktop, "again")]);
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
});

/** Downloads the contents of a folder in the list, subfolders included. */
async function bringDown(name, to) {
  mkdirSync(to, { recursive: true });
  await alice.enter(name);
  const [folders, files] = [alice.portal.locator("#files td:first-child button"), alice.portal.locator("#files td:first-child:not(:has(button))")];
  for (const file of await files.allInnerTexts()) writeFileSync(join(to, file), (await alice.download(file)).content);
  for (const folder of await folders.allInnerTexts()) {
    await bringDown(folder.slice(0, -1), join(to, folder));
    await alice.leaveFolder();
  }
}

test("an upload that its user stops leaves nothing", async () => {
  const before = filesIn(home);
  const address = `${testServer.provider}/ucloud/hpc/chunked/upload`;
  let seen = 0;
  let held;
  // The second piece waits, so that there is time for a click.
  const waits = new Promise((resolve) => (held = resolve));
  await alice.browser.context.route(address, async (route) => {
    seen += route.request().method() === "POST" ? 1 : 0;
    if (seen < 2) return route.continue();
    held();
  });
  await alice.upload(write("unwanted.bin", randomBytes(3_000_000)));
  await waits;
  const progress = alice.portal.getByRole("progressbar", { name: "Uploading unwanted.bin" });
  assert.equal(await progress.getAttribute("value"), "1048576");
  assert.equal(await alice.portal.locator("#transfer-figures").innerText(), "1.0 MB of 3.0 MB");
  await alice.portal.getByRole("button", { name: "Stop" }).click();
  await alice.told("Stopped.");
  await alice.browser.context.unroute(address);
  assert.equal(await progress.count(), 0);
  assert.deepEqual(filesIn(home).filter((path) => !/\.countersign-/.test(path)), before);
});

test("Core uses the tokens: refused, the page says so, and the user's transfers go through", async () => {
  const before = (await testServer.must({ do: "decisions" })).decisions.length;
  await alice.letCore("token");
  const content = randomBytes(1000);
  await alice.upload(write("mine.bin", content));
  const uploaded = await alice.told("Refused.");
  assert.match(uploaded, /sent a file of its own with the token for yours/);
  assert.match(uploaded, /482 · INTENT_INVALID/);
  await alice.file("mine.bin").waitFor();
  assert.ok(readFileSync(join(home, "mine.bin")).equals(content));

  const { content: came } = await alice.download("mine.bin");
  assert.ok(came.equals(content));
  const downloaded = await alice.told("Refused.");
  assert.match(downloaded, /opened your download with the token for it/);
  assert.match(downloaded, /482 · INTENT_INVALID/);
  await alice.letCore("honest");

  const made = (await testServer.must({ do: "decisions" })).decisions.slice(before);
  const refused = made.filter(({ decision }) => decision === "refuse").map(({ status, reason }) => [status, reason]);
  // The first one has a record of its own. Others of its kind in the next ten seconds are counted.
  assert.deepEqual(refused[0], [482, "no such key of this user"], "in the log");
  assert.equal(new Set(refused.map(String)).size, 1, String(refused));
});

test("an address is good for one download", async () => {
  const { address } = await alice.download("mine.bin");
  const again = await alice.browser.context.request.get(address, { ignoreHTTPSErrors: true });
  assert.equal(again.status(), 482);
  assert.equal((await again.json()).errorCode, "INTENT_REPLAYED");
});

test("what the account may not write to is refused in words, and nothing is left", async () => {
  const closed = join(home, "closed");
  await alice.makeFolder("closed");
  await alice.file("closed").waitFor();
  chmodSync(closed, 0o500);
  await alice.enter("closed");
  await alice.upload(write("x.bin", "x"));
  assert.match(await alice.told("That did not work."), /closed\/x\.bin: you do not have permission/);
  assert.deepEqual(readdirSync(closed), []);
  chmodSync(closed, 0o700);
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
});

test("a terminal is asked for, runs as the user, and shows what it is told", async (t) => {
  await alice.openTerminal();
  await alice.question.waitFor();
  assert.match(await alice.question.innerText(), /^Home · \/$/m);
  await alice.sayYes();
  await alice.told("Done.");
  const uid = statSync(home).uid;
  await alice.type("echo uid=$(id -u)=");
  await alice.shows(`uid=${uid}=`);
  t.diagnostic(`the shell's uid: ${uid}`);
  if (is_real()) assert.equal(uid, 1101);
  await alice.type("export LC_ALL=C.UTF-8; printf 'gr\\303\\274\\303\\237e, Sm\\303\\270rrebr\\303\\270d\\n'");
  await alice.shows("grüße, Smørrebrød");
  await alice.type("echo ÆØÅ > umlauts.txt; echo written");
  await alice.shows("written");
  assert.equal(readFileSync(join(home, "umlauts.txt"), "utf8"), "ÆØÅ\n");
  await alice.type("stty size");
  await alice.shows("20 80");
  assert.deepEqual(await faults(alice.portal), [], "the page with a terminal");
  await alice.type("exit");
  await alice.shows("[the shell has ended]");
  await alice.portal.getByRole("button", { name: "Close terminal" }).click();
});

test("Core opens the terminal itself: refused, and the user's opens", async () => {
  await alice.letCore("token");
  await alice.openTerminal();
  await alice.question.waitFor();
  await alice.sayYes();
  const told = await alice.told("Refused.");
  assert.match(told, /opened the connection itself/);
  assert.match(told, /482 · INTENT_INVALID/);
  await alice.portal.getByText("What you asked for was done").waitFor();
  await alice.type("echo still=$((40+2))=");
  await alice.shows("still=42=");
  await alice.portal.getByRole("button", { name: "Close terminal" }).click();
  await alice.letCore("honest");
});

test("a terminal ends with its key", async () => {
  const [{ kid }] = await alice.keys();
  await alice.openTerminal();
  await alice.question.waitFor();
  await alice.sayYes();
  await alice.told("Done.");
  await alice.type("echo open");
  await alice.shows("open");
  await testServer.must({ do: "revoke", kid, as: "alice" });
  // The gateway cut the sealed terminal off. Its word is shown as the gateway's.
  await alice.shows("[the connection was cut off. The provider's gateway says: the key does not speak for its user any more]");
});
