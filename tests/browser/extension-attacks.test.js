// Attacks on the extension: by UCloud's page, by a provider's page, by another extension, and by
// clicks that were meant for something else. None gets a signature for what the user did not see.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Extended, connect } from "./support/extension.js";
import { TestServer } from "./support/test-server.js";
import { HOME, Ucloud, items } from "./support/ucloud.js";

const ALICE = "alice#1234";
let testServer;
let ucloud;
let alice;
let page;
let other;

before(async () => {
  testServer = await TestServer.start();
  ucloud = await Ucloud.start(testServer);
  other = mkdtempSync(join(tmpdir(), "countersign-other-"));
  writeFileSync(join(other, "manifest.json"), JSON.stringify({
    manifest_version: 3, name: "Another", version: "1", background: { service_worker: "worker.js" }, host_permissions: ["<all_urls>"],
  }));
  writeFileSync(join(other, "worker.js"), "");
  alice = await Extended.open(testServer, ucloud, [{ address: testServer.page(""), ucloud: testServer.portal }], { extensions: [other] });
  await connect(alice, "alice");
  page = await alice.atUcloud(ALICE);
});
after(async () => {
  await alice?.close();
  await ucloud?.end();
  await testServer?.end();
  rmSync(other, { recursive: true, force: true });
});

const deposits = async () => (await testServer.must({ do: "decisions" })).decisions.filter(({ decision }) => decision === "deposit");

/** Asks the bridge directly, as a page can that knows how. Resolves with its answer. */
const forged = (question, patience = 10_000) => page.evaluate(({ question, patience }) => new Promise((resolve) => {
  const id = 1_000_000 + Math.floor(Math.random() * 1_000_000);
  document.addEventListener("countersign-answer", ({ detail }) => {
    const { id: of, answer } = JSON.parse(detail);
    if (of === id) resolve(answer);
  });
  document.dispatchEvent(new CustomEvent("countersign-ask", { detail: JSON.stringify({ id, ...question }) }));
  setTimeout(() => resolve("nothing"), patience);
}), { question, patience });

/** Sends a call past the hook, with a frame's own XMLHttpRequest. */
const unhooked = (...given) => page.evaluate(async (given) => {
  const frame = document.body.appendChild(document.createElement("iframe"));
  const hooked = globalThis.XMLHttpRequest;
  globalThis.XMLHttpRequest = frame.contentWindow.XMLHttpRequest;
  try {
    return await globalThis.call(...given);
  } finally {
    globalThis.XMLHttpRequest = hooked;
    frame.remove();
  }
}, given);

const request = (method, path, body) => ({ kind: "xhr", method, path: `/api/${path}`, query: "", body: JSON.stringify(body), username: ALICE, project: null });

test("extension: a page that goes past the hook gets no signature", async () => {
  const before = await deposits();
  const { status, body } = await unhooked("POST", "files/folder", items({ id: `${HOME}/unhooked`, conflictPolicy: "RENAME" }));
  assert.deepEqual([status, body.errorCode], [482, "INTENT_REQUIRED"]);
  assert.equal((await deposits()).length, before.length);
});

test("extension: a page that forges the hook's messages is asked about like any other", async () => {
  const before = await deposits();
  const path = `${HOME}/notes.txt`;
  const asked = forged({ type: "hold", limit: 50_000, request: request("POST", "files/trash", items({ id: path })) });
  const approval = await alice.approval();
  await approval.getByRole("heading", { name: "Move an item to the trash" }).waitFor();
  assert.match(await approval.locator("section.question").innerText(), /notes\.txt/);
  await approval.getByRole("button", { name: "Refuse" }).click();
  assert.equal((await asked).answer.status, 403);
  assert.equal((await deposits()).length, before.length);
});

test("extension: what the page changes after the signature is refused", async () => {
  const folder = HOME;
  assert.deepEqual(await forged({ type: "hold", limit: 50_000, request: request("POST", "files/folder", items({ id: `${folder}/signed`, conflictPolicy: "RENAME" })) }), {});
  const { status, body } = await unhooked("POST", "files/folder", items({ id: `${folder}/changed`, conflictPolicy: "RENAME" }));
  assert.equal(status, 482, JSON.stringify(body));
});

test("extension: a page cannot answer for the user, or play the worker's messages", async () => {
  const before = await deposits();
  for (const type of ["decide", "questions", "show", "ticket"]) {
    assert.equal(await forged({ type, name: "x", approved: true, ticket: "A".repeat(43) }, 500), "nothing", type);
  }
  const answered = alice.call(page, "POST", "files/trash", items({ id: `${HOME}/results.csv` }));
  const approval = await alice.approval();
  await approval.locator("section.question").waitFor();
  // The page lets its own request go: it goes unsigned.
  await page.evaluate(() => {
    for (let id = 0; id < 50; id += 1) document.dispatchEvent(new CustomEvent("countersign-answer", { detail: JSON.stringify({ id, answer: {} }) }));
  });
  assert.equal((await answered).status, 482);
  assert.equal((await deposits()).length, before.length);
  await approval.getByRole("button", { name: "Refuse" }).click().catch(() => {});
});

