// A job through the extension in Firefox, at UCloud's page that knows nothing of signatures: asked
// about with its script, started, followed, extended, entered and ended, and its web interface opened.

import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import puppeteer from "puppeteer-core";
import { PATIENCE_MS } from "./support/browser.js";
import { buildFor } from "./support/extension.js";
import { TestServer } from "./support/test-server.js";

const EXECUTABLE = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
const SCRIPT = "for i in 1 2 3; do echo \"number $i\"; done\nsleep 300\n";

let testServer;
let folder;
let firefox;

before(async () => {
  testServer = await TestServer.start({ slurm: true });
  folder = buildFor([{ address: testServer.page(""), ucloud: testServer.portal }]);
  firefox = await puppeteer.launch({ browser: "firefox", executablePath: EXECUTABLE, headless: true, acceptInsecureCerts: true });
  await firefox.installExtension(join(folder, "firefox"));
});
after(async () => {
  await firefox?.close();
  await testServer?.end();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Waits until it holds, of a page that may be changing. */
async function until(what, holds) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const held = await Promise.resolve(holds()).catch(() => null);
    if (held) return held;
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A page of the extension of this name. */
const opened = (name) =>
  until(`${name} opens`, async () => (await firefox.pages()).find((page) => page.url().startsWith("moz-extension:") && page.url().includes(`/${name}`)));

const shows = (page, selector, text) =>
  until(`${selector} shows ${text}`, () => page.evaluate((selector, text) => document.querySelector(selector)?.textContent.includes(text) === true, selector, text));

const click = (page, text) =>
  page.evaluate((text) => [...document.querySelectorAll("button")].find((button) => button.textContent === text).click(), text);

/** UCloud's page, where the extension's scripts run: the browser may still be registering them. */
async function atUcloud() {
  const page = await firefox.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await until("the extension reaches UCloud's page", async () => {
    await page.goto(`${testServer.portal}/app`);
    await page.waitForSelector("html[data-ready]");
    return page.evaluate(() => !/native code/.test(XMLHttpRequest.prototype.send.toString()));
  });
  if (await page.$eval("#main", (main) => main.hidden)) {
    await page.type("#username", "bob#5678");
    await click(page, "Log in");
  }
  await page.waitForSelector('html[data-user="bob#5678"]');
  return page;
}

/**
 * Approves the next question, and returns what it showed. Puppeteer does not see the window that the extension opens, so
 * the question is shown in the tab of `ours`, a page of the extension.
 */
async function approve(ours) {
  const id = await ours.evaluate(async () => {
    for (;;) {
      const kept = Object.values(await browser.storage.session.get(null)).find(({ state } = {}) => state === "asking");
      if (kept !== undefined) return kept.id;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  await ours.evaluate(() => void (location.href = "approval.html"));
  await until("a question", () => ours.evaluate(() => document.querySelector("section.question") !== null));
  await ours.bringToFront();
  await until("the button works", () => ours.evaluate(() => document.querySelector("section.question button.danger:not([disabled])") !== null));
  const text = await ours.$eval("section.question", (question) => question.innerText);
  await ours.click("section.question button.danger");
  await until("the answer is taken", () => ours.evaluate(async (id) => Object.values(await browser.storage.session.get(null)).every((kept) => kept?.id !== id || kept.state !== "asking"), id));
  return text;
}

/** Approves what waits for the administrator's review. */
async function review(name, version) {
  const pending = await testServer.must({ do: "administer", arguments: ["apps", "pending", "--json"] });
  const { digest } = JSON.parse(pending.stdout).find((one) => one.name === name && one.version === version);
  await testServer.must({ do: "administer", arguments: ["apps", "approve", name, version, digest, "--yes"] });
}

test("j01 extension: a job is asked about, started, followed, extended, entered and ended in Firefox, and its interface opened", { timeout: 480_000 }, async () => {
  const first = await atUcloud();
  await click(first, "Connect to providers");
  await until("the provider is listed", () => click(first, "Connect to hpc").then(() => true));
  const ours = await opened("connect.html");
  await ours.waitForSelector("#command:not(:empty)");
  const command = await ours.$eval("#command", (element) => element.textContent);
  assert.equal((await testServer.ask({ do: "approve", code: command.split(" ").at(-1), as: "bob" })).ok, true);
  await ours.waitForSelector("#finished:not([hidden])");
  await ours.evaluate(async () => browser.storage.session.set({ "approval-window": (await browser.windows.getCurrent()).id }));

  const page = await atUcloud();
  await click(page, "Jobs");
  await page.select("#application", "own-script");
  await page.$eval("#job-value", (field, script) => (field.value = script), SCRIPT);
  await click(page, "Start job");
  assert.match(await approve(ours), /Start a job[^]*exactly this script[^]*for i in 1 2 3; do echo "number \$i"; done/);
  const job = async () => (await testServer.must({ do: "jobs" })).jobs[0];
  await until("it runs", async () => (await job())?.state === "RUNNING");
  const { id } = await job();

  await page.bringToFront();
  await click(page, "Refresh jobs");
  await until("it is listed", () => click(page, `Open job ${id}`).then(() => true));
  await shows(page, "#job-state", "RUNNING");
  await shows(page, "#log", "number 3");
  await click(page, "Extend by one hour");
  await until("it has two hours", async () => (await job()).timeAllocationMs === 2 * 3_600_000);

  await click(page, "Open shell");
  assert.match(await approve(ours), /Open a session in a running job/);
  await page.bringToFront();
  await shows(page, "#job-shell", "$");
  await page.focus("#job-typed");
  await page.keyboard.type("echo job-$((6*7))");
  await page.keyboard.press("Enter");
  await shows(page, "#job-shell", "job-42");

  await click(page, `Stop job ${id}`);
  assert.match(await approve(ours), /Stop a job/);
  await until("it has ended", async () => (await job()).state === "SUCCESS");
  // The page opens a lost shell again by itself.
  assert.match(await approve(ours), /Open a session in a running job/);
  await page.close();

  // A web interface: at first not approved, then opened twice with one answer.
  const again = await atUcloud();
  await click(again, "Jobs");
  await again.select("#application", "board");
  await click(again, "Start job");
  await approve(ours);
  await until("it waits for review", () => review("board", "1.0").then(() => true));
  await again.bringToFront();
  await click(again, "Start job");
  await approve(ours);
  const newest = async () => (await testServer.must({ do: "jobs" })).jobs.at(-1);
  await until("it runs", async () => (await newest()).state === "RUNNING" && (await newest()).id !== id);
  const { id: second } = await newest();
  await again.bringToFront();
  await click(again, "Refresh jobs");
  await until("it is listed", () => click(again, `Open job ${second}`).then(() => true));
  assert.match(await approve(ours), /Open a session in a running job/);
  await again.bringToFront();
  await shows(again, "#log", "Serving HTTP");
  await until("its address is there", () => again.$eval("#interface", (link) => !link.hidden));
  for (let time = 0; time < 2; time += 1) {
    await again.bringToFront();
    await again.click("#interface");
    const tab = await until("the interface opens", async () => (await firefox.pages()).find((one) => one.url().includes(`//app-${second}-0.apps.localhost`)));
    await shows(tab, "h1", "A board of mine");
    await tab.close();
  }
});
