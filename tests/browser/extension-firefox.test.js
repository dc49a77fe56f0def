// The extension in Firefox, from Connect to a refused deletion. The other tests of the extension run
// in Chromium only, because the browsers do not differ in what they test.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import puppeteer from "puppeteer-core";
import { PATIENCE_MS } from "./support/browser.js";
import { buildFor } from "./support/extension.js";
import { TestServer } from "./support/test-server.js";
import { HOME, Ucloud, items } from "./support/ucloud.js";
import { keysOfThisOrigin } from "./support/user.js";

const EXECUTABLE = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

let testServer;
let ucloud;
let folder;
let firefox;

before(async () => {
  testServer = await TestServer.start();
  ucloud = await Ucloud.start(testServer);
  folder = buildFor([{ address: testServer.page(""), ucloud: ucloud.origin }]);
  firefox = await puppeteer.launch({ browser: "firefox", executablePath: EXECUTABLE, headless: true, acceptInsecureCerts: true });
  await firefox.installExtension(join(folder, "firefox"));
});
after(async () => {
  await firefox?.close();
  await ucloud?.end();
  await testServer?.end();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Waits until a page of the extension of this name is open. */
async function opened(name) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const page = (await firefox.pages()).find((one) => one.url().startsWith("moz-extension:") && one.url().includes(`/${name}`));
    if (page) return page;
    if (Date.now() > until) throw new Error(`no ${name} opens`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** UCloud's page, where the extension's scripts run: the browser may still be registering them. */
async function atUcloud() {
  const page = await firefox.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const until = Date.now() + PATIENCE_MS;
  do {
    await page.goto(ucloud.origin);
    await page.waitForSelector("html[data-ready]");
    if (Date.now() > until) throw new Error("the extension does not reach UCloud's page");
  } while (await page.evaluate(() => /native code/.test(XMLHttpRequest.prototype.send.toString())));
  await page.evaluate(() => (globalThis.username = "alice#1234"));
  return page;
}

/** Waits for an element of a page that may be changing: puppeteer hears of no navigation inside the extension. */
async function shows(page, selector) {
  const until = Date.now() + PATIENCE_MS;
  while (!(await page.evaluate((selector) => document.querySelector(selector) !== null, selector).catch(() => false))) {
    if (Date.now() > until) throw new Error(`no ${selector}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Runs in a page of the extension: closes the approval window, and returns the title that it had. */
async function closedApproval() {
  for (;;) {
    const windows = await browser.windows.getAll({ populate: true });
    const found = windows.find(({ type, tabs }) => type === "popup" && tabs[0].url?.endsWith("/approval.html") && tabs[0].title.startsWith("Approve? "));
    if (found !== undefined) {
      await browser.windows.remove(found.id);
      return found.tabs[0].title;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const call = (page, ...given) => page.evaluate((given) => globalThis.call(...given), given);

test("extension: connect, list, make a folder, approve and refuse deletions in Firefox", async () => {
  const page = await atUcloud();
  const { body } = await call(page, "POST", "providers/integration/connect", { provider: "hpc" });
  await page.evaluate((to) => void (document.location.href = to), body.redirectTo);
  const connection = await opened("connect.html");
  await connection.waitForSelector("#command:not(:empty)");
  const command = await connection.$eval("#command", (element) => element.textContent);
  assert.equal((await testServer.ask({ do: "approve", code: command.split(" ").at(-1), as: "alice" })).ok, true);
  await connection.waitForSelector("#finished:not([hidden])");
  const [key] = await connection.evaluate(keysOfThisOrigin);
  assert.deepEqual([key.extractable, key.exported, key.usages], [false, false, ["sign"]]);

  const files = await atUcloud();
  const listed = await call(files, "GET", `files/browse?path=${encodeURIComponent(HOME)}`);
  assert.equal(listed.status, 200, JSON.stringify(listed.body));
  const made = await call(files, "POST", "files/folder", items({ id: `${HOME}/firefox`, conflictPolicy: "RENAME" }));
  assert.equal(made.status, 200, JSON.stringify(made.body));

  // Firefox passes texts alone between the two worlds of the page. The piece is sealed and sent; the
  // provider answers no page of this origin.
  const uploaded = await files.evaluate(async (item) => {
    const { body } = await globalThis.call("POST", "files/upload", { type: "bulk", items: [item] });
    const [{ endpoint, token }] = body.responses;
    const xhr = new XMLHttpRequest();
    xhr.open("POST", endpoint);
    const bytes = new TextEncoder().encode("of alice ".repeat(20_000));
    for (const [name, value] of Object.entries({ "Chunked-Upload-Token": token, "Chunked-Upload-Offset": "0", "Chunked-Upload-Total-Size": String(bytes.length) })) xhr.setRequestHeader(name, value);
    await new Promise((resolve) => {
      xhr.onloadend = resolve;
      xhr.send(bytes);
    });
    return xhr.status;
  }, { id: `${HOME}/sealed`, type: "FILE", conflictPolicy: "RENAME" });
  assert.equal(uploaded, 0);
  const record = await connection.evaluate(async () => (await browser.storage.session.get("record")).record);
  assert.deepEqual([record[0].what, record[0].call], ["sealed", "Upload a file"]);

  const refused = call(files, "POST", "files/trash", items({ id: `${HOME}/firefox` }));
  const title = await connection.evaluate(closedApproval);
  assert.match(title, /^Approve\? Move an item to the trash/);
  assert.deepEqual([(await refused).status, (await refused).body.errorCode], [403, "REFUSED_BY_USER"]);

  // Puppeteer does not see the window that the extension opens, so the question is shown in its tab.
  await connection.evaluate(async () => browser.storage.session.set({ "approval-window": (await browser.windows.getCurrent()).id }));
  const approved = call(files, "POST", "files/trash", items({ id: `${HOME}/firefox` }, { id: `${HOME}/notes.txt` }));
  await connection.evaluate(async () => {
    while (Object.keys(await browser.storage.session.get(null)).every((name) => !name.startsWith("question/"))) await new Promise((resolve) => setTimeout(resolve, 20));
    location.href = "approval.html";
  });
  const approval = connection;
  await shows(approval, "section.question");
  assert.match(await approval.$eval("section.question", (question) => question.textContent), /Home · \/firefox/);
  await approval.bringToFront();
  await shows(approval, "section.question button.danger:not([disabled])");
  await approval.click("section.question button.danger");
  assert.equal((await approved).status, 200, JSON.stringify((await approved).body));
});
