// What the extension costs, as ratios within one run: a read that is signed before it leaves, sealed
// transfers against unsealed ones, and the echo of a key. Started by tests/browser/costs.

import { Extended } from "./extension.js";
import { PlainUcloud } from "./plain-ucloud.js";
import { TestServer } from "./test-server.js";
import { items } from "./ucloud.js";

const READS = 80;
const KEYS = 200;
const ROUNDS = 5;
const SIZE = 16_000_000;
/** As UCloud's page cuts its files. */
const PIECE = 16_000_000;

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const testServer = await TestServer.start();
const alice = await Extended.open(testServer, null, [{ address: testServer.page(""), ucloud: testServer.portal }]);
/** The user's drive, by its number. */
let home = "";
try {
  const connection = await connected();
  const { page } = await PlainUcloud.open(testServer, alice.browser, "alice#1234");
  await page.evaluate(async () => {
    const { callApi } = await import("/app/api.js");
    globalThis.call = async (method, path, payload) => ({ body: await callApi({ method, path, payload }) });
  });
  while (home === "") {
    const { body } = await alice.call(page, "GET", "files/collections/browse?itemsPerPage=250");
    const drive = body.items.find(({ specification }) => specification.title === "Home");
    if (drive !== undefined) home = `/${drive.id}`;
  }
  await reads(page);
  await transfers(page, connection);
  await echo(page, connection);
} finally {
  await alice.close();
  await testServer.end();
}

/** Connects the user. Returns the extension's page. */
async function connected() {
  const ucloud = await PlainUcloud.open(testServer, alice.browser, "alice#1234");
  await ucloud.click("Connect to providers");
  await ucloud.click("Connect to hpc");
  await ucloud.page.waitForURL((url) => url.protocol === "chrome-extension:");
  const command = ucloud.page.locator("#command:not(:empty)");
  await command.waitFor();
  await testServer.must({ do: "approve", code: (await command.textContent()).split(" ").at(-1), as: "alice" });
  await ucloud.page.getByRole("heading", { name: "You are connected" }).waitFor();
  return ucloud.page;
}

/** From the page's `send` to the request's own start, and the whole request. */
async function reads(page) {
  const measured = await page.evaluate(async ({ path, count }) => {
    const held = [];
    const whole = [];
    for (let at = 0; at < count; at += 1) {
      performance.clearResourceTimings();
      const begun = performance.now();
      await globalThis.call("GET", path);
      whole.push(performance.now() - begun);
      held.push(performance.getEntriesByType("resource").find(({ name }) => name.includes("/files/browse")).startTime - begun);
    }
    return { held, whole };
  }, { path: `files/browse?path=${encodeURIComponent(home)}`, count: READS });
  const [held, whole] = [median(measured.held), median(measured.whole)];
  console.log(`read: held ${held.toFixed(1)} ms of ${whole.toFixed(1)} ms (${(held / whole).toFixed(2)} of the whole), median of ${READS}`);
}

/** Lets the extension forget the instance key, and remember it again: without it nothing is sealed. */
async function seal(connection, isSealed) {
  await connection.evaluate(async (isSealed) => {
    const { openStorage } = await import("/js/storage.js");
    const storage = await openStorage();
    for (const key of await storage.keys()) {
      globalThis.pinned ??= key.instanceKey;
      await storage.putKey({ ...key, instanceKey: isSealed ? globalThis.pinned : null });
    }
  }, isSealed);
  await alice.stopWorker();
}

async function transfers(page, connection) {
  const rates = { up: { true: [], false: [] }, down: { true: [], false: [] } };
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const isSealed of [true, false]) {
      await seal(connection, isSealed);
      const id = `${home}/cost-${round}-${isSealed}`;
      const up = await page.evaluate(upload, { id, size: SIZE, piece: PIECE });
      const { body } = await alice.call(page, "POST", "files/download", items({ id }));
      const down = await connection.evaluate(download, { endpoint: body.responses[0].endpoint, isSealed, provider: testServer.id });
      if (down.length !== SIZE) throw new Error(`${down.length} bytes came`);
      // The first round warms up.
      if (round === 0) continue;
      rates.up[isSealed].push(SIZE / up / 1_000);
      rates.down[isSealed].push(SIZE / down.took / 1_000);
    }
  }
  for (const [way, { true: sealed, false: plain }] of Object.entries(rates)) {
    console.log(`${way === "up" ? "upload through the extension" : "download as the SDK reads it"}: sealed ${median(sealed).toFixed(0)} MB/s, unsealed ${median(plain).toFixed(0)} MB/s: ${(median(sealed) / median(plain)).toFixed(2)}, median of ${ROUNDS}`);
  }
}

