// UCloud's page that knows nothing of signatures, in a browser without the extension: it works under
// its policy, and what needs a signature is refused in words, without anything left hanging.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Browser } from "./support/browser.js";
import { faults } from "./support/axe.js";
import { PlainUcloud } from "./support/plain-ucloud.js";
import { TestServer } from "./support/test-server.js";
import { User } from "./support/user.js";

const ALICE = "alice#1234";
/** The sentence of a refusal for want of a signature. */
const UNSIGNED = /the user has to sign this request/;
let testServer;
let browser;
let ucloud;

before(async () => {
  testServer = await TestServer.start();
  // Connected in another browser: this one has no key.
  const elsewhere = await User.at(testServer, "alice");
  await elsewhere.connect();
  await elsewhere.leave();
  browser = await Browser.open(testServer);
  ucloud = await PlainUcloud.open(testServer, browser, ALICE);
});
afterEach(() => assert.deepEqual(browser.complaints(), [], "the page complained"));
after(async () => {
  await browser?.close();
  await testServer?.end();
});

test("the page logs in, lists drives, and passes noVNC's check", async () => {
  await (await ucloud.drive("Home")).waitFor();
  assert.equal(await ucloud.page.locator("#vnc").innerText(), "passed");
  assert.deepEqual(await faults(ucloud.page), []);
});

test("a folder is refused in words, after all of its requests were answered", async () => {
  const home = await ucloud.drive("Home");
  const from = ucloud.requests.length;
  await home.click();
  await ucloud.page.locator("#why:not([hidden])").waitFor();
  assert.match(await ucloud.page.locator("#empty").innerText(), /could not find any data/);
  assert.match(await ucloud.page.locator("#why").innerText(), UNSIGNED);
  assert.equal(await ucloud.page.locator("#spinner").isHidden(), true);
  const sent = ucloud.requests.slice(from);
  assert.deepEqual(sent.map(({ path }) => path).sort(), ["/api/files/browse", "/api/files/collections/retrieve", "/api/files/retrieve"]);
  for (const { path, status } of sent) assert.equal(status, path.endsWith("collections/retrieve") ? 200 : 482, path);
  const [refused] = await testServer.decisions("files.browse");
  assert.equal(refused.decision, "refuse");
});

test("a folder that was shown as made vanishes with the refusal", async () => {
  await ucloud.name("results");
  await ucloud.click("Create folder");
  await ucloud.notified(UNSIGNED);
  await ucloud.page.getByText("could not find any data").waitFor();
  assert.equal(await ucloud.page.getByRole("button", { name: "Rename results" }).count(), 0);
});

test("an intent on the request itself is dropped by Core", async () => {
  const status = await ucloud.page.evaluate(async () => {
    const { callApi, bulk } = await import("/app/api.js");
    const set = XMLHttpRequest.prototype.send;
    XMLHttpRequest.prototype.send = function (body) {
      this.setRequestHeader("UCloud-Signed-Intent", "e30.e30.AA");
      set.call(this, body);
    };
    const call = callApi({ method: "POST", path: "files/trash", payload: bulk({ id: `${document.getElementById("place").textContent}/notes.txt` }) });
    return call.then(() => 200, ({ request }) => request.status).finally(() => (XMLHttpRequest.prototype.send = set));
  });
  assert.equal(status, 482);
  const decisions = await testServer.decisions("files.trash");
  assert.deepEqual(decisions.map(({ decision }) => decision), ["refuse"]);
});

test("an upload is refused in words", async () => {
  await ucloud.page.getByLabel("Upload file").setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("a") });
  await ucloud.page.locator("#uploads li", { hasText: UNSIGNED }).waitFor();
});

test("a search ends, with the reason", async () => {
  await ucloud.name("notes");
  await ucloud.click("Search");
  await ucloud.page.locator("#results li", { hasText: UNSIGNED }).waitFor();
  await ucloud.page.locator("#results li", { hasText: "The search has ended." }).waitFor();
});

test("a terminal is tried again at most five times", { timeout: 60_000 }, async () => {
  const from = ucloud.requests.length;
  await ucloud.click("Open terminal");
  await ucloud.page.getByText("[The connection to the terminal was lost.]").waitFor({ timeout: 45_000 });
  assert.equal(ucloud.requests.slice(from).filter(({ path }) => path === "/api/jobs/openTerminalInFolder").length, 6);
  assert.match(await ucloud.page.locator("#terminal").innerText(), UNSIGNED);
});

test("an application opens without a signature, and its job is refused in words", async () => {
  await ucloud.click("Jobs");
  await ucloud.click("Open application");
  await ucloud.page.getByText("Parameters of providers: hpc").waitFor();
  const before = await ucloud.page.locator("#notifications li").count();
  await ucloud.click("Start job");
  await ucloud.page.locator("#notifications li").nth(before).filter({ hasText: UNSIGNED }).waitFor();
  assert.equal(await ucloud.page.locator("#job-list li").count(), 0);
});

test("Core tells the page what it does alone, and who is connected", async () => {
  await ucloud.click("SSH keys");
  await ucloud.page.getByLabel("Public key").fill("ssh-ed25519 AAAA a@b");
  await ucloud.click("Add SSH key");
  await ucloud.page.locator("#key-list li", { hasText: "ssh-ed25519 AAAA a@b" }).waitFor();
  await ucloud.click("Connect to providers");
  await ucloud.page.locator("#provider-list li", { hasText: "hpc connected" }).waitFor();
});

test("who is not connected is led to the provider in the same tab", async () => {
  const bob = await PlainUcloud.open(testServer, browser, "bob#5678", await browser.context.newPage());
  await bob.click("Connect to providers");
  await bob.click("Connect to hpc");
  await bob.page.waitForURL(`${testServer.page("connect")}*`);
  await bob.page.locator("#command:not(:empty)").waitFor();
  await bob.page.close();
});
