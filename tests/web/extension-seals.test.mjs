// The extension's sealed sessions: which tokens the worker lets be used, and sealed; and hook and bridge
// with a simulated instance, behind a gateway that does what it likes.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { digest } from "../../web/js/digest.js";
import { makeKeyPair } from "../../web/js/jws.js";
import { REVISION, packedTable } from "../../web/js/packed-table.js";
import { ConnectedProvider } from "../../web/extension/worker/connected-provider.js";
import { Tokens } from "../../web/extension/worker/tokens.js";
import { KIND } from "../../web/sdk/seal.js";
import { instance } from "./sealing-instance.mjs";

const TABLE = JSON.parse(await readFile(new URL("../../keys/tests/vectors/calls.json", import.meta.url), "utf8"));
const UCLOUD = "https://cloud.example.org";
const ORIGIN = "https://hpc.example.org";
const BASE = `${ORIGIN}/ucloud/hpc`;
const { privateKey } = await makeKeyPair("EdDSA");
const utf8 = (text) => new TextEncoder().encode(text);
const claimsOf = (jws) => JSON.parse(Buffer.from(jws.split(".")[1], "base64url").toString("utf8"));
const table = packedTable(TABLE, TABLE, REVISION);
const ENC = "A".repeat(87);

/** The worker's part, for a user whose browser pinned this key of the instance. */
function worker(instanceKey) {
  const one = new ConnectedProvider({ id: "hpc", origin: ORIGIN, ucloud: UCLOUD, by: "user" }, "calls.json");
  one.provider = { table: async () => table };
  const seen = { noted: [], failed: [] };
  const kept = new Map();
  const tokens = new Tokens({
    providers: async () => [one],
    keys: async () => [{
      kid: "AAAAAAAAAAAAAAAAAAAAAA", provider: "hpc", username: "alice", privateKey, state: "active", name: "x", created: 1_000,
      expires: null, lastUsed: null, lifetimeMax: 60, sessionOnly: false, instanceKey,
    }],
    session: { get: async (name) => kept.get(name), set: async (name, value) => void kept.set(name, value) },
    note: (entry) => void seen.noted.push(entry), failed: (error) => void seen.failed.push(error.why ?? error.name),
  });
  return { tokens, seen, provider: one };
}
const shell = (token) => ({ providerDomain: ORIGIN, providerId: "hpc", session: { type: "shell", jobId: "1", rank: 0, sessionIdentifier: token } });
const file = (token, place) => ({ endpoint: `${BASE}/${place}?token=${token}`, protocol: "WEBSOCKET", token });
const asked = (tokens, response, encs) => tokens.withProofs({ text: JSON.stringify({ responses: [response] }), encs }, UCLOUD);
const paramsOf = (token, more) => digest(table.get("session.open"), { token, offset: null, size: null, total: null, digest: null, ...more });
const hashOf = async (token) => Buffer.from(await crypto.subtle.digest("SHA-256", utf8(token))).toString("base64url");

test("p3: extension: a terminal and an upload are sealed with the key that their intent signs", async () => {
  for (const [call, response] of [["jobs.openTerminalInFolder", shell], ["jobs.openInteractiveSession", shell], ["files.createUpload", (token) => file(token, "upload")]]) {
    const { token, pinned } = await instance(call);
    const { tokens, seen } = worker(pinned);
    const { sealed, text } = await asked(tokens, response(token), { [token]: ENC });
    const { intent, enc } = sealed[token];
    assert.equal(enc, ENC);
    assert.deepEqual(claimsOf(intent).params, [await paramsOf(await hashOf(token), { enc: ENC })]);
    if (text !== undefined) assert.ok(JSON.parse(text).responses[0].endpoint.endsWith(`?token=${token}&intent=${intent}&enc=${enc}`));
    assert.deepEqual(seen.noted.map(({ what, why }) => [what, why]), [["sealed", undefined]]);
  }
});