/** Runs in UCloud's page: uploads a file in pieces, as that page does. Returns the milliseconds of its pieces. */
async function upload({ id, size, piece }) {
  const { body } = await globalThis.call("POST", "files/upload", { type: "bulk", items: [{ id, type: "FILE", conflictPolicy: "RENAME", supportedProtocols: ["CHUNKED"] }] });
  const { endpoint, token } = body.responses[0];
  const file = new Blob([new Uint8Array(size).map((_, at) => at)]);
  const begun = performance.now();
  for (let offset = 0; offset < size; offset += piece) {
    const bytes = await file.slice(offset, offset + piece).arrayBuffer();
    const xhr = new XMLHttpRequest();
    xhr.open("POST", endpoint);
    for (const [name, value] of Object.entries({ "Chunked-Upload-Token": token, "Chunked-Upload-Offset": String(offset), "Chunked-Upload-Total-Size": String(size) })) xhr.setRequestHeader(name, value);
    await new Promise((resolve, reject) => {
      xhr.onload = () => (xhr.status === 200 ? resolve() : reject(new Error(`${xhr.status} ${xhr.responseText}`)));
      xhr.send(bytes);
    });
  }
  return performance.now() - begun;
}

/** Runs in a page of the extension: fetches a file as the SDK does (web/sdk/downloads.js). */
async function download({ endpoint, isSealed, provider }) {
  const [{ openStorage }, { signIntent }, { readTable }, { Frames, KIND, agree }] = await Promise.all(["/js/storage.js", "/js/intent.js", "/js/table.js", "/sdk/seal.js"].map((name) => import(name)));
  const table = readTable(await (await fetch("/extension/calls.json")).json());
  const [key] = (await (await openStorage()).keys()).filter((one) => one.provider === provider);
  const url = new URL(endpoint);
  const token = url.searchParams.get("token");
  const sealing = isSealed ? await agree(token) : null;
  const hash = btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token))))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const item = { token: hash, offset: null, size: null, total: null, digest: null, ...(sealing === null ? {} : { enc: sealing.enc }) };
  const intent = await signIntent(key, { origin: url.origin, username: key.username, project: null, row: table.get("session.open"), items: [item], now: Date.now() / 1000 });
  url.search = "";
  for (const [name, value] of Object.entries({ token, intent, ...(sealing === null ? {} : { enc: sealing.enc }) })) url.searchParams.set(name, value);
  const begun = performance.now();
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  const { opener } = sealing === null ? {} : await sealing.session(intent);
  const frames = new Frames();
  const reader = answer.body.getReader();
  const parts = [];
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    if (opener === undefined) parts.push(piece.value);
    else for (const message of await Promise.all(frames.take(piece.value).map((record) => opener.open(record)))) if (message?.kind === KIND.MESSAGE) parts.push(message.bytes);
  }
  // The first message names the file.
  if (opener !== undefined) parts.shift();
  return { took: performance.now() - begun, length: parts.reduce((sum, { length }) => sum + length, 0) };
}

async function echo(page, connection) {
  const taken = {};
  for (const isSealed of [true, false]) {
    await seal(connection, isSealed);
    const answered = alice.call(page, "POST", "jobs/openTerminalInFolder", items({ folder: home }));
    const approval = await alice.approval();
    await approval.bringToFront();
    await approval.locator("section.question button.danger:not([disabled])").click();
    const { body } = await answered;
    await page.bringToFront();
    taken[isSealed] = await page.evaluate(type, { ...body.responses[0], count: KEYS });
  }
  const [sealed, plain] = [median(taken.true), median(taken.false)];
  console.log(`echo of a key: sealed ${sealed.toFixed(2)} ms, unsealed ${plain.toFixed(2)} ms: ${(sealed - plain).toFixed(2)} ms more, median of ${KEYS}`);
}

/** Runs in UCloud's page: types keys into a terminal, one after the echo of the other. Returns the milliseconds of each. */
async function type({ providerDomain, providerId, session: { sessionIdentifier }, count }) {
  const socket = new WebSocket(`${providerDomain.replace("http", "ws")}/ucloud/${providerId}/websocket?session=${sessionIdentifier}`);
  await Promise.resolve();
  let heard = () => {};
  let shown = "";
  socket.onmessage = ({ data }) => {
    shown += JSON.parse(data).payload?.data ?? "";
    heard();
  };
  const until = (holds) => new Promise((resolve) => {
    heard = () => holds() && resolve();
    heard();
  });
  let stream = 0;
  const say = (payload) => socket.send(JSON.stringify({ call: `jobs.compute.${providerId}.shell.open`, streamId: String(stream++), payload }));
  await new Promise((resolve) => (socket.onopen = resolve));
  say({ type: "initialize", sessionIdentifier, cols: 80, rows: 24 });
  await until(() => shown.includes("$"));
  const taken = [];
  for (let at = 0; at < count; at += 1) {
    shown = "";
    const begun = performance.now();
    say({ type: "input", data: "x" });
    await until(() => shown.includes("x"));
    taken.push(performance.now() - begun);
    if (at % 20 === 19) {
      shown = "";
      say({ type: "input", data: "\u0015" });
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }
  socket.close();
  return taken;
}
