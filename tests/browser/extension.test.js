// The browser extension with UCloud's unmodified page: from Connect to signed calls, of which
// neither UCloud's page nor its Core knows anything.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { faults } from "./support/axe.js";
import { Extended, connect } from "./support/extension.js";
import { TestServer } from "./support/test-server.js";
import { HOME, Ucloud, items } from "./support/ucloud.js";
import { keysOfThisOrigin } from "./support/user.js";

const ALICE = "alice#1234";
let testServer;
let ucloud;
let alice;
let page;

const browse = () => alice.call(page, "GET", `files/browse?path=${encodeURIComponent(HOME)}&includeMetadata=true`);

before(async () => {
  testServer = await TestServer.start();
  ucloud = await Ucloud.start(testServer);
  alice = await Extended.open(testServer, ucloud, [{ address: testServer.page(""), ucloud: testServer.portal }]);
});
afterEach(() => assert.deepEqual(alice?.browser.complaints(), [], "a page complained"));
after(async () => {
  await alice?.close();
  await ucloud?.end();
  await testServer?.end();
});

test("connecting happens on a page of the extension, and its key stays there", async () => {
  const connection = await connect(alice, "alice");
  const [key] = await connection.evaluate(keysOfThisOrigin);
  assert.deepEqual([key.username, key.extractable, key.exported], [ALICE, false, false]);
  assert.ok(!connection.url().includes("#"), "the ticket does not stay in the address");
  const ofProvider = await alice.browser.tab(testServer.page("keys"));
  await ofProvider.getByText("This browser has no key for hpc.").waitFor();
  assert.deepEqual(await ofProvider.evaluate(keysOfThisOrigin), [], "the provider's own pages have no key");
  page = await alice.atUcloud(ALICE);
});

test("opening a folder is signed without a question", async () => {
  const { status, body } = await browse();
  assert.equal(status, 200, JSON.stringify(body));
  assert.ok(body.items.some(({ id }) => id === `${HOME}/notes.txt`));
  assert.match((await alice.recent())[0], /^signed: .*Look into a folder/);
});

test("making and renaming are signed without a question", async () => {
  const made = await alice.call(page, "POST", "files/folder", items({ id: `${HOME}/results`, conflictPolicy: "RENAME" }));
  assert.equal(made.status, 200, JSON.stringify(made.body));
  const renamed = await alice.call(page, "POST", "files/move", items({ oldId: `${HOME}/results`, newId: `${HOME}/results-1`, conflictPolicy: "RENAME" }));
  assert.equal(renamed.status, 200, JSON.stringify(renamed.body));
  const { body } = await browse();
  assert.ok(body.items.some(({ id }) => id === `${HOME}/results-1`));
});