test("j08: extension: a web interface opens at the host that the instance signed, and only with a pinned key", async () => {
  const at = "https://app-5-0.apps.example.org";
  const made = (claim, more = {}) => instance("jobs.openInteractiveSession", { seals: false, ...more, more: { interface: claim } });
  const web = { kind: "web", place: "5-0", origin: at };
  const { token, pinned } = await made(web);
  const { tokens, seen, provider } = worker(pinned);
  const first = new URL(await tokens.openInterface(token, provider));
  const again = new URL(await tokens.openInterface(token, provider));
  assert.deepEqual([first.origin, first.pathname, first.searchParams.get("token")], [at, "/ucloud/hpc/authorize-app", token]);
  assert.notEqual(first.searchParams.get("intent"), again.searchParams.get("intent"));
  assert.deepEqual(claimsOf(first.searchParams.get("intent")).params, [await paramsOf(await hashOf(token), {})]);
  assert.deepEqual([...new Set(seen.noted.map(({ what, why }) => `${what} ${why}`))], ["unsealed whyUnsealedInterface"]);

  const reasonOf = (given, { tokens: one, provider: at_ } = { tokens, provider }) => one.openInterface(given, at_).then(() => null, (error) => error.why ?? error.name);
  for (const given of [7, "", "a.b", `${token}&intent=x`, (await made(web)).token]) assert.equal(await reasonOf(given), "whyForeignToken", String(given));
  for (const claim of [undefined, { ...web, kind: "vnc" }, { ...web, origin: ORIGIN }, { ...web, origin: "http://app-5-0.apps.example.org" }]) {
    const one = await made(claim);
    assert.equal(await reasonOf(one.token, worker(one.pinned)), "whyForeignToken", JSON.stringify(claim));
  }
  assert.equal(await reasonOf(token, worker(null)), "whyUnpinnedInterface");
});

test("j08: extension: the address of a desktop gets its proof, and is the provider's own", async () => {
  const vnc = (token, origin = "wss://hpc.example.org") => ({
    providerDomain: ORIGIN, providerId: "hpc", session: { type: "vnc", url: `${origin}/ucloud/hpc/vnc?token=${token}`, password: "x" },
  });
  const { token, pinned } = await instance("jobs.openInteractiveSession", { seals: false, more: { interface: { kind: "vnc", place: "5-0", origin: ORIGIN } } });
  const { tokens, seen } = worker(pinned);
  const { url, password } = JSON.parse((await asked(tokens, vnc(token), {})).text).responses[0].session;
  assert.ok(url.startsWith(`wss://hpc.example.org/ucloud/hpc/vnc?token=${token}&intent=`));
  assert.equal(password, "x");
  assert.deepEqual(seen.noted.map(({ what, why }) => [what, why]), [["unsealed", "whyUnsealedInterface"]]);
  assert.deepEqual(await asked(tokens, vnc(token, "wss://evil.example"), {}), {});
  const foreign = await instance("jobs.openInteractiveSession", { seals: false });
  assert.equal((await asked(tokens, vnc(foreign.token), {})).answer.status, 502);
});

test("p3: extension: a token that could be sealed is not signed otherwise", async () => {
  const { token, pinned } = await instance("files.createUpload");
  const { tokens, seen } = worker(pinned);
  for (const encs of [{}, { [token]: null }, { [token]: "x" }, { [token]: `${"A".repeat(86)}&` }, { other: ENC }]) {
    assert.deepEqual(await asked(tokens, file(token, "upload"), encs), {});
  }
  const piece = { offset: 0, size: 3, total: 6, digest: Buffer.from("x".repeat(32)).toString("base64") };
  assert.equal(await tokens.prove({ address: `${BASE}/upload`, token, piece: null }, UCLOUD), null);
  assert.equal(await tokens.prove({ address: `${BASE}/chunked/upload`, token, piece }, UCLOUD), null);
  assert.ok(seen.failed.length > 5 && seen.failed.every((why) => why === "whyNotSealed"), String(seen.failed));
  assert.equal(await tokens.sealable({ address: `${BASE}/chunked/upload`, token }, UCLOUD), true);
});

test("p3: extension: a token that is not the pinned instance's, or for something else, is kept from the page", async () => {
  const mine = await instance("jobs.openTerminalInFolder");
  const others = await instance("jobs.openTerminalInFolder");
  const elsewhere = await instance("jobs.openTerminalInFolder", { aud: "https://evil.example" });
  const upload = await instance("files.createUpload");
  const [header, claims, signature] = mine.token.split(".");
  const { seal, ...rest } = JSON.parse(Buffer.from(claims, "base64url"));
  assert.ok(seal);
  const stripped = `${header}.${Buffer.from(JSON.stringify(rest)).toString("base64url")}.${signature}`;
  for (const [pinned, response] of [
    [mine.pinned, shell(others.token)], [mine.pinned, shell(stripped)], [elsewhere.pinned, shell(elsewhere.token)], [upload.pinned, shell(upload.token)],
    [mine.pinned, file(others.token, "download")], [mine.pinned, file(mine.token, "upload")],
  ]) {
    const { tokens, seen } = worker(pinned);
    const { answer, sealed } = await asked(tokens, response, { [mine.token]: ENC, [others.token]: ENC, [stripped]: ENC });
    assert.deepEqual([answer.status, sealed, seen.failed], [502, undefined, ["whyForeignToken"]]);
  }
});

