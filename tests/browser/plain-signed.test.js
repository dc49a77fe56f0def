// What web/js/user-side.js derives from the table of calls and from the requests of UCloud's page,
// signed and deposited: the gateway and the instance accept it, call by call. The page and its Core
// know nothing of it.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { Browser } from "./support/browser.js";
import { Depositing } from "./support/depositing.js";
import { PlainUcloud } from "./support/plain-ucloud.js";
import { TestServer } from "./support/test-server.js";

const ALICE = "alice#1234";
const PROJECT = "0f1d5a0e-0000-4000-8000-000000000001";
let testServer;
let browser;
let signer;
let ucloud;
let folder;

before(async () => {
  testServer = await TestServer.start();
  signer = await Depositing.connect(testServer, "alice");
  browser = await Browser.open(testServer);
  const page = await browser.tab();
  await signer.watch(page);
  ucloud = await PlainUcloud.open(testServer, browser, ALICE, page);
  folder = mkdtempSync(join(tmpdir(), "countersign-plain-"));
});
afterEach(() => assert.deepEqual(browser.complaints(), [], "the page complained"));
after(async () => {
  rmSync(folder, { recursive: true, force: true });
  await browser?.close();
  await testServer?.end();
});

/** What the gateway decided about the requests of a call. */
const decided = async (call) => (await testServer.decisions(call)).map(({ decision }) => decision).filter((one) => ["forward", "refuse"].includes(one));

test("a folder is shown", async () => {
  await (await ucloud.drive("Home")).click();
  await ucloud.file("notes.txt").waitFor();
  assert.deepEqual(await decided("files.browse"), ["forward"]);
});

test("a folder is made, renamed, copied and put into the trash", async () => {
  await ucloud.name("results");
  await ucloud.act("Create folder", "/api/files/folder");
  await ucloud.name("results-1");
  await ucloud.act("Rename results", "/api/files/move");
  await ucloud.name("results-2");
  await ucloud.act("Copy notes.txt", "/api/files/copy");
  await ucloud.file("results-2").waitFor();
  await ucloud.act("Move to trash: results-2", "/api/files/trash");
  assert.deepEqual(await ucloud.page.locator("#notifications li").allInnerTexts(), []);
  for (const call of ["files.createFolder", "files.move", "files.copy", "files.trash"]) assert.deepEqual(await decided(call), ["forward"], call);
});

test("a file is uploaded and downloaded", async () => {
  const content = "run,seconds\n2,43\n".repeat(1000);
  writeFileSync(join(folder, "more.csv"), content);
  await ucloud.page.getByLabel("Upload file").setInputFiles(join(folder, "more.csv"));
  await ucloud.page.locator("#uploads li", { hasText: "more.csv: done" }).waitFor();
  await ucloud.file("more.csv").waitFor();
  const downloading = ucloud.page.waitForEvent("download");
  await ucloud.click("Download more.csv");
  assert.equal(readFileSync(await (await downloading).path(), "utf8"), content);
});

test("a folder is uploaded", async () => {
  const chosen = join(folder, "project");
  mkdirSync(join(chosen, "src"), { recursive: true });
  writeFileSync(join(chosen, "readme"), "read\n");
  writeFileSync(join(chosen, "src", "main"), "");
  await ucloud.page.getByLabel("Upload folder").setInputFiles(chosen);
  await ucloud.page.locator("#uploads li", { hasText: "project: done" }).waitFor();
  await ucloud.click("project");
  await ucloud.file("readme").waitFor();
  await ucloud.file("src").waitFor();
});

test("a search finds a file", async () => {
  await ucloud.name(" readme ");
  await ucloud.click("Search");
  await ucloud.page.locator("#results li", { hasText: /project\/readme$/ }).waitFor();
  assert.deepEqual(await decided("files.streamingSearch"), ["forward"]);
});

test("a terminal runs a command", async () => {
  await ucloud.click("Open terminal");
  await ucloud.page.locator("#terminal:not(:empty)").waitFor();
  await ucloud.page.getByLabel("Terminal input").pressSequentially("echo $((6*7))-here\n");
  await ucloud.page.locator("#terminal", { hasText: "42-here" }).waitFor();
});

test("a drive is its owner's, whatever project the page acts in", async () => {
  await ucloud.click("Drives");
  await ucloud.page.locator("#drive-title").fill(" mine ");
  await ucloud.act("Create drive", "/api/files/collections");
  await (await ucloud.drive("mine")).waitFor();
  const page = await browser.tab();
  await signer.watch(page);
  const inProject = await PlainUcloud.open(testServer, browser, ALICE, page, PROJECT);
  await page.locator("#drive-title").fill("ours");
  await inProject.act("Create drive", "/api/files/collections");
  await inProject.notified("leave the project first");
  await inProject.drive("mine");
  await inProject.act("Rename mine", "/api/files/collections/rename");
  await inProject.drive("ours");
  await inProject.act("Delete ours", "/api/files/collections");
  await page.getByRole("button", { name: "ours", exact: true }).waitFor({ state: "detached" });
  const signed = (call) => signer.deposited.filter((one) => one.call === `files.collections.${call}`).map(({ project }) => project);
  assert.deepEqual([signed("create"), signed("rename"), signed("delete")], [[null, PROJECT], [null], [null]]);
  assert.deepEqual(await decided("files.collections.delete"), ["forward"]);
  await page.evaluate(() => localStorage.removeItem("project"));
  await page.close();
});

test("a job is signed as Core sends it, and the centre says that it offers none", async () => {
  await ucloud.click("Jobs");
  await ucloud.click("Start job");
  await ucloud.notified("does not offer");
  assert.deepEqual(await decided("jobs.create"), ["forward"]);
});

test("SSH keys are signed as a whole list", async () => {
  await ucloud.click("SSH keys");
  for (const key of ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChlQ4vNPmdDjtUcbKvVWBHx4CFzQ9uyQCY1b3tnD a", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDEFChlQ4vNPmdDjtUcbKvVWBHx4CFzQ9uyQCY1b3tnD b"]) {
    await ucloud.page.getByLabel("Public key").fill(key);
    await ucloud.act("Add SSH key", "/api/ssh");
    await ucloud.page.locator("#key-list li", { hasText: key }).waitFor();
  }
  await ucloud.page.locator("#key-list li").first().getByRole("button", { name: "Remove" }).click();
  await ucloud.page.locator("#key-list li").nth(1).waitFor({ state: "detached" });
  assert.deepEqual(await decided("ssh.keyUploaded"), ["forward", "forward", "forward"]);
});
