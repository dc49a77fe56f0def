// The signer's window: what it signs silently, what it asks about, and which pages it answers. Also
// each attack of UCloud's Core, as its page shows it.

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

test("a deletion waits for a click in the signer's window, which says what it will do", async () => {
  await alice.makeFolder("doomed");
  await alice.file("doomed").waitFor();
  await alice.trash("doomed");
  await alice.told("The signer asks you something.");
  await alice.question.waitFor();
  const asked = await alice.question.innerText();
  assert.match(asked, /Home · \/doomed/);
  assert.match(asked, /trash/i);
  assert.match(asked, /alice#1234/);
  await alice.sayYes();
  await alice.told("Done.");
  await alice.file("doomed").waitFor({ state: "detached" });
});

test("no click that was meant for something else approves it", async () => {
  await alice.trash("notes.txt");
  await alice.question.waitFor();
  await alice.signer.bringToFront();
  const states = await alice.signer.evaluate(async () => {
    const button = document.querySelector("section.question button.danger");
    // A window that has just come to the front. A moment later it has been visible long enough.
    window.dispatchEvent(new Event("blur"));
    window.dispatchEvent(new Event("focus"));
    const at_once = button.disabled;
    const begun = performance.now();
    while (button.disabled) await new Promise((resolve) => setTimeout(resolve, 10));
    return { at_once, after: performance.now() - begun };
  });
  assert.equal(states.at_once, true);
  assert.ok(states.after >= 950, `enabled after ${states.after} ms`);
  await alice.sayNo();
  assert.match(await alice.told("That did not work."), /You said no/);
  await alice.file("notes.txt").waitFor();
});

test("a name with marks that turn writing round is pointed out", async () => {
  const name = "invoice\u202Efdp.exe";
  await alice.makeFolder(name);
  await alice.file(name).waitFor();
  await alice.trash(name);
  await alice.question.waitFor();
  assert.match(await alice.question.innerText(), /needs a closer look/);
  await alice.sayYes();
  await alice.told("Done.");
});

/** A behaviour of Core, and the gateway's answer. */
for (const [behaviour, refusal, tried] of [
  ["replay", /482 · INTENT_REPLAYED/, /a second time/],
  ["path", /482 · INTENT_INVALID/, /taken-by-core where you had said/],
  ["item", /482 · INTENT_INVALID/, /added \/home\/taken-by-core/],
  ["key", /482 · INTENT_INVALID/, /with a key that it had made/],
]) {
  test(`Core cheats (${behaviour}): refused, and the page shows why`, async () => {
    await alice.letCore(behaviour);
    await alice.makeFolder(`with-${behaviour}`);
    const told = await alice.told("Refused.");
    assert.match(told, refusal);
    assert.match(told, tried);
    await alice.letCore("honest");
    await alice.openFiles();
    await alice.file("notes.txt").waitFor();
    assert.equal(await alice.file("taken-by-core").count(), 0);
    const refused = (await testServer.decisions("files.createFolder")).filter(({ decision }) => decision === "refuse");
    const desk = alice.portal.frameLocator("#desk");
    await desk.locator(`[data-request-id="${refused.at(-1).requestId}"].bad`).waitFor();
  });
}

test("Core lies to the signer: its window says what would be signed, and the user says no", async () => {
  await alice.letCore("disguise");
  await alice.makeFolder("harmless");
  await alice.question.waitFor();
  const asked = await alice.question.innerText();
  assert.match(asked, /trash/i);
  assert.doesNotMatch(asked, /harmless/);
  await alice.sayNo();
  assert.match(await alice.told("Refused, by you."), /move notes.txt to the trash/);
  await alice.letCore("honest");
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
});

/** Opens the signer from UCloud's page as any script of it could, and sends it this request. */
function askSigner(request) {
  return alice.portal.evaluate(async (request) => {
    const { connectSigner } = await import("/sdk/index.js");
    const { provider } = await (await fetch("/site.json")).json();
    const signer = connectSigner(provider.origin, { provider: provider.id, username: request.as ?? "alice#1234" });
    return signer.sign(request).then(
      ({ jws }) => ({ claims: JSON.parse(atob(jws.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))) }),
      ({ code }) => ({ code }),
    );
  }, request);
}

for (const [what, request, code] of [
  ["a call that is in no table", { call: "files.wipe", items: [{ id: "/home" }] }, "unknown_call"],
  ["a call of the direct channel", { call: "keys.list", params: {} }, "unknown_call"],
  ["a parameter too many", { call: "files.browse", params: { path: "/home", as: "root" } }, "bad_parameters"],
  ["a number that has several spellings", { call: "files.browse", params: { path: 2 ** 60 } }, "bad_parameters"],
  ["no item at all", { call: "files.trash", items: [] }, "bad_parameters"],
  ["another user's signature", { call: "files.browse", params: { path: "/home" }, as: "bob#5678" }, "unknown_user"],
]) {
  test(`the signer does not sign ${what}`, async () => {
    assert.deepEqual(await askSigner(request), { code });
  });
}

test("the signer answers no page but UCloud's", async () => {
  const page = await alice.browser.tab();
  // A page at another origin: the desk's, which is as foreign to the provider as any.
  await page.goto(testServer.desk);
  const opening = alice.browser.context.waitForEvent("page");
  const answered = page.evaluate(
    (address) =>
      new Promise((resolve) => {
        addEventListener("message", ({ data }) => resolve(data));
        const from = new URLSearchParams({ v: "1", from: location.origin, channel: "c" });
        const signer = window.open(`${address}#${from}`, "stranger");
        const request = { call: "files.browse", items: [{ path: "/home" }], project: null };
        const asked = { countersign: 1, channel: "c", id: 1, type: "sign", username: "alice#1234", requests: [request] };
        const asking = setInterval(() => signer.postMessage(asked, "*"), 50);
        setTimeout(() => (clearInterval(asking), resolve(null)), 3_000);
      }),
    testServer.page("signer"),
  );
  const signer = await opening;
  await signer.locator("#stranger .warning").waitFor();
  assert.equal(await answered, null);
  await signer.close();
  await page.close();
});

test("a signature for reading costs the user nothing to notice", async (t) => {
  const times = await alice.portal.evaluate(async () => {
    const { connectSigner } = await import("/sdk/index.js");
    const { provider } = await (await fetch("/site.json")).json();
    const signer = connectSigner(provider.origin, { provider: provider.id, username: "alice#1234" });
    const request = { call: "files.browse", params: { path: "/home" }, project: null };
    await signer.sign(request);
    const times = [];
    for (let round = 0; round < 50; round += 1) {
      const begun = performance.now();
      await signer.sign(request);
      times.push(performance.now() - begun);
    }
    return times.sort((a, b) => a - b);
  });
  const inside = await alice.signer.evaluate(() =>
    performance.getEntriesByName("countersign.sign").map(({ duration }) => duration).sort((a, b) => a - b),
  );
  assert.ok(inside.length > 0);
  const median = inside[Math.floor(inside.length / 2)];
  t.diagnostic(`signing a read, in the signer: median ${median.toFixed(1)} ms of ${inside.length}`);
  t.diagnostic(`signing a read, there and back between two windows: median ${times[25].toFixed(1)} ms, longest ${times[49].toFixed(1)} ms`);
});