test("a deletion asks in a window of the extension, which says what is signed", async () => {
  const answered = alice.call(page, "POST", "files/trash", items({ id: `${HOME}/results-1` }));
  const approval = await alice.approval();
  const question = approval.locator("section.question");
  await question.waitFor();
  assert.match(await question.innerText(), /Move an item to the trash[^]*alice#1234[^]*Home · \/results-1/);
  assert.deepEqual(await faults(approval), []);
  assert.deepEqual(ucloud.requests.filter(({ name }) => name === "POST files/trash"), [], "the request waits");
  await approval.bringToFront();
  await question.getByRole("button", { name: "Move to trash" }).click();
  const { status, body } = await answered;
  assert.equal(status, 200, JSON.stringify(body));
  const forwarded = (await testServer.decisions("files.trash")).filter(({ decision }) => decision === "forward");
  assert.equal(forwarded.length, 1);
});

test("what the user refuses is answered as JSON, and not sent", async () => {
  await alice.call(page, "POST", "files/folder", items({ id: `${HOME}/kept`, conflictPolicy: "RENAME" }));
  const before = ucloud.requests.length;
  const answered = alice.call(page, "POST", "files/trash", items({ id: `${HOME}/kept` }));
  const approval = await alice.approval();
  await approval.getByRole("button", { name: "Refuse" }).click();
  const { status, body, type } = await answered;
  assert.deepEqual([status, body.errorCode, type], [403, "REFUSED_BY_USER", "application/json; charset=utf-8"]);
  const again = await alice.call(page, "POST", "files/trash", items({ id: `${HOME}/kept` }));
  assert.equal(again.status, 403, "asked once, although the page repeats it");
  assert.equal(ucloud.requests.length, before);
  assert.match((await alice.recent())[0], /^refused: .*trash/);
});

test("a request is signed after the browser stopped the worker, also in the middle of a question", async () => {
  await alice.stopWorker();
  assert.equal((await browse()).status, 200);
  const answered = alice.call(page, "POST", "files/trash", items({ id: `${HOME}/kept` }, { id: `${HOME}/notes.txt` }));
  const approval = await alice.approval();
  const question = approval.locator("section.question");
  await question.waitFor();
  await alice.stopWorker();
  await approval.bringToFront();
  await question.getByRole("button", { name: "Move to trash" }).click();
  const { status, body } = await answered;
  assert.equal(status, 200, JSON.stringify(body));
});

test("a page that was reloaded is protected as before", async () => {
  await page.reload();
  await page.locator("html[data-ready]").waitFor({ state: "attached" });
  await page.evaluate((username) => (globalThis.username = username), ALICE);
  assert.equal((await browse()).status, 200);
});

test("an answer that comes after half a minute is signed, although the worker was idle", async () => {
  const answered = alice.call(page, "POST", "files/trash", items({ id: `${HOME}/results.csv` }));
  const approval = await alice.approval();
  await approval.locator("section.question").waitFor();
  await new Promise((resolve) => setTimeout(resolve, 35_000));
  await approval.bringToFront();
  await approval.getByRole("button", { name: "Move to trash" }).click();
  const { status, body } = await answered;
  assert.equal(status, 200, JSON.stringify(body));
});

test("a page that is left gets no signature, even if the user approves later", async () => {
  const deposits = async () => (await testServer.must({ do: "decisions" })).decisions.filter(({ decision, call }) => decision === "deposit" && call === "files.trash").length;
  const before = await deposits();
  void alice.call(page, "POST", "files/trash", items({ id: `${HOME}/kept` }, { id: `${HOME}/left` })).catch(() => {});
  const approval = await alice.approval();
  await approval.locator("section.question").waitFor();
  const question = await approval.evaluate(async () => Object.keys(await chrome.storage.session.get(null)).find((name) => name.startsWith("question/")));
  await page.reload();
  await approval.waitForFunction((name) => chrome.storage.session.get(name).then((kept) => kept[name] === undefined), question);
  await approval.evaluate((name) => chrome.runtime.sendMessage({ type: "decide", name, approved: true }), question.slice("question/".length));
  assert.equal(await deposits(), before);
  assert.match((await alice.recent())[0], /^unsigned: .*does not wait any more/);
  await approval.close();
  await page.locator("html[data-ready]").waitFor({ state: "attached" });
  await page.evaluate((username) => (globalThis.username = username), ALICE);
});

test("this computer's clock may be wrong", async () => {
  await alice.worker.evaluate(() => {
    const real = Date.now;
    Date.now = () => real() + 3_600_000;
  });
  assert.equal((await browse()).status, 200);
  await alice.stopWorker();
});

test("its pages are usable by a keyboard and a screen reader, in both colours", async () => {
  for (const colorScheme of ["light", "dark"]) {
    for (const name of ["state.html", "options.html", "keys.html?provider=hpc", "connect.html?provider=hpc"]) {
      const tab = await alice.browser.tab();
      await tab.emulateMedia({ colorScheme });
      await tab.goto(alice.page(name));
      await tab.locator("h1").waitFor();
      await tab.waitForLoadState("networkidle");
      assert.deepEqual(await faults(tab), [], `${name} ${colorScheme}`);
      await tab.close();
    }
  }
});

test("the options page names what the package brought, and refuses what is no provider", async () => {
  const tab = await alice.browser.tab(alice.page("options.html"));
  await tab.getByText("part of this extension").waitFor();
  for (const [address, ucloud, said] of [
    ["https://hpc.example.org", "https://cloud.example.org", "This is not the address of a provider."],
    ["https://hpc.example.org/ucloud/new", "ftp://cloud", "This is not the address of a UCloud."],
    ["https://hpc.example.org/ucloud/new", "https://hpc.example.org", "must not have the same address"],
  ]) {
    await tab.getByLabel("Address of the provider").fill(address);
    await tab.getByLabel("Address of UCloud").fill(ucloud);
    await tab.getByRole("button", { name: "Add", exact: true }).click();
    await tab.getByText(said).waitFor();
  }
  await tab.close();
});

test("a provider that is down is told, and UCloud's page gets an answer", async () => {
  await testServer.must({ do: "stop", what: "server" });
  const { status } = await browse();
  assert.ok(status >= 400, `${status}`);
  assert.match((await alice.recent())[0], /^unsigned: .*The provider does not answer/);
  await testServer.must({ do: "restart", what: "server" });
  await alice.stopWorker();
  const until = Date.now() + 15_000;
  while ((await browse()).status !== 200) assert.ok(Date.now() < until, "it works again");
});