test("extension: broken and hostile messages change nothing", async () => {
  const before = await deposits();
  const path = HOME;
  const cases = [
    request("GET", "files/folder", items({ id: `${path}/x` })),
    request("POST", "files/browse", items({ id: `${path}/x` })),
    { ...request("POST", "files/folder", items({ id: `${path}/x` })), path: "/api/files/../files/folder" },
    { ...request("POST", "files/folder", items({ id: `${path}/x` })), username: "bob#5678" },
    { ...request("POST", "files/folder", items({ id: `${path}/x` })), body: "{" },
    { ...request("POST", "files/folder", items({ id: `${path}/x` })), body: 7 },
    { ...request("POST", "files/folder", { items: [{ id: `${path}/x`, conflictPolicy: "RENAME", id2: 1 }, null] }) },
    null, 7, [], { __proto__: null },
  ];
  for (const one of cases) assert.deepEqual(await forged({ type: "hold", limit: 5_000, request: one }), {}, JSON.stringify(one));
  assert.equal((await deposits()).length, before.length);
});

test("extension: a flood of questions opens one window", async () => {
  const folder = HOME;
  const flood = page.evaluate(async (folder) => {
    const all = Array.from({ length: 400 }, (_, at) => globalThis.call("POST", "files/trash", { items: [{ id: `${folder}/${at}` }] }));
    return (await Promise.all(all)).map(({ status }) => status);
  }, folder);
  const approval = await alice.approval();
  await approval.locator("section.question").waitFor();
  const windows = alice.browser.context.pages().filter((one) => one.url().startsWith(alice.page("approval.html")));
  assert.equal(windows.length, 1);
  await approval.close();
  const answers = await flood;
  // Refused by the user, by the provider, or by a Core that waits no longer: none was done.
  assert.ok(answers.every((status) => status >= 400), String([...new Set(answers)]));
});

test("extension: its windows cannot be framed or opened by a page", async () => {
  for (const name of ["approval.html", "connect.html", "state.html"]) {
    const outcome = await page.evaluate(async (address) => {
      const frame = document.body.appendChild(document.createElement("iframe"));
      frame.src = address;
      await new Promise((resolve) => setTimeout(resolve, 300));
      const fetched = await fetch(address).then(() => "read", () => "refused");
      const isBlank = (() => {
        try {
          return frame.contentDocument !== null;
        } catch {
          return false;
        }
      })();
      frame.remove();
      return { fetched, isBlank };
    }, alice.page(name));
    assert.equal(outcome.fetched, "refused", name);
  }
  const frames = alice.browser.context.pages().flatMap((one) => one.frames()).filter((frame) => frame !== frame.page().mainFrame());
  assert.ok(frames.every((frame) => !frame.url().startsWith("chrome-extension:")));
  alice.browser.complaints();
});

test("extension: another extension is not listened to", async () => {
  const worker = alice.browser.context.serviceWorkers().find((one) => !one.url().includes(alice.id));
  assert.ok(worker, "the other extension runs");
  const said = await worker.evaluate(async (id) => {
    const tries = [{ type: "questions" }, { type: "decide", name: "x", approved: true }, { type: "hold", name: "x", until: Date.now() + 1e6, request: {} }];
    return Promise.all(tries.map((message) => chrome.runtime.sendMessage(id, message).then((answer) => JSON.stringify(answer ?? null), () => "refused")));
  }, alice.id);
  assert.deepEqual(said, ["refused", "refused", "refused"]);
});

test("extension: a hostile page at the provider sees no ticket", async () => {
  const { redirectTo } = await testServer.must({ do: "connect", username: "bob#5678" });
  const { context } = alice.browser;
  await context.route(testServer.page("connect"), (route) => route.fulfill({
    contentType: "text/html",
    body: "<!doctype html><script>localStorage.seen = (localStorage.seen ?? '') + location.hash + performance.getEntriesByType('navigation')[0].name.split('#')[1]</script>",
  }));
  const tab = await alice.browser.tab();
  await tab.goto(redirectTo).catch(() => {});
  await tab.waitForURL((url) => url.protocol === "chrome-extension:");
  await tab.getByText("bob#5678").waitFor();
  await tab.close();
  const later = await alice.browser.tab(testServer.page("connect"));
  const seen = await later.evaluate(() => localStorage.seen ?? "");
  assert.ok(!seen.includes(new URL(redirectTo).hash.slice(1)), seen);
  await later.close();
  await context.unroute(testServer.page("connect"));
  alice.browser.complaints();
});

test("extension: a click that was meant for something else approves nothing", async () => {
  const before = await deposits();
  const answered = alice.call(page, "POST", "files/trash", items({ id: `${HOME}/notes.txt` }, { id: `${HOME}/clickjacked` }));
  const approval = await alice.approval();
  await approval.bringToFront();
  const button = approval.locator("section.question button.danger");
  await button.waitFor();
  const box = await button.boundingBox();
  const until = Date.now() + 1_500;
  while (Date.now() < until) await approval.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
  assert.equal(await button.isDisabled(), true);
  assert.equal((await deposits()).length, before.length);
  await approval.getByRole("button", { name: "Refuse" }).click();
  assert.equal((await answered).status, 403);
});
