// Attacks of a taken-over Core on the connection and the pages. It sees every link first, and
// serves any content at its own origin. None of it activates a key.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Evil, ticketIn } from "./support/evil.js";
import { TestServer } from "./support/test-server.js";
import { User, finished } from "./support/user.js";

let testServer;
let evil;
let alice;
let bob;

before(async () => {
  testServer = await TestServer.start();
  evil = new Evil(testServer);
  [alice, bob] = [await User.at(testServer, "alice"), await User.at(testServer, "bob")];
});
afterEach(() => {
  for (const user of [alice, bob]) assert.deepEqual(user.browser.complaints(), [], "a page complained");
});
after(async () => {
  await alice?.leave();
  await bob?.leave();
  await testServer?.end();
});

const begun = async (username) => (await testServer.must({ do: "connect", username })).redirectTo;

/** The active keys of this account, as the centre lists them. */
async function active(account) {
  const { stdout } = await testServer.must({ do: "run", arguments: ["keys", "list", "--json"], as: account });
  const listed = JSON.parse(stdout);
  return (Array.isArray(listed) ? listed : listed.keys).filter(({ state }) => state === "active").map(({ kid }) => kid);
}

async function assertWorthless(key, username) {
  const answer = await evil.list(key, username);
  assert.deepEqual([answer.status, answer.body.errorCode], [482, "INTENT_INVALID"]);
}

/** A page at Core's own origin, with the content of a taken-over Core and without any policy. */
async function evilPage(user, script) {
  const address = `${testServer.portal}/evil`;
  await user.browser.context.unroute(address);
  await user.browser.context.route(address, (route) =>
    route.fulfill({ contentType: "text/html", body: `<!doctype html><title>UCloud</title><script>${script}</script>` }),
  );
  return user.browser.tab(address);
}

test("Core offers a key before the user does: both are refused, and the user is told", async () => {
  const link = await begun("alice#1234");
  const { key, answer } = await evil.offer(ticketIn(link));
  assert.equal(answer.status, 200, "whoever has the ticket may offer a key");
  const page = await alice.browser.tab(link);
  await page.locator('section.problem[data-kind="second-offer"]').waitFor();
  assert.equal((await alice.approve(answer.body.command)).ok, false);
  await assertWorthless(key, "alice#1234");
  assert.deepEqual(await active("alice"), []);
  await page.close();
});

test("Core offers a key after the user did: both are refused, and the user is told", async () => {
  const link = await begun("alice#1234");
  const page = await alice.browser.tab(link);
  const command = await alice.commandOn(page);
  const { answer } = await evil.offer(ticketIn(link));
  assert.notEqual(answer.status, 200);
  await page.locator('section.problem[data-kind="second-offer"]').waitFor();
  assert.equal((await alice.approve(command)).ok, false);
  assert.deepEqual(await active("alice"), []);
  await page.close();
});

test("Core offers a key instead of the user: it stays an offer", async () => {
  const link = await begun("alice#1234");
  const { key, answer } = await evil.offer(ticketIn(link));
  assert.equal(answer.status, 200);
  await assertWorthless(key, "alice#1234");
  assert.deepEqual(await active("alice"), []);
});

test("Core offers a key after the approval: the user's counts, and the user is told", async () => {
  const link = await begun("alice#1234");
  const page = await alice.browser.tab(link);
  assert.equal((await alice.approve(await alice.commandOn(page))).ok, true);
  await finished(page);
  const { answer } = await evil.offer(ticketIn(link));
  assert.notEqual(answer.status, 200);
  const keys = await active("alice");
  assert.deepEqual(keys, (await alice.keys()).map(({ kid }) => kid));
  await page.reload();
  await page.getByText("Another browser offered a key with the same link").waitFor();
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
  await page.close();
});

test("Core swaps the links of two users: each page says for whom it is, and neither approval goes through", async (t) => {
  await (await bob.connect()).close();
  const before = [await active("alice"), await active("bob")];
  for (const [user, other] of [
    [alice, "bob#5678"],
    [bob, "alice#1234"],
  ]) {
    const page = await user.browser.tab(await begun(other));
    await page.getByText(`The UCloud user ${other}`).waitFor();
    const approved = await user.approve(await user.commandOn(page));
    if (process.env.COUNTERSIGN_ACCOUNTS === "own") assert.equal(approved.ok, false, "the account is somebody else's");
    else t.diagnostic("with one account for all, a user has no account that could be somebody else's");
    await page.close();
  }
  if (process.env.COUNTERSIGN_ACCOUNTS === "own") assert.deepEqual([await active("alice"), await active("bob")], before);
});

test("Core frames the pages: the browser shows none of them", async () => {
  for (const name of ["connect", "keys", "signer"]) {
    const page = await evilPage(alice, "");
    const loaded = await page.evaluate(
      (address) =>
        new Promise((resolve) => {
          const frame = document.createElement("iframe");
          frame.onload = () => resolve(frame.contentWindow.length);
          frame.src = address;
          document.body.append(frame);
        }),
      testServer.page(name),
    );
    assert.equal(loaded, 0);
    assert.ok(
      page.frames().every((frame) => !frame.url().includes("/ucloud/")),
      `${name} is in a frame`,
    );
    const complaints = alice.browser.complaints(/frame-ancestors/);
    assert.deepEqual(complaints, []);
    await page.close();
  }
});

