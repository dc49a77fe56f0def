// Folders and terminals in the SDK, with a simulated WebSocket.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, beforeEach, test } from "node:test";
import { TransferError, openTerminal, uploadFolder } from "../../web/sdk/index.js";

const ORIGIN = "https://hpc.example.org";
const TOKEN = "aaaa.bbbb.cccc";

let signed, opened;
const signer = {
  origin: ORIGIN, provider: "hpc",
  sign: async (request) => {
    signed.push(request);
    return { jws: `proof${signed.length}` };
  },
};

/** The page's end of a socket. The test is the provider at the other end. */
class Played {
  static OPEN = 1;
  readyState = 0;
  bufferedAmount = 0;
  said = [];

  constructor(address) {
    this.address = String(address);
    opened.push(this);
  }
  send(data) {
    assert.equal(this.readyState, Played.OPEN);
    this.said.push(typeof data === "string" ? JSON.parse(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  }
  accept() {
    this.readyState = Played.OPEN;
    this.onopen?.();
  }
  hear(data) {
    this.onmessage({ data: typeof data === "string" ? data : Uint8Array.from(data).buffer });
  }
  close(reason = "") {
    if (this.readyState === 3) return;
    this.readyState = 3;
    queueMicrotask(() => this.onclose({ reason }));
  }
}
const real = globalThis.WebSocket;
beforeEach(() => {
  [signed, opened] = [[], []];
  globalThis.WebSocket = Played;
});
afterEach(() => (globalThis.WebSocket = real));

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));
const socket = async () => {
  for (let looks = 0; opened.length === 0 && looks < 200; looks += 1) await settled();
  assert.notEqual(opened.length, 0, "a socket was opened");
  return opened.at(-1);
};
const code = (wanted) => (error) => error instanceof TransferError && error.code === wanted;
const upload = { endpoint: `wss://hpc.example.org/ucloud/hpc/upload?token=${TOKEN}`, protocol: "WEBSOCKET_V2", token: TOKEN };
const files = [
  { path: "a.txt", blob: new Blob(["AAA"]), modifiedAt: 1700000000000 },
  { path: "deep er/æ", blob: new Blob(["ø"]) },
  { path: "empty", blob: new Blob([]) },
];
const proof = { token: createHash("sha256").update(TOKEN).digest("base64url"), offset: null, size: null, total: null, digest: null };

test("a folder is listed, sent as the provider wants it, and closed when all is done", async () => {
  const told = [];
  const sending = uploadFolder(signer, upload, files, { onProgress: (progress) => told.push(progress) });
  const at = await socket();
  assert.equal(at.address, `wss://hpc.example.org/ucloud/hpc/upload?token=${TOKEN}&intent=proof1`);
  assert.deepEqual(signed, [{ call: "session.open", params: proof, project: null }]);
  at.accept();
  const listing = "04" + "00000000" + "0000000000000003" + "0000018bcfe56800" + "00000005" + Buffer.from("a.txt").toString("hex")
    + "00000001" + "0000000000000002" + "0000000000000000" + "0000000a" + Buffer.from("deep er/æ").toString("hex")
    + "00000002" + "0000000000000000" + "0000000000000000" + "00000005" + Buffer.from("empty").toString("hex");
  assert.equal(at.said[0].toString("hex"), listing);
  at.hear([0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 2]); // go 0, skip 1, go 2
  await settled();
  assert.deepEqual(at.said.slice(1).map((frame) => frame.toString("latin1")), ["\x02\0\0\0\0AAA", "\x02\0\0\0\x02"]);
  at.hear([5, 0, 0, 0, 2]);
  assert.equal(at.said.length, 3, "not all is done");
  at.hear([5, 0, 0, 0, 3]);
  assert.deepEqual(at.said.slice(3).map((frame) => frame.toString("hex")), ["06"]);
  at.close();
  assert.deepEqual(await sending, { sent: 2, skipped: ["deep er/æ"], unreadable: [], isSealed: false });
  assert.deepEqual(told.at(-1), { sent: 5, total: 5, done: 3, files: 3 });
});

test("a large folder is listed bit by bit", async () => {
  const many = Array.from({ length: 10_000 }, (_, at) => ({ path: `folder/${at}`, blob: new Blob([]) }));
  const sending = uploadFolder(signer, upload, many);
  const at = await socket();
  at.accept();
  const listed = () => at.said.reduce((sum, frame) => {
    assert.ok(frame.length <= 64 * 1024 && frame[0] === 4);
    let [count, place] = [0, 1];
    for (; place < frame.length; count += 1) place += 24 + frame.readUInt32BE(place + 20);
    return sum + count;
  }, 0);
  assert.equal(listed(), 4096);
  at.hear([5, 0, 0, 0x10, 0]);
  assert.equal(listed(), 8192);
  at.hear([5, 0, 0, 0x20, 0]);
  assert.equal(listed(), 10_000);
  at.close();
  await assert.rejects(sending, code("unreachable"));
});

