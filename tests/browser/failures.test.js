// Every way in which a connection fails, and what the page then says.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Evil, ticketIn } from "./support/evil.js";
import { TestServer } from "./support/test-server.js";
import { User, finished } from "./support/user.js";

let testServer;
let alice;

before(async () => {
  testServer = await TestServer.start();
  alice = await User.at(testServer, "alice");
});
afterEach(() => assert.deepEqual(alice.browser.complaints(UNREACHABLE), [], "a page complained"));
after(async () => {
  await alice?.leave();
  await testServer?.end();
});

/** Chromium's message about an unreachable provider, which one test expects. */
const UNREACHABLE = /net::ERR_(CONNECTION_REFUSED|EMPTY_RESPONSE|CONNECTION_RESET|CONNECTION_CLOSED)/;

/** Waits until the page shows a problem of this kind, and returns its text. */
async function problem(page, kind) {
  const section = page.locator(`section.problem[data-kind="${kind}"]`);
  await section.waitFor();
  assert.equal(await page.locator("#connection").isHidden(), true, "nothing else is shown");
  return section.innerText();
}

const begun = async (username = "alice#1234") => (await testServer.must({ do: "connect", username })).redirectTo;

test("without a link there is nothing to connect, and it says how to begin", async () => {
  const page = await alice.browser.tab(testServer.page("connect"));
  assert.match(await problem(page, "no-ticket"), /countersign connect start/);
  await page.close();
});

test("a link that nobody knows does not work any more", async () => {
  const page = await alice.browser.tab(`${testServer.page("connect")}#${"A".repeat(43)}`);
  assert.match(await problem(page, "unknown"), /fifteen minutes/);
  await page.close();
});

test("an expired link says so", async () => {
  // A link lives for fifteen minutes. This is the answer that the provider gives afterwards.
  const link = await begun();
  const { body } = await new Evil(testServer).post("connect/describe", { ticket: ticketIn(link) });
  const page = await alice.browser.tab();
  await page.route("**/connect/describe", (route) => route.fulfill({ json: { ...body, state: "dead", why: "expired" } }));
  await page.goto(link);
  assert.match(await problem(page, "expired"), /Nothing has changed/);
  await page.close();
});

test("two browsers with one link: both say that another browser offered a key", async () => {
  const other = await User.at(testServer, "alice");
  try {
    const link = await begun();
    const mine = await alice.browser.tab(link);
    const command = await alice.commandOn(mine);
    const theirs = await other.browser.tab(link);
    assert.match(await problem(theirs, "second-offer"), /do not approve anything/);
    assert.match(await problem(mine, "second-offer"), /Neither browser got access/);
    assert.equal((await alice.approve(command)).ok, false, "the first key cannot be approved either");
    assert.deepEqual(other.browser.complaints(), []);
    await mine.close();
  } finally {
    await other.leave();
  }
});

test("a used link says so in another browser", async () => {
  const other = await User.at(testServer, "alice");
  try {
    const link = await begun();
    const mine = await alice.browser.tab(link);
    await alice.approve(await alice.commandOn(mine));
    await finished(mine);
    const theirs = await other.browser.tab(link);
    assert.match(await problem(theirs, "used"), /does not have that key/);
    await mine.close();
  } finally {
    await other.leave();
  }
});

test("a browser that keeps nothing gets a key for this session, and is told so", async () => {
  const bob = await User.at(testServer, "bob");
  try {
    await bob.browser.context.addInitScript(() => {
      IDBFactory.prototype.open = () => {
        throw new DOMException("no storage in a private window", "SecurityError");
      };
    });
    const page = await bob.clickConnect();
    assert.match(await problem(page, "no-storage"), /private window/);
    await page.getByRole("button", { name: "Use a key for this session only" }).click();
    await bob.approve(await bob.commandOn(page));
    await finished(page);
    await page.getByText("Keep this tab open").waitFor();
    await bob.openFiles();
    await bob.file("notes.txt").waitFor();
    await bob.signer.getByText("with a key for this session only").waitFor();
    assert.deepEqual(bob.browser.complaints(), []);
  } finally {
    await bob.leave();
  }
});

for (const [minutes, told] of [
  [7, /7 minutes ahead/],
  [-7, /7 minutes behind/],
]) {
  test(`a clock that is off by ${minutes} minutes is told of, and works all the same`, async () => {
    const user = await User.at(testServer, "alice");
    try {
      await user.browser.context.addInitScript((offset) => {
        const { now } = Date;
        Date.now = () => now() + offset;
      }, minutes * 60_000);
      const page = await user.clickConnect();
      const command = await user.commandOn(page);
      assert.match(await page.locator("#clock").innerText(), told);
      await user.approve(command);
      await finished(page);
      await user.openFiles();
      await user.file("notes.txt").waitFor();
      assert.deepEqual(user.browser.complaints(), []);
    } finally {
      await user.leave();
    }
  });
}

test("a provider that does not answer is asked again, and nothing is lost", async () => {
  const page = await alice.browser.tab(await begun());
  const command = await alice.commandOn(page);
  await testServer.must({ do: "stop", what: "server" });
  await page.getByText("The provider does not answer").waitFor();
  await testServer.must({ do: "restart", what: "server" });
  assert.equal((await alice.approve(command)).ok, true);
  await page.getByRole("button", { name: "Try now" }).click({ timeout: 2_000 }).catch(() => "it has asked by itself");
  await finished(page);
  await page.close();
});
