// Passkeys: enrolled on the connection page, required where the centre wants more than a signature,
// and removed again.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { faults } from "./support/axe.js";
import { Authenticator } from "./support/authenticator.js";
import { TestServer } from "./support/test-server.js";
import { User } from "./support/user.js";

let testServer;
let alice;
let connected;
/** The authenticator at the signer's window. */
let device;

before(async () => {
  testServer = await TestServer.start({ stepUp: ["files.trash"] });
  alice = await User.at(testServer, "alice");
  connected = await alice.connect();
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
});
afterEach(() => assert.deepEqual(alice.browser.complaints(), [], "a page complained"));
after(async () => {
  await alice?.leave();
  await testServer?.end();
});

const trashed = async () => (await testServer.decisions("files.trash")).filter(({ decision }) => decision === "forward").length;

test("without a passkey the call is refused, and the user hears what to do", async () => {
  await alice.trash("results.csv");
  await alice.question.waitFor();
  await alice.sayYes();
  assert.match(await alice.told("That did not work."), /passkey/i);
  await alice.file("results.csv").waitFor();
  assert.equal(await trashed(), 0);
});

test("a passkey is enrolled on the connection page", async () => {
  await connected.bringToFront();
  const first = await Authenticator.at(connected);
  await connected.getByRole("button", { name: "Add a passkey" }).click();
  await connected.getByText("The passkey is added.").waitFor();
  assert.equal((await first.credentials()).length, 1);
  device = await Authenticator.at(alice.signer, first);
  await connected.close();
});

test("whoever does not show that it is them gets nothing", async () => {
  await device.verify(false);
  await alice.trash("results.csv");
  await alice.question.waitFor();
  await alice.sayYes();
  await alice.signer.getByRole("button", { name: "Try again" }).waitFor();
  assert.equal(await trashed(), 0);
  await device.verify(true);
  await alice.sayNo();
  await alice.told("That did not work.");
  await alice.file("results.csv").waitFor();
});

test("with the passkey the call goes through", async () => {
  await alice.trash("results.csv");
  await alice.question.waitFor();
  await alice.sayYes();
  await alice.told("Done.");
  await alice.file("results.csv").waitFor({ state: "detached" });
  assert.equal(await trashed(), 1);
});

test("a good signature without the passkey is refused by the gateway", async () => {
  const page = await alice.browser.tab(testServer.page("keys"));
  // Signed by hand with the key of this browser, as a script injected into this page could.
  const intent = await page.evaluate(async () => {
    const opening = indexedDB.open("countersign");
    const database = await new Promise((resolve) => (opening.onsuccess = () => resolve(opening.result)));
    const asking = database.transaction("keys").objectStore("keys").getAll();
    const [key] = await new Promise((resolve) => (asking.onsuccess = () => resolve(asking.result)));
    database.close();
    const encode = (bytes) =>
      btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const text = (value) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
    const digest = encode(await crypto.subtle.digest("SHA-256", text('{"id":"/home/notes.txt"}')));
    const iat = Math.floor(Date.now() / 1000);
    const claims = {
      aud: location.origin, username: key.username, project: null, call: "files.trash", iat, exp: iat + 30,
      jti: encode(crypto.getRandomValues(new Uint8Array(16))), params: [digest],
    };
    const input = `${encode(text({ alg: "EdDSA", kid: key.kid, typ: "ucloud-intent+jwt" }))}.${encode(text(claims))}`;
    return `${input}.${encode(await crypto.subtle.sign("Ed25519", key.privateKey, text(input)))}`;
  });
  await page.close();
  const response = await fetch(`${testServer.portal}/call`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: testServer.portal, "ucloud-signed-intent": intent },
    body: JSON.stringify({ as: "alice#1234", core: "honest", call: "files.trash", items: [{ id: "/home/notes.txt" }] }),
  });
  const { answer } = await response.json();
  assert.deepEqual([answer.status, answer.body.errorCode], [482, "INTENT_STEP_UP"]);
  assert.equal(await trashed(), 1);
});

test("the page of keys lists the passkey and removes it, with the passkey itself", async () => {
  const page = await alice.browser.tab(testServer.page("keys"));
  const passkeys = page.getByRole("button", { name: /Remove the passkey/ });
  await passkeys.waitFor();
  assert.deepEqual(await faults(page), []);
  await Authenticator.at(page, device);
  await passkeys.click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await passkeys.waitFor({ state: "detached" });
  await page.close();
});
