// A taken-over UCloud page asks the signer for requests that install a key or change a program. A
// person is asked each time, and no input that was meant for something else approves them. The
// whole chain: browser, signer, Core, gateway and the user's own instance.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { TestServer } from "./support/test-server.js";
import { User } from "./support/user.js";

let testServer;
let alice;

before(async () => {
  testServer = await TestServer.start();
  alice = await User.at(testServer, "alice");
  await (await alice.connect()).close();
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
});
afterEach(() => assert.deepEqual(alice.browser.complaints(), [], "a page complained"));
after(async () => {
  await alice?.leave();
  await testServer?.end();
});

/**
 * Starts a request to the signer as any script of UCloud's page could, and does not wait for it.
 */
function begin(request) {
  return alice.portal.evaluate(async (request) => {
    const { connectSigner } = await import("/sdk/index.js");
    const { provider } = await (await fetch("/site.json")).json();
    const signer = connectSigner(provider.origin, { provider: provider.id, username: "alice#1234" });
    globalThis.answer = null;
    globalThis.waiting = signer[request.type ?? "sign"]({ project: null, ...request }).then(
      (signed) => (globalThis.answer = { claims: signed === undefined ? null : JSON.parse(atob(signed.jws.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))) }),
      ({ code }) => (globalThis.answer = { code }),
    );
  }, request);
}
const answered = () => alice.portal.evaluate(() => globalThis.answer);
const outcome = () => alice.portal.evaluate(() => globalThis.waiting.then(() => globalThis.answer));

/** Each request, and a text that the question must contain. */
const CASES = [
  ["files.createUpload", { id: "/home/.ssh/authorized_keys", type: "FILE", conflictPolicy: "RENAME" }, /who can log in as you/],
  ["files.createUpload", { id: "/home/.ssh/authorized_keys", type: "FILE", conflictPolicy: "REPLACE" }, /who can log in as you[\s\S]*replaced/],
  ["files.createFolder", { id: "/home/.ssh", conflictPolicy: "RENAME" }, /who can log in as you/],
  ["files.move", { oldId: "/home/.bashrc", newId: "/home/old", conflictPolicy: "RENAME" }, /runs when you log in/],
  ["files.move", { oldId: "/home/notes.txt", newId: "/home/.bashrc", conflictPolicy: "RENAME" }, /runs when you log in/],
  ["files.copy", { oldId: "/home/notes.txt", newId: "/home/.profile", conflictPolicy: "RENAME" }, /runs when you log in/],
  ["files.move", { oldId: "/home/.config/countersign/authorized_keys", newId: "/home/x", conflictPolicy: "RENAME" }, /whose keys can act as you/],
  ["files.createUpload", { id: "/home/.config/countersign/authorized_keys", type: "FILE" }, /whose keys can act as you/],
  ["files.createUpload", { id: "/home/bin/ls", type: "FILE" }, /runs when its name is typed/],
  ["files.createUpload", { id: "/home/BIN/ls", type: "FILE" }, /runs when its name is typed/],
  ["files.createUpload", { id: "/home/.config/autostart/x.desktop", type: "FILE" }, /start automatically when you log in/],
  ["files.createUpload", { id: "/home/x.desktop", type: "FILE" }, /launcher/],
  ["files.createUpload", { id: "/home/public_html/x.php", type: "FILE" }, /web server/],
  ["files.createUpload", { id: "/home//.ssh/authorized_keys", type: "FILE" }, /who can log in as you/],
  ["files.createUpload", { id: "/home/./.ssh/authorized_keys", type: "FILE" }, /who can log in as you/],
  ["files.createUpload", { id: "/home/x/../.ssh/authorized_keys", type: "FILE" }, /who can log in as you/],
  ["files.createUpload", { id: "/home/%2essh/authorized_keys", type: "FILE" }, /hidden place/],
  ["files.createUpload", { id: "/home/.s\u200dsh/authorized_keys", type: "FILE" }, /hidden place/],
  ["files.createUpload", { id: "/home/.config", type: "FOLDER" }, /files are not listed here/],
  ["files.createUpload", { id: ["/home/.ssh/authorized_keys"], type: "FILE" }, /Programs start from this place/],
  ["files.createUpload", { type: "FILE" }, /Programs start from this place/],
];

for (const [call, params, says] of CASES) {
  test(`v66_s02 ${call} ${JSON.stringify(params)}: the signer asks, and a no signs nothing`, async () => {
    await begin({ call, items: [params] });
    await alice.question.waitFor();
    assert.match(await alice.question.innerText(), says);
    assert.equal(await answered(), null, "nothing was signed meanwhile");
    await alice.sayNo();
    assert.deepEqual(await outcome(), { code: "refused" });
  });
}