test("extension: what is not sealed is signed, and recorded with the reason", async () => {
  const download = await instance("files.createDownload");
  const off = await instance("jobs.openTerminalInFolder", { seals: false });
  const unpinned = await instance("files.createUpload");
  for (const [{ token }, pinned, response, why, isSigned] of [
    [download, download.pinned, (token) => file(token, "download"), "whyUnsealedDownload", true],
    [unpinned, null, (token) => file(token, "upload"), "whyUnsealedPin", true],
    // Its proof comes with the first message.
    [off, off.pinned, shell, "whyUnsealedOff", false],
  ]) {
    const { tokens, seen } = worker(pinned);
    const { text, sealed } = await asked(tokens, response(token), { [token]: ENC });
    assert.equal(sealed, undefined, why);
    if (!isSigned) {
      assert.equal(text, undefined);
      assert.equal((await tokens.prove({ address: `${BASE}/websocket`, token, piece: null }, UCLOUD)).enc, null);
    } else {
      const [intent] = JSON.parse(text).responses[0].endpoint.split("&intent=").slice(1);
      assert.deepEqual(claimsOf(intent).params, [await paramsOf(await hashOf(token), {})], why);
    }
    assert.deepEqual(seen.noted.map((entry) => [entry.what, entry.why]), [["unsealed", why]]);
  }
});

test("extension: of a sealed upload in pieces the first signs the key, and the next continue", async () => {
  const { token, pinned } = await instance("files.createUpload");
  const { tokens } = worker(pinned);
  const piece = { offset: 0, size: 3, total: 6, digest: Buffer.from("x".repeat(32)).toString("base64") };
  const prove = (at) => tokens.prove({ address: `${BASE}/chunked/upload`, token, piece: { ...piece, offset: at }, enc: ENC }, UCLOUD);
  const bytes = { offset: 0, size: 3, total: 6, digest: Buffer.from("x".repeat(32)).toString("base64url") };
  const first = await prove(0);
  assert.deepEqual([claimsOf(first.intent).params, first.enc], [[await paramsOf(await hashOf(token), { ...bytes, enc: ENC })], ENC]);
  await tokens.taken(token);
  const second = await prove(3);
  assert.deepEqual([claimsOf(second.intent).call, claimsOf(second.intent).params, second.enc], ["session.continue", [await paramsOf(await hashOf(token), { ...bytes, offset: 3 })], null]);
});

// --- Hook and bridge, with the files of the package. ---

const folder = mkdtempSync(join(tmpdir(), "countersign-seals-"));
execFileSync(process.execPath, [fileURLToPath(new URL("../../web/extension/build", import.meta.url)), "--to", folder]);
after(() => rmSync(folder, { recursive: true, force: true }));

/** The page's end of a socket, as the browser makes it. */
class Socket extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  said = [];
  #state = 0;
  binaryType = "blob";
  get readyState() {
    return this.#state;
  }
  get bufferedAmount() {
    return 0;
  }
  constructor(url) {
    super();
    this.url = url;
    Socket.last = this;
  }
  send(data) {
    this.said.push(typeof data === "string" ? data : new Uint8Array(data));
  }
  close() {
    if (this.#state === 3) return;
    this.#state = 3;
    queueMicrotask(() => this.native("close", { code: 1006, reason: "a gateway's reason", wasClean: true }));
  }
  accept() {
    this.#state = 1;
    this.native("open", {});
  }
  /** An event of the browser's own. */
  native(type, members) {
    const event = new Event(type, { cancelable: true });
    for (const [name, value] of Object.entries({ ...members, isTrusted: true })) Object.defineProperty(event, name, { value });
    this.dispatchEvent(event);
  }
  hear(data) {
    this.native("message", { data: typeof data === "string" ? data : Uint8Array.from(data).buffer });
  }
}
class Request extends EventTarget {
  headers = {};
  open(method, url) {
    Request.last = this;
    this.url = url;
  }
  setRequestHeader(name, value) {
    this.headers[name] = value;
  }
  send(body) {
    this.sent = body;
    Request.sent.push(this);
  }
  abort() {}
  answer(status, text) {
    Object.assign(this, { status, readyState: 4, responseType: "", responseText: text, response: text });
    for (const type of ["readystatechange", "load", "loadend"]) {
      const event = new Event(type);
      Object.defineProperty(event, "isTrusted", { value: true });
      this.dispatchEvent(event);
    }
  }
  static sent = [];
}
globalThis.ProgressEvent ??= class extends Event {};
globalThis.CloseEvent ??= class extends Event {
  constructor(type, members) {
    super(type);
    Object.assign(this, members);
  }
};
const said = { worker: () => ({}) };
globalThis.document = Object.assign(new EventTarget(), { baseURI: `${UCLOUD}/app` });
globalThis.window = globalThis;
globalThis.top = globalThis;
globalThis.location = new URL(`${UCLOUD}/app`);
globalThis.addEventListener = () => {};
globalThis.chrome = { runtime: { id: "ours", sendMessage: async (message) => JSON.parse(JSON.stringify(await said.worker(message) ?? {})) } };
globalThis.XMLHttpRequest = Request;
globalThis.WebSocket = Socket;
const manifest = await import("../../web/extension/worker/content-scripts.js");
for (const id of ["bridge", "hook"]) {
  const { js } = manifest.scriptsFor([{ id: "hpc", origin: ORIGIN, ucloud: UCLOUD, by: "user" }]).find((script) => script.id === id);
  for (const path of js) (0, eval)(readFileSync(join(folder, "chromium", path), "utf8"));
}
const until = async (holds) => {
  for (let looks = 0; !holds() && looks < 400; looks += 1) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(holds());
};

