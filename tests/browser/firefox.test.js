// The same in Firefox, from Connect to a refused forgery. Debian has no driver for it, so puppeteer
// speaks to it directly (WebDriver BiDi). The other tests run in Chromium only, because browsers do
// not differ in what they test.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import puppeteer from "puppeteer-core";
import { PATIENCE_MS } from "./support/browser.js";
import { TestServer } from "./support/test-server.js";
import { keysOfThisOrigin } from "./support/user.js";

const EXECUTABLE = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

let testServer;
let firefox;
const complaints = [];

before(async () => {
  testServer = await TestServer.start();
  // Firefox does not know the test authority. It overlooks nothing else.
  firefox = await puppeteer.launch({ browser: "firefox", executablePath: EXECUTABLE, headless: true, acceptInsecureCerts: true });
});
after(async () => {
  await firefox?.close();
  await testServer?.end();
});

function watch(page) {
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return page;
}

/** Clicks, and returns the page that opens. */
async function opened(page, selector) {
  await page.bringToFront();
  const opening = new Promise((resolve) => firefox.once("targetcreated", resolve));
  await page.click(selector);
  return watch(await (await opening).page());
}

const shown = (page, selector, text) =>
  page.waitForFunction(
    (selector, text) => document.querySelector(selector)?.textContent.includes(text),
    {},
    selector,
    text,
  );

test("connect, list, make a folder, refuse a deletion, withstand a forgery", async () => {
  const portal = watch(await firefox.newPage());
  await portal.goto(testServer.portal);
  await portal.waitForSelector("html[data-ready]");

  const connection = await opened(portal, "#connect");
  await connection.waitForSelector("#command:not(:empty)");
  const command = await connection.$eval("#command", (element) => element.textContent);
  assert.equal((await testServer.ask({ do: "approve", code: command.split(" ").at(-1), as: "alice" })).ok, true);
  await connection.waitForSelector("#finished:not([hidden])");
  const [key] = await connection.evaluate(keysOfThisOrigin);
  assert.deepEqual(
    { extractable: key.extractable, exported: key.exported, usages: key.usages },
    { extractable: false, exported: false, usages: ["sign"] },
  );

  const signer = await opened(portal, "#open");
  await shown(portal, "#files", "notes.txt");
  assert.deepEqual(await portal.evaluate(async () => (await indexedDB.databases()).length), 0);

  const makeFolder = async (name) => {
    await portal.bringToFront();
    await portal.click("#make");
    await portal.type("#ask-name", name);
    await portal.click("#ask-ok");
  };
  await makeFolder("firefox");
  await shown(portal, "#files", "firefox/");

  await portal.bringToFront();
  await portal.click('button[aria-label="Move to trash: notes.txt"]');
  await signer.waitForSelector("section.question");
  assert.match(await signer.$eval("section.question", (question) => question.textContent), /Home · \/notes\.txt/);
  await signer.bringToFront();
  await signer.click("section.question button.quiet");
  await shown(portal, "#result", "You said no");

  await portal.bringToFront();
  await portal.click("input[name=behaviour][value=path]");
  await makeFolder("forged");
  await shown(portal, "#result", "482 · INTENT_INVALID");
  assert.deepEqual(complaints, []);
});