test("v66_s02 one hidden file among 999 harmless ones is asked for, and stands first", async () => {
  const items = Array.from({ length: 999 }, (_, number) => ({ id: `/home/folder ${number}`, conflictPolicy: "RENAME" }));
  items.splice(731, 0, { id: "/home/.ssh", conflictPolicy: "RENAME" });
  await begin({ call: "files.createFolder", items, type: "deposit" });
  await alice.question.waitFor();
  const shown = await alice.question.locator(".items > li").first().innerText();
  assert.match(shown, /\.ssh/);
  assert.match(shown, /who can log in as you/);
  assert.match(await alice.question.innerText(), /One of these items can start a program as you/);
  await alice.sayNo();
  assert.deepEqual(await outcome(), { code: "refused" });
});

test("v66_s02 what is harmless is signed without a question, and its intent does not say that a person was asked", async () => {
  await begin({ call: "files.createUpload", items: [{ id: "/home/thesis.pdf", type: "FILE", conflictPolicy: "RENAME" }] });
  const { claims } = await outcome();
  assert.equal("asked" in claims, false);
  assert.equal(await alice.question.count(), 0);
});

test("v66_s02 what a person approved is done, by Core, gateway and instance", async () => {
  await alice.makeFolder(".plans");
  await alice.question.waitFor();
  await alice.sayYes();
  await alice.told("Done.");
});

test("s16 the question names drives as the provider does", async () => {
  await begin({ call: "files.trash", items: [{ id: "/home/notes.txt" }] });
  await alice.question.waitFor();
  const asked = await alice.question.innerText();
  assert.match(asked, /Home · \/notes\.txt/);
  assert.doesNotMatch(asked, /\/home\/notes/);
  await alice.sayNo();
  await outcome();
  await begin({ call: "files.trash", items: [{ id: "/9711/notes.txt" }] });
  await alice.question.waitFor();
  assert.match(await alice.question.innerText(), /A drive that this provider does not know \(9711\) · \/notes\.txt/);
  await alice.sayNo();
  await outcome();
});

test("v68_s07 clicks every 130 ms at one place approve nothing, and a second after the last the button works", async () => {
  await begin({ call: "files.trash", items: [{ id: "/home/notes.txt" }] });
  await alice.question.waitFor();
  await alice.signer.bringToFront();
  const button = alice.question.locator("button.danger");
  const { x, y, width, height } = await button.boundingBox();
  const begun = Date.now();
  while (Date.now() - begun < 3_000) {
    await alice.signer.mouse.click(x + width / 2, y + height / 2);
    assert.equal(await answered(), null, `approved after ${Date.now() - begun} ms`);
    await alice.signer.waitForTimeout(130);
  }
  assert.equal(await alice.question.count(), 1);
  const last = Date.now();
  await alice.signer.locator("section.question button.danger:enabled").waitFor();
  assert.ok(Date.now() - last >= 700, "the last click was 130 ms before that");
  await alice.sayNo();
  await outcome();
});

test("v68_s07 keys, a lost focus and another size begin the second again", async () => {
  await begin({ call: "files.trash", items: [{ id: "/home/notes.txt" }] });
  await alice.question.waitFor();
  await alice.signer.bringToFront();
  const enabled = alice.signer.locator("section.question button.danger:enabled");
  for (let round = 0; round < 12; round += 1) {
    await alice.signer.keyboard.press(["Shift", "a", "ArrowDown"][round % 3]);
    assert.equal(await enabled.count(), 0);
    await alice.signer.waitForTimeout(150);
  }
  await enabled.waitFor();
  for (const change of [
    () => alice.signer.evaluate(() => window.dispatchEvent(new Event("blur"))),
    () => alice.signer.setViewportSize({ width: 530, height: 690 }),
  ]) {
    await enabled.waitFor();
    await change();
    await alice.signer.waitForFunction(() => document.querySelector("section.question button.danger").disabled);
  }
  await enabled.waitFor();
  await alice.sayNo();
  await outcome();
});

test("r07 the computer's clock is put back and forward while the signer is open: it says so, and what it signs is fresh", async () => {
  for (const step of [600_000, -1_200_000, 600_000]) {
    await alice.signer.evaluate((step) => {
      const now = Date.now;
      Date.now = () => now() + step;
    }, step);
    await alice.openFiles();
    await alice.signer.locator("#clock .warning").waitFor();
    await alice.makeFolder(`at ${step}`);
    await alice.told("Done.");
  }
});