test("extension: nothing of the hook is left for the page to find", () => {
  assert.deepEqual(Object.keys(globalThis).filter((name) => name === "countersignHook" || name === "countersignBytes"), []);
});

/** A terminal of UCloud's page, to which the worker's answers led. */
async function terminal() {
  const { token, accept, pinned } = await instance("jobs.openTerminalInFolder");
  const { tokens } = worker(pinned);
  said.worker = ({ type, text, encs }) => (type === "tokens" ? tokens.withProofs({ text, encs }, UCLOUD) : {});
  const request = new XMLHttpRequest();
  request.open("POST", "/api/jobs/openTerminalInFolder");
  const heard = [];
  request.addEventListener("load", () => heard.push(request.responseText));
  request.answer(200, JSON.stringify({ responses: [shell(token)] }));
  await until(() => heard.length === 1);
  assert.equal(JSON.parse(heard[0]).responses[0].session.sessionIdentifier, token, "the page sees its own token");
  const socket = new WebSocket(`wss://hpc.example.org/ucloud/hpc/websocket?session=${token}&usernameHint=YQ==`);
  const query = new URL(socket.url).searchParams;
  const { opener, sealer } = await accept(query.get("enc"), query.get("intent"));
  const shown = [];
  const ends = [];
  socket.addEventListener("message", ({ data }) => shown.push(data));
  socket.addEventListener("close", ({ reason, wasClean }) => ends.push({ reason, wasClean }));
  const opened = async (at) => {
    const message = await opener.open(Socket.prototype.isPrototypeOf(socket) ? socket.said[at] : null);
    return message === null ? null : new TextDecoder().decode(message.bytes);
  };
  const say = async (kind, text) => socket.hear(await sealer.seal(kind, utf8(text)));
  socket.accept();
  socket.send('{"call":"shell.open"}');
  await until(() => socket.said.length === 2);
  assert.deepEqual([await opened(0), await opened(1)], [null, '{"call":"shell.open"}']);
  await say(KIND.FIRST, "");
  return { token, socket, say, sealer, shown, ends, opened };
}

test("p3: extension: a terminal carries records only, and the page hears its instance alone", async () => {
  const { socket, say, shown, ends, opened } = await terminal();
  socket.send("typed: æ");
  socket.send("x".repeat(200_000));
  await until(() => socket.said.length === 2 + 1 + 4);
  assert.ok(socket.said.every((record) => record instanceof Uint8Array && !Buffer.from(record).includes("typed")));
  assert.equal(await opened(2), "typed: æ");
  await say(KIND.MESSAGE, "æ$ ");
  await until(() => shown.length === 1);
  assert.deepEqual(shown, ["æ$ "]);
  await say(KIND.END, "the shell has ended");
  socket.close();
  await until(() => ends.length === 1);
  assert.deepEqual(ends, [{ reason: "the shell has ended", wasClean: true }]);
});

