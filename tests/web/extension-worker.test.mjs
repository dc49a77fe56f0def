// The extension's worker as the browser runs it: whom it answers, and which providers it knows.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";

const UCLOUD = "https://cloud.example.org";
const PROVIDER = "https://hpc.example.org";
const OURS = "chrome-extension://ours";
const state = {
  packaged: { providers: [] }, policy: { providers: [] }, own: { providers: [{ address: `${PROVIDER}/ucloud/hpc`, ucloud: UCLOUD }] },
  permitted: () => true, registered: [], opened: [], session: new Map(), listener: null,
};
const event = { addListener: () => {} };
globalThis.browser = {
  runtime: {
    id: "ours", getURL: (path) => `${OURS}/${path}`, onInstalled: event, onStartup: event,
    onMessage: { addListener: (listener) => (state.listener = listener) },
  },
  i18n: { getMessage: () => "en" },
  permissions: { contains: async ({ origins }) => state.permitted(origins), onAdded: event, onRemoved: event },
  scripting: {
    getRegisteredContentScripts: async () => state.registered,
    unregisterContentScripts: async () => void (state.registered = []),
    registerContentScripts: async (scripts) => void (state.registered = scripts),
  },
  storage: {
    managed: { get: async () => state.policy },
    local: { get: async () => state.own, set: async (values) => void Object.assign(state.own, values) },
    session: {
      get: async (name) => (name === null ? Object.fromEntries(state.session) : { [name]: state.session.get(name) }),
      set: async (values) => Object.entries(values).forEach(([name, value]) => state.session.set(name, value)),
      remove: async (name) => void state.session.delete(name),
    },
    onChanged: event,
  },
  tabs: { update: async (id, { url }) => void state.opened.push([id, url]) },
  windows: { create: async () => ({ id: 7 }), update: async () => {}, onRemoved: event },
  action: { setBadgeText: async () => {}, setBadgeBackgroundColor: async () => {} },
};
globalThis.fetch = async () => ({ json: async () => state.packaged });
globalThis.BroadcastChannel = class {};
await import("../../web/extension/worker/worker.js");
const { addSite, permittedSites, removeSite, sites } = await import("../../web/extension/worker/settings.js");

/** Sends the worker a message. */
const send = (message, sender) => new Promise((resolve) => assert.equal(state.listener(message, { id: "ours", ...sender }, resolve), true));
const pageOf = (origin, more = {}) => ({ origin, url: `${origin}/app`, tab: { id: 1 }, frameId: 0, ...more });
const question = (name = "decided") => {
  state.session.set(`question/${name}`, { name, id: name, state: "asking", until: Date.now() + 60_000, parts: [], drives: {}, silent: [], username: "alice", ucloud: UCLOUD, asked: "" });
  return () => state.session.get(`question/${name}`).state;
};
const windowOf = (name) => ({ origin: OURS, url: `${OURS}/extension/windows/${name}`, tab: { id: 2 }, frameId: 0 });

test("extension: only its own windows decide, and see questions", async () => {
  for (const [what, sender] of Object.entries({
    "UCloud's page": pageOf(UCLOUD), "the provider's page": pageOf(PROVIDER), "another page": pageOf("https://evil.example"),
    "a page with a window's path": pageOf("https://evil.example", { url: "https://evil.example/extension/windows/approval.html" }),
    "another extension": { ...windowOf("approval.html"), id: "theirs" },
    "another extension's window": { id: "theirs", origin: "chrome-extension://theirs", url: "chrome-extension://theirs/extension/windows/approval.html" },
    "a content script that names our window as its origin": pageOf(OURS, { url: `${UCLOUD}/app` }),
  })) {
    const stateOf = question();
    assert.deepEqual(await send({ type: "decide", id: "decided", approved: true }, sender), {}, what);
    assert.equal(stateOf(), "asking", what);
    assert.deepEqual(await send({ type: "questions" }, sender), {}, what);
  }
  const stateOf = question();
  assert.equal((await send({ type: "questions" }, windowOf("approval.html"))).questions.length, 1);
  await send({ type: "decide", id: "decided", approved: "yes" }, windowOf("approval.html"));
  assert.equal(stateOf(), "refused", "anything but true is no");
  question();
  await send({ type: "decide", id: "decided", approved: true }, windowOf("approval.html"));
  assert.equal(state.session.get("question/decided").state, "approved");
  state.session.delete("question/decided");
});