test("Core opens the pages and tries to reach into them: it gets nothing", async () => {
  const link = await begun("bob#5678");
  const page = await evilPage(alice, "");
  for (const address of [link, testServer.page("keys"), testServer.page("signer")]) {
    await page.bringToFront();
    const opening = alice.browser.context.waitForEvent("page");
    const reached = page.evaluate(async (address) => {
      const opened = window.open(address, "_blank");
      const tried = {};
      const attempt = (name, act) => {
        try {
          act();
          tried[name] = true;
        } catch {
          tried[name] = false;
        }
      };
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      attempt("document", () => opened.document.body);
      attempt("storage", () => opened.indexedDB);
      attempt("script", () => opened.eval("1"));
      attempt("address", () => opened.location.href);
      return { ...tried, closed: opened.closed };
    }, address);
    const opened = await opening;
    await opened.waitForLoadState();
    const { closed, ...tried } = await reached;
    if (address.includes("/signer")) assert.equal(closed, false, "the signer's window stays within reach of messages");
    else assert.equal(closed, true, "the two have nothing to do with each other");
    // A window that was cut off answers only `closed`; its other properties are those of a closed
    // window.
    if (!closed) assert.deepEqual(tried, { document: false, storage: false, script: false, address: false });
    await opened.close();
  }
  await page.close();
});

test("Core's page posts to the provider as if it were the provider's own: refused each time", async () => {
  const link = await begun("bob#5678");
  const page = await evilPage(alice, "");
  // Otherwise Chromium itself would block requests from a page that no loop-back address has
  // served. In the field no address is loop-back.
  await alice.browser.context.grantPermissions(["local-network-access"], { origin: testServer.portal });
  const before = (await testServer.must({ do: "decisions" })).decisions.length;
  const outcomes = await page.evaluate(
    async ({ base, ticket }) => {
      const send = (path, type, mode) =>
        fetch(`${base}/${path}`, { method: "POST", mode, headers: { "content-type": type }, body: JSON.stringify({ ticket }) }).then(
          (answer) => answer.type,
          () => "failed",
        );
      const json = "application/json";
      return [
        await send("connect/describe", json, "cors"),
        await send("connect/offer", json, "cors"),
        await send("connect/status", json, "cors"),
        await send("connect/describe", "text/plain", "no-cors"),
        await send("connect/offer", "text/plain", "no-cors"),
      ];
    },
    { base: `${testServer.provider}/ucloud/hpc`, ticket: ticketIn(link) },
  );
  assert.deepEqual(outcomes.slice(0, 3), ["failed", "failed", "failed"]);
  const made = (await testServer.must({ do: "decisions" })).decisions.slice(before);
  // The first refusal of a kind is recorded, the others are counted.
  assert.ok(made.length >= 1, JSON.stringify(made));
  for (const decision of made) assert.equal(decision.decision, "refuse", JSON.stringify(decision));
  const complaints = alice.browser.complaints();
  // The last one is about answers that no other origin may load (Cross-Origin-Resource-Policy).
  const isExpected = (complaint) => /CORS|ERR_FAILED|ERR_BLOCKED_BY_RESPONSE/.test(complaint);
  assert.ok(complaints.every(isExpected), complaints.join("\n"));
  await page.close();
});

test("a page that lies about its origin to the provider is refused as well", async () => {
  const ticket = ticketIn(await begun("bob#5678"));
  for (const origin of [testServer.portal, "https://localhost", "null", `${testServer.provider}.evil.example`]) {
    const answer = await evil.post("connect/offer", { ticket }, { origin, "content-type": "application/json" });
    assert.equal(answer.status >= 400, true, origin);
    assert.equal(answer.headers["access-control-allow-origin"], undefined, origin);
  }
});

test("Core answers for the provider: a page of its own says connected, and nothing is", async () => {
  const stranger = await User.at(testServer, "bob");
  try {
    await stranger.browser.context.route(`${testServer.portal}/call`, (route) => {
      const asked = route.request().postDataJSON();
      if (asked.call !== "connect") return route.continue();
      return route.fulfill({ json: { answer: { status: 200, body: { redirectTo: `${testServer.portal}/evil` } }, attempt: null } });
    });
    await stranger.browser.context.route(`${testServer.portal}/evil`, (route) =>
      route.fulfill({ contentType: "text/html", body: "<!doctype html><title>Connect</title><h1>You are connected</h1>" }),
    );
    const before = await active("bob");
    const page = await stranger.clickConnect();
    await finished(page);
    const seen = await page.evaluate(async () => (await indexedDB.databases()).length);
    assert.equal(seen, 0, "no key of the provider's is within reach");
    await stranger.openFiles();
    assert.match(await stranger.told("That did not work."), /no key/);
    assert.deepEqual(await active("bob"), before);
    assert.deepEqual(stranger.browser.complaints(), []);
  } finally {
    await stranger.leave();
  }
});