test("p3: extension: a gateway that talks into a terminal, or cuts it off, is shut out", async () => {
  for (const attack of ["in the clear", "of another key", "repeated", "left out", "cut off"]) {
    const { socket, say, sealer, shown, ends } = await terminal();
    const good = await sealer.seal(KIND.MESSAGE, utf8("$ "));
    socket.hear(good);
    await until(() => shown.length === 1);
    if (attack === "in the clear") socket.hear("of the gateway");
    else if (attack === "of another key") socket.hear(new Uint8Array(40).fill(2));
    else if (attack === "repeated") socket.hear(good);
    else if (attack === "left out") {
      await sealer.seal(KIND.MESSAGE, utf8("lost"));
      await say(KIND.MESSAGE, "after it");
    } else socket.close();
    await until(() => ends.length === 1);
    assert.deepEqual([shown, ends], [["$ "], [{ reason: "", wasClean: false }]], attack);
  }
});

test("p3: extension: a token opens one sealed session, and the page's second socket is no sealed one", async () => {
  const { token } = await terminal();
  const again = new WebSocket(`wss://hpc.example.org/ucloud/hpc/websocket?session=${token}`);
  assert.ok(!again.url.includes("intent="));
});

/** An upload of 60 bytes in pieces of 40, and the answers that the gateway gives. */
async function upload(answerOf) {
  const { token, accept, pinned } = await instance("files.createUpload");
  const { tokens } = worker(pinned);
  said.worker = async ({ type, ...message }) => {
    if (type === "sealable") return { sealable: await tokens.sealable(message, UCLOUD) };
    if (type === "taken") return tokens.taken(message.token);
    if (type !== "prove") return {};
    const proof = await tokens.prove(message, UCLOUD);
    return { proof: proof?.intent ?? null, enc: proof?.enc ?? null };
  };
  const bytes = utf8("secret".repeat(10));
  const outcomes = [];
  const requests = [];
  let enc = null;
  for (const [from, to] of [[0, 40], [40, 60]]) {
    const request = new XMLHttpRequest();
    const sent = Request.sent.length;
    request.open("POST", `${BASE}/chunked/upload`);
    for (const [name, value] of Object.entries({ "Chunked-Upload-Token": token, "Chunked-Upload-Offset": from, "Chunked-Upload-Total-Size": 60 })) request.setRequestHeader(name, value);
    const ended = new Promise((resolve) => request.addEventListener("loadend", () => resolve(request.status)));
    request.send(bytes.slice(from, to).buffer);
    await until(() => Request.sent.length > sent);
    enc ??= request.headers["UCloud-Session-Enc"];
    const { taken } = await accept(enc, "");
    requests.push(request);
    const body = Buffer.from(request.sent);
    request.answer(200, JSON.stringify(await answerOf({ at: from, body, taken: (of = body, offset = from) => taken(of, offset, 60), requests })));
    outcomes.push(await ended);
    if (outcomes.at(-1) !== 200) break;
  }
  return { outcomes, requests };
}

test("p3: extension: pieces of a file say nothing on the way, and the key is signed with the first", async () => {
  const { outcomes, requests } = await upload(async ({ taken }) => ({ taken: await taken() }));
  assert.deepEqual(outcomes, [200, 200]);
  assert.deepEqual(requests.map(({ headers }) => claimsOf(headers["UCloud-Signed-Intent"]).call), ["session.open", "session.continue"]);
  assert.deepEqual(requests.map(({ headers }) => "UCloud-Session-Enc" in headers), [true, false]);
  for (const { sent, headers } of requests) {
    assert.ok(!Buffer.from(sent).includes("secret"));
    assert.equal(headers["Content-Digest"], `sha-256=:${Buffer.from(await crypto.subtle.digest("SHA-256", sent)).toString("base64")}:`);
  }
});

test("p3: extension: a gateway that drops a piece is found out, and the page is told", async () => {
  for (const lie of [() => ({}), () => ({ taken: "AAAA" }), async ({ taken }) => ({ taken: await taken(undefined, 0) }), async ({ requests, taken }) => ({ taken: await taken(Buffer.from(requests[0].sent), 0) })]) {
    const { outcomes } = await upload(async (piece) => (piece.at === 0 ? { taken: await piece.taken() } : lie(piece)));
    assert.deepEqual(outcomes, [200, 502], String(lie));
  }
});

test("p3: extension: without the worker a piece of a sealed upload is not sent", async () => {
  const { token } = await instance("files.createUpload");
  said.worker = () => ({});
  const sent = Request.sent.length;
  const request = new XMLHttpRequest();
  request.open("POST", `${BASE}/chunked/upload`);
  request.setRequestHeader("Chunked-Upload-Token", token);
  const ended = new Promise((resolve) => request.addEventListener("loadend", () => resolve(request.status)));
  request.send(utf8("secret").buffer);
  assert.equal(await ended, 502);
  assert.equal(Request.sent.length, sent);
});