test("a file that cannot be read any more is passed over", async () => {
  const gone = { size: 3, slice: () => ({ arrayBuffer: async () => { throw new DOMException("gone", "NotReadableError"); } }) };
  const sending = uploadFolder(signer, upload, [{ path: "gone", blob: gone }]);
  const at = await socket();
  at.accept();
  at.hear([0, 0, 0, 0, 0]);
  await settled();
  assert.equal(at.said[1].toString("hex"), "0300000000");
  at.hear([5, 0, 0, 0, 1]);
  at.close();
  assert.deepEqual(await sending, { sent: 0, skipped: [], unreadable: ["gone"], isSealed: false });
});

test("what the socket cannot take yet waits", async () => {
  const sending = uploadFolder(signer, upload, [files[0]]);
  const at = await socket();
  at.accept();
  at.bufferedAmount = 9 * 1024 * 1024;
  at.hear([0, 0, 0, 0, 0]);
  await settled();
  assert.equal(at.said.length, 1);
  at.bufferedAmount = 0;
  for (let looks = 0; at.said.length < 2 && looks < 200; looks += 1) await settled();
  assert.equal(at.said.length, 2);
  at.close("disk full: a.txt");
  await assert.rejects(sending, (error) => code("refused")(error) && error.message === "disk full: a.txt");
});

test("a folder that is not taken, is ended, or is no folder", async () => {
  const refused = uploadFolder(signer, upload, files);
  (await socket()).close();
  await assert.rejects(refused, code("unreachable"));
  const ending = new AbortController();
  opened = [];
  const ended = uploadFolder(signer, upload, files, { signal: ending.signal });
  (await socket()).accept();
  ending.abort(new Error("enough"));
  await assert.rejects(ended, /enough/);
  assert.equal(opened[0].readyState, 3);
  await assert.rejects(uploadFolder(signer, { ...upload, protocol: "CHUNKED" }, files), code("elsewhere"));
  await assert.rejects(uploadFolder(signer, { ...upload, endpoint: "wss://evil.example/ucloud/hpc/upload" }, files), code("elsewhere"));
  assert.deepEqual(await uploadFolder(signer, upload, []), { sent: 0, skipped: [], unreadable: [], isSealed: false });
});

const shell = { type: "shell", jobId: "/home", rank: 0, sessionIdentifier: TOKEN, domainOverride: "wss://hpc.example.org" };
const open = async () => {
  const shown = [];
  const opening = openTerminal(signer, shell, { cols: 100, rows: 30, onData: (text) => shown.push(text) });
  const at = await socket();
  return { at, opening, shown };
};
const say = (at, message) => at.hear(JSON.stringify(message));

test("a terminal's proof is in its first message; what comes is shown, what is typed is sent", async () => {
  const { at, opening, shown } = await open();
  assert.equal(at.address, `wss://hpc.example.org/ucloud/hpc/websocket?session=${TOKEN}`);
  assert.deepEqual(signed, [{ call: "session.open", params: proof, project: null }]);
  at.accept();
  const call = "jobs.compute.hpc.shell.open";
  const payload = { type: "initialize", sessionIdentifier: TOKEN, cols: 100, rows: 30 };
  assert.deepEqual(at.said, [{ call, streamId: "0", payload, signedIntent: "proof1" }]);
  say(at, { ping: "pong" });
  at.hear("no JSON");
  say(at, { type: "message", streamId: "0", payload: { type: "initialize" } });
  const terminal = await opening;
  say(at, { type: "message", streamId: "0", payload: { type: "data", data: "æ$ " } });
  say(at, { type: "message", streamId: "7", payload: { type: "data", data: "of another stream" } });
  terminal.write("ls\n");
  terminal.resize(80, 24);
  assert.deepEqual(at.said.slice(1), [
    { call, streamId: "1", payload: { type: "input", data: "ls\n" } }, { call, streamId: "2", payload: { type: "resize", cols: 80, rows: 24 } },
  ]);
  assert.deepEqual(shown, ["æ$ "]);
  at.close("the shell has ended");
  assert.equal(await terminal.closed, "the shell has ended");
  terminal.write("nobody is there");
});

test("a large paste is several messages, and no character is torn", async () => {
  const { at, opening } = await open();
  at.accept();
  say(at, { type: "message", streamId: "0", payload: { type: "initialize" } });
  const terminal = await opening;
  const pasted = `${"x".repeat(32 * 1024 - 1)}😀${"y".repeat(70_000)}`;
  terminal.write(pasted);
  const parts = at.said.slice(1).map(({ payload }) => payload.data);
  assert.equal(parts.join(""), pasted);
  assert.deepEqual(parts.map((part) => part.isWellFormed()), [true, true, true, true]);
});

test("a terminal that is refused says why", async () => {
  const { at, opening } = await open();
  at.accept();
  say(at, { type: "response", streamId: "0", status: 482, payload: { why: "Used", errorCode: "INTENT_REPLAYED" } });
  await assert.rejects(opening, (error) => code("refused")(error) && error.errorCode === "INTENT_REPLAYED" && error.status === 482);
  opened = [];
  const other = await open();
  other.at.close();
  await assert.rejects(other.opening, code("unreachable"));
  const elsewhere = { ...shell, domainOverride: "wss://evil.example" };
  await assert.rejects(openTerminal(signer, elsewhere, { cols: 80, rows: 24, onData: () => {} }), code("elsewhere"));
});
