// The pages themselves: accessible, light and dark, wide and narrow, small on the wire, and quick
// to sign.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { faults } from "./support/axe.js";
import { TestServer } from "./support/test-server.js";
import { User, finished } from "./support/user.js";

/** Maximum size of the whole connection page over the wire, in bytes. */
const CONNECTION_PAGE_MAX = 100_000;

let testServer;
let alice;

before(async () => {
  testServer = await TestServer.start();
  alice = await User.at(testServer, "alice");
});
afterEach(() => assert.deepEqual(alice.browser.complaints(), [], "a page complained"));
after(async () => {
  await alice?.leave();
  await testServer?.end();
});

/** Checks a page for accessibility. */
async function look(page, name) {
  await page.bringToFront();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await faults(page), [], `${name}, ${colorScheme}`);
  }
  const before = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 740 });
  const { wide, room } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    room: document.documentElement.clientWidth,
  }));
  assert.ok(wide <= room, `${name} is ${wide} px wide on a screen of ${room}`);
  assert.deepEqual(await faults(page), [], `${name}, narrow`);
  if (before) await page.setViewportSize(before);
}

test("the connection page, at each of its stations", async () => {
  const empty = await alice.browser.tab(testServer.page("connect"));
  await empty.locator("section.problem").waitFor();
  await look(empty, "connect without a link");
  await empty.close();

  const page = await alice.clickConnect();
  const command = await alice.commandOn(page);
  for (const details of await page.locator("details").all()) {
    if (await details.isVisible()) await details.evaluate((one) => (one.open = true));
  }
  await look(page, "connect, offered");
  await alice.approve(command);
  await finished(page);
  await look(page, "connect, finished");
  await page.close();
});

test("the connection page is small", async (t) => {
  const link = (await testServer.must({ do: "connect", username: "alice#1234" })).redirectTo;
  const page = await alice.browser.tab();
  const session = await alice.browser.context.newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.setCacheDisabled", { cacheDisabled: true });
  const requests = [];
  session.on("Network.loadingFinished", ({ encodedDataLength }) => requests.push(encodedDataLength));
  await page.goto(link);
  await alice.commandOn(page);
  const bytes = requests.reduce((sum, length) => sum + length, 0);
  t.diagnostic(`connection page: ${requests.length} requests, ${bytes} bytes over the wire`);
  assert.ok(bytes > 10_000, `${bytes} bytes: something came from a cache`);
  assert.ok(bytes <= CONNECTION_PAGE_MAX, `${bytes} bytes`);
  await page.close();
});

test("UCloud's page and the desk", async () => {
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
  await look(alice.portal, "UCloud's page");
  await alice.lookAtPortal();
  await alice.portal.getByRole("button", { name: "Make folder" }).click();
  assert.deepEqual(await faults(alice.portal), [], "the question for a name");
  await alice.portal.keyboard.press("Escape");
  const desk = await alice.browser.tab(testServer.desk);
  await desk.locator("#decisions li").first().waitFor();
  await look(desk, "the desk");
  await desk.close();
});

test("the signer, idle and asking", async () => {
  await look(alice.signer, "the signer");
  await alice.trash("notes.txt");
  await alice.question.waitFor();
  await look(alice.signer, "the signer's question");
  await alice.sayNo();
});

test("the keys", async () => {
  const page = await alice.browser.tab(testServer.page("keys"));
  await page.locator("#keys:not([aria-busy])").waitFor();
  await look(page, "the keys");
  await page.close();
});

test("all of it with the keyboard alone", async () => {
  await alice.lookAtPortal();
  await alice.portal.getByRole("button", { name: "Open my files" }).focus();
  await alice.portal.keyboard.press("Enter");
  await alice.file("notes.txt").waitFor();
  await alice.portal.getByRole("button", { name: "Make folder" }).focus();
  await alice.portal.keyboard.press("Enter");
  await alice.portal.keyboard.type("typed");
  await alice.portal.keyboard.press("Enter");
  await alice.file("typed").waitFor();
  await alice.portal.getByRole("button", { name: "Move to trash: typed" }).focus();
  await alice.portal.keyboard.press("Enter");
  await alice.question.waitFor();
  await alice.signer.bringToFront();
  await alice.signer.locator("section.question button.danger:enabled").waitFor();
  for (let presses = 0; presses < 20; presses += 1) {
    await alice.signer.keyboard.press("Tab");
    if (await alice.signer.evaluate(() => document.activeElement?.classList.contains("danger"))) break;
  }
  await alice.signer.keyboard.press("Enter");
  await alice.told("Done.");
  await alice.file("typed").waitFor({ state: "detached" });
});