test("extension: only the top document of a configured UCloud may ask", async () => {
  const ask = async (sender) => {
    state.session.delete("record");
    const request = { kind: "xhr", method: "POST", path: "/api/files/trash", query: "", body: "{}", username: "alice", project: null, lists: {} };
    await send({ type: "hold", name: `x/${Math.random()}`, until: Date.now() + 1_000, request }, sender);
    await new Promise((resolve) => setTimeout(resolve, 5));
    return (state.session.get("record") ?? []).length;
  };
  assert.equal(await ask(pageOf(UCLOUD)), 1, "heard, and not signed: there is no key");
  for (const sender of [
    pageOf("https://evil.example"), pageOf(PROVIDER), pageOf(`${UCLOUD}:8443`), pageOf("http://cloud.example.org"), pageOf(UCLOUD, { frameId: 3 }),
    { ...pageOf(UCLOUD), tab: undefined }, { ...pageOf(UCLOUD), id: "theirs" }, pageOf("null", { url: `${UCLOUD}/app` }),
  ]) assert.equal(await ask(sender), 0, JSON.stringify(sender));
});

test("extension: only a provider's own connection page hands over a ticket", async () => {
  const ticket = "A".repeat(43);
  const hand = async (sender, given = ticket) => {
    state.opened.length = 0;
    await send({ type: "ticket", ticket: given }, sender);
    return state.opened;
  };
  const connection = pageOf(PROVIDER, { url: `${PROVIDER}/ucloud/hpc/connect` });
  assert.deepEqual(await hand(connection), [[1, `${OURS}/extension/windows/connect.html?provider=hpc#${ticket}`]]);
  for (const sender of [
    pageOf(UCLOUD, { url: `${UCLOUD}/ucloud/hpc/connect` }), pageOf(PROVIDER, { url: `${PROVIDER}/ucloud/other/connect` }),
    pageOf(PROVIDER, { url: `${PROVIDER}/ucloud/hpc/download` }), { ...connection, frameId: 1 }, { ...connection, id: "theirs" },
  ]) assert.deepEqual(await hand(sender), [], JSON.stringify(sender));
  for (const other of ["", "javascript:alert(1)", `${ticket}#`, 7]) assert.deepEqual(await hand(connection, other), [], String(other));
});

test("extension: unknown messages get nothing", async () => {
  for (const message of [null, 7, "hold", {}, { type: "toString" }, { type: "constructor" }, { type: "__proto__" }]) {
    assert.deepEqual(await send(message, pageOf(UCLOUD)), {}, JSON.stringify(message));
    assert.deepEqual(await send(message, windowOf("state.html")), {}, JSON.stringify(message));
  }
});

test("extension: package, policy and user name providers, in this order", async () => {
  const named = async () => (await sites()).map(({ id, origin, by }) => [id, origin, by]);
  state.policy = { providers: [{ address: "https://policy.example/ucloud/hpc", ucloud: UCLOUD }, { address: "nonsense" }, null, 7] };
  assert.deepEqual(await named(), [["hpc", "https://policy.example", "policy"]]);
  state.packaged = { providers: [{ address: "https://packaged.example/ucloud/hpc", ucloud: UCLOUD }] };
  assert.deepEqual(await named(), [["hpc", "https://packaged.example", "package"]]);
  state.packaged = { providers: [] };
  state.policy = { providers: "nonsense" };
  assert.deepEqual(await named(), [["hpc", PROVIDER, "user"]]);
  await addSite({ id: "second", origin: "https://second.example", ucloud: UCLOUD, by: "user" });
  assert.deepEqual((await named()).map(([id]) => id), ["hpc", "second"]);
  state.permitted = (origins) => !origins.includes("https://second.example/*");
  assert.deepEqual((await permittedSites()).map(({ id }) => id), ["hpc"], "what the browser does not permit is not used");
  await removeSite("second");
  assert.deepEqual((await named()).map(([id]) => id), ["hpc"]);
});
