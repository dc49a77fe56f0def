// The extension with a page that sends everything as UCloud's real page does (portal/page/plain):
// from Connect to transfers, terminals and SSH keys.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { Extended } from "./support/extension.js";
import { PlainUcloud } from "./support/plain-ucloud.js";
import { TestServer } from "./support/test-server.js";

const ALICE = "alice#1234";
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJvzIkdKx0ZQ4xXJ3l1q5tq3c8x0m9ZyQ1y8m3yH0m9Z alice";
const files = mkdtempSync(join(tmpdir(), "countersign-files-"));
let testServer;
let alice;
let ucloud;
let page;

before(async () => {
  testServer = await TestServer.start();
  alice = await Extended.open(testServer, null, [{ address: testServer.page(""), ucloud: testServer.portal }]);
  ucloud = await PlainUcloud.open(testServer, alice.browser, ALICE);
  page = ucloud.page;
  await ucloud.click("Connect to providers");
  await ucloud.click("Connect to hpc");
  await page.waitForURL((url) => url.protocol === "chrome-extension:");
  const command = page.locator("#command:not(:empty)");
  await command.waitFor();
  const approved = await testServer.ask({ do: "approve", code: (await command.textContent()).split(" ").at(-1), as: "alice" });
  assert.equal(approved.ok, true, JSON.stringify(approved));
  await page.getByRole("heading", { name: "You are connected" }).waitFor();
  await page.close();
  ucloud = await PlainUcloud.open(testServer, alice.browser, ALICE);
  page = ucloud.page;
  await (await ucloud.drive("Home")).click();
  await page.getByRole("button", { name: "Download notes.txt" }).waitFor();
});
afterEach(() => assert.deepEqual(alice?.browser.complaints(), [], "a page complained"));
after(async () => {
  await alice?.close();
  await testServer?.end();
  rmSync(files, { recursive: true, force: true });
});

/** Approves the question that is being asked. */
async function approve(sentence) {
  const approval = await alice.approval();
  await approval.getByRole("heading", { name: sentence }).waitFor();
  await approval.bringToFront();
  await approval.locator("section.question button.danger").click();
  await page.bringToFront();
}

test("extension: noVNC's check of the socket passes behind the hook", async () => {
  assert.equal(await page.locator("#vnc").innerText(), "passed");
});

test("extension: a folder opens, and everything that the page sends for it is answered", async () => {
  const refused = ucloud.requests.filter(({ path, status }) => path.startsWith("/api/files/") && status >= 400);
  assert.deepEqual(refused, []);
});

test("extension: folders are made and renamed, and nothing vanishes", async () => {
  await ucloud.name("results");
  await ucloud.click("Create folder");
  await page.getByRole("button", { name: "Rename results", exact: true }).waitFor();
  await ucloud.name("results-2");
  await ucloud.click("Rename results");
  await page.getByRole("button", { name: "Rename results-2", exact: true }).waitFor();
  await (await reopened()).getByRole("button", { name: "Rename results-2", exact: true }).waitFor();
});

/** The folder, read again. */
async function reopened() {
  await ucloud.click("Drives");
  await (await ucloud.drive("Home")).click();
  await page.getByRole("button", { name: "Download notes.txt" }).waitFor();
  return page;
}

test("extension: a file is downloaded by a navigation that carries its proof", async () => {
  const downloading = page.waitForEvent("download");
  await ucloud.click("Download notes.txt");
  const download = await downloading;
  assert.ok(readFileSync(await download.path()).length > 0);
  assert.match(download.url(), /[?&]intent=[\w-]+\.[\w-]+\.[\w-]+&usernameHint=/);
});

test("extension: a file is uploaded, with a proof for the session", async () => {
  const path = join(files, "measured.csv");
  writeFileSync(path, "a;b\n".repeat(5_000));
  await page.getByLabel("Upload file").setInputFiles(path);
  await page.locator("#uploads li", { hasText: "measured.csv: done" }).waitFor();
  await (await reopened()).getByRole("button", { name: "Download measured.csv" }).waitFor();
});

test("extension: a folder is uploaded over one socket", async () => {
  const folder = join(files, "survey");
  mkdirSync(folder);
  for (const name of ["one", "two"]) writeFileSync(join(folder, name), name);
  await page.getByLabel("Upload folder").setInputFiles(folder);
  await page.locator("#uploads li", { hasText: "survey: done" }).waitFor();
  await (await reopened()).getByRole("button", { name: "survey", exact: true }).click();
  await page.getByRole("button", { name: "Download two" }).waitFor();
  await reopened();
});

test("extension: a terminal is asked about once, and runs commands", async () => {
  await ucloud.click("Open terminal");
  await approve("Open a terminal in a folder");
  const typed = page.locator("#typed");
  await page.locator("#terminal", { hasText: "$" }).waitFor();
  await typed.focus();
  await page.keyboard.type("echo terminal-$((6*7))");
  await page.keyboard.press("Enter");
  await page.locator("#terminal", { hasText: "terminal-42" }).waitFor();
});

test("extension: a refused terminal asks once, although the page tries again by itself", { timeout: 60_000 }, async () => {
  const asked = ucloud.requests.length;
  await ucloud.click("Open terminal");
  const approval = await alice.approval();
  await approval.getByRole("button", { name: "Refuse" }).click();
  await page.locator("#terminal", { hasText: "You refused this" }).waitFor();
  await page.getByText("[The connection to the terminal was lost.]").waitFor({ timeout: 30_000 });
  assert.equal(ucloud.requests.slice(asked).filter(({ path }) => path.endsWith("openTerminalInFolder")).length, 0, "nothing was sent");
});

test("extension: the whole list of SSH keys is shown and signed", async () => {
  await ucloud.click("SSH keys");
  await page.getByLabel("Public key").fill(KEY);
  await ucloud.click("Add SSH key");
  await approve("Replace your SSH keys at the centre");
  await page.locator("#key-list li", { hasText: KEY }).waitFor();
  const signed = (await testServer.decisions("ssh.keyUploaded")).filter(({ decision }) => decision === "deposit");
  assert.equal(signed.length, 1);
  await reopened();
});

test("extension: a search is signed on its socket", async () => {
  await ucloud.name("notes");
  await ucloud.click("Search");
  await page.locator("#results li", { hasText: "The search has ended." }).waitFor();
  await page.locator("#results li", { hasText: "notes.txt" }).waitFor();
});
