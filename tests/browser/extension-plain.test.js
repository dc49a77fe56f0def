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

/** What goes over the sockets that the page opens at the provider, and what it posts there. */
function wire() {
  const frames = [];
  const bodies = [];
  page.on("websocket", (socket) => {
    if (!socket.url().includes("/ucloud/")) return;
    for (const event of ["framesent", "framereceived"]) socket.on(event, ({ payload }) => frames.push(payload));
  });
  page.on("request", (request) => {
    if (request.url().includes("/chunked/upload") && request.method() === "POST") bodies.push(request.postDataBuffer());
  });
  return { frames, bodies };
}

test("extension: a file is downloaded by a navigation that carries its proof", async () => {
  const downloading = page.waitForEvent("download");
  await ucloud.click("Download notes.txt");
  const download = await downloading;
  assert.ok(readFileSync(await download.path()).length > 0);
  assert.match(download.url(), /[?&]intent=[\w-]+\.[\w-]+\.[\w-]+&usernameHint=/);
  assert.match((await alice.recent())[0], /^unsealed: .*Download a file.*not sealed.*The browser downloads by itself/);
});

test("p3: extension: a file is uploaded sealed, and whole", async () => {
  const { bodies } = wire();
  const path = join(files, "measured.csv");
  writeFileSync(path, "a;b\n".repeat(5_000_000));
  await page.getByLabel("Upload file").setInputFiles(path);
  await page.locator("#uploads li", { hasText: "measured.csv: done" }).waitFor();
  await (await reopened()).getByRole("button", { name: "Download measured.csv" }).waitFor();
  assert.equal(bodies.length, 2, "in pieces");
  assert.ok(bodies.every((body) => body === null || !body.includes("a;b\na;b")));
  assert.ok((await alice.recent()).some((line) => /^sealed: .*Upload a file.*sealed/.test(line)));
  const downloading = page.waitForEvent("download");
  await ucloud.click("Download measured.csv");
  assert.ok(readFileSync(await (await downloading).path()).equals(readFileSync(path)), "what was sealed arrived");
});

test("extension: a folder is uploaded over one socket", async () => {
  const folder = join(files, "survey");
  mkdirSync(folder);
  for (const name of ["one", "two"]) writeFileSync(join(folder, name), `${name} of alice`.repeat(50_000));
  const { frames } = wire();
  await page.getByLabel("Upload folder").setInputFiles(folder);
  await page.locator("#uploads li", { hasText: "survey: done" }).waitFor();
  assert.ok(frames.length > 4 && frames.every((frame) => typeof frame !== "string" && !frame.includes("of alice")), "records only");
  await (await reopened()).getByRole("button", { name: "survey", exact: true }).click();
  await page.getByRole("button", { name: "Download two" }).waitFor();
  await reopened();
});

test("extension: a terminal is asked about once, and runs commands", async () => {
  const { frames } = wire();
  await ucloud.click("Open terminal");
  await approve("Open a terminal in a folder");
  const typed = page.locator("#typed");
  await page.locator("#terminal", { hasText: "$" }).waitFor();
  await typed.focus();
  await page.keyboard.type("echo terminal-$((6*7))");
  await page.keyboard.press("Enter");
  await page.locator("#terminal", { hasText: "terminal-42" }).waitFor();
  assert.ok(frames.length > 4 && frames.every((frame) => typeof frame !== "string"), "records only");
  for (const secret of ["terminal-42", "initialize", "input"]) assert.ok(!frames.some((frame) => frame.includes(secret)), secret);
  assert.ok((await alice.recent()).some((line) => /^sealed: .*Open a terminal in a folder.*sealed/.test(line)));
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
