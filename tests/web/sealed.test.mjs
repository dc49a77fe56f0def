// The SDK with a simulated instance that seals, and a gateway in between that does what it likes.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { KIND } from "../../web/sdk/seal.js";
import { TransferError, download, openTerminal, uploadFile, uploadFolder } from "../../web/sdk/index.js";
import { instance } from "./sealing-instance.mjs";

const ORIGIN = "https://hpc.example.org";
const utf8 = (text) => new TextEncoder().encode(text);
const encoded = (bytes) => Buffer.from(bytes).toString("base64url");
const code = (wanted) => (error) => error instanceof TransferError && error.code === wanted;
const [realFetch, realSocket] = [globalThis.fetch, globalThis.WebSocket];
afterEach(() => {
  globalThis.fetch = realFetch;
  globalThis.WebSocket = realSocket;
});

/** A download as the instance seals it, altered by a gateway. */
async function fetched(alter = (records) => records, options = {}) {
  const { token, accept, signer, signed } = await instance("files.createDownload", options);
  globalThis.fetch = async (address) => {
    const query = new URL(address).searchParams;
    assert.equal(query.get("enc"), signed[0].params.enc);
    const { sealer } = await accept(query.get("enc"), query.get("intent"));
    const said = [[KIND.FIRST, ""], [KIND.MESSAGE, JSON.stringify({ name: "thesis", size: 6, modified: 7 })], [KIND.MESSAGE, "abc"], [KIND.MESSAGE, "def"], [KIND.END, ""]];
    const records = alter(await Promise.all(said.map(([kind, text]) => sealer.seal(kind, utf8(text)))));
    const body = Buffer.concat(records.flatMap((record) => [Buffer.from([0, 0, 0, record.length]), Buffer.from(record)]));
    return new Response(new Blob([body]).stream());
  };
  const { stream, ...head } = await download(signer, { endpoint: `${ORIGIN}/ucloud/hpc/download?token=${token}` });
  return { ...head, content: await new Response(stream).text() };
}

test("p3: a sealed download is whole and unchanged, or an error", async () => {
  assert.deepEqual(await fetched(), { name: "thesis", size: 6, modifiedAt: 7, isSealed: true, content: "abcdef" });
  const flipped = ([...records]) => {
    records[2] = records[2].slice();
    records[2][3] ^= 1;
    return records;
  };
  for (const attack of [
    flipped, (records) => records.slice(0, -1), (records) => records.slice(0, 2), (records) => records.slice(1), () => [],
    ([a, b, c, d, e]) => [a, b, d, c, e], ([a, b, , d, e]) => [a, b, d, e], (records) => [...records, records[2]],
  ]) {
    await assert.rejects(fetched(attack), code("tampered"));
  }
});

test("p3: a token that is not the pinned instance's, or is for something else, is not used", async () => {
  const mine = await instance("files.createDownload");
  const others = await instance("files.createDownload");
  globalThis.fetch = () => assert.fail("nothing is sent");
  const endpoint = (token) => ({ endpoint: `${ORIGIN}/ucloud/hpc/download?token=${token}` });
  await assert.rejects(download(mine.signer, endpoint(others.token)), code("tampered"));
  const [header, claims, signature] = mine.token.split(".");
  const { seal, ...rest } = JSON.parse(Buffer.from(claims, "base64url"));
  assert.ok(seal);
  const stripped = `${header}.${encoded(utf8(JSON.stringify(rest)))}.${signature}`;
  await assert.rejects(download(mine.signer, endpoint(stripped)), code("tampered"));
  await assert.rejects(download(mine.signer, endpoint((await instance("files.createUpload")).token)), code("tampered"));
  const upload = await instance("files.createUpload");
  await assert.rejects(download(upload.signer, endpoint(upload.token)), code("tampered"), "of another call");
  assert.deepEqual([mine.signed, upload.signed], [[], []], "and nothing is signed");
});

test("without a seal or a pinned key, a page that requires a seal sends nothing", async () => {
  const off = await instance("files.createDownload", { seals: false });
  const response = (token) => ({ endpoint: `${ORIGIN}/ucloud/hpc/download?token=${token}` });
  globalThis.fetch = async () => new Response("plain");
  await assert.rejects(download(off.signer, response(off.token), { sealed: "required" }), code("unsealed"));
  const { isSealed, stream } = await download(off.signer, response(off.token));
  assert.deepEqual([isSealed, await new Response(stream).text()], [false, "plain"]);
  const unpinned = { ...off.signer, instanceKey: async () => null };
  await assert.rejects(download(unpinned, response(off.token), { sealed: "required" }), code("unsealed"));
});

/** The page's end of a socket. */
class Played {
  static OPEN = 1;
  readyState = 0;
  bufferedAmount = 0;
  said = [];

  constructor(address) {
    this.address = new URL(address);
    Played.last = this;
  }
  send(data) {
    this.said.push(data);
  }
  accept() {
    this.readyState = Played.OPEN;
    this.onopen();
  }
  hear(bytes) {
    this.onmessage({ data: typeof bytes === "string" ? bytes : Uint8Array.from(bytes).buffer });
  }
  close(reason = "") {
    if (this.readyState === 3) return;
    this.readyState = 3;
    queueMicrotask(() => this.onclose({ reason }));
  }
}
const until = async (holds) => {
  for (let looks = 0; !holds() && looks < 200; looks += 1) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(holds());
};

async function terminal(call = "jobs.openTerminalInFolder") {
  globalThis.WebSocket = Played;
  Played.last = undefined;
  const { token, accept, signer } = await instance(call);
  const shown = [];
  const shell = { sessionIdentifier: token, domainOverride: "wss://hpc.example.org" };
  const opening = openTerminal(signer, shell, { cols: 80, rows: 24, onData: (text) => shown.push(text) });
  await until(() => Played.last !== undefined);
  const socket = Played.last;
  const query = socket.address.searchParams;
  const { opener, sealer } = await accept(query.get("enc"), query.get("intent"));
  socket.accept();
  await until(() => socket.said.length === 2);
  const heard = async (record) => {
    const message = await opener.open(record);
    return message === null ? null : JSON.parse(new TextDecoder().decode(message.bytes));
  };
  const say = async (kind, message) => socket.hear(await sealer.seal(kind, utf8(typeof message === "string" ? message : JSON.stringify(message))));
  assert.equal(await heard(socket.said[0]), null);
  const { payload, ...more } = await heard(socket.said[1]);
  assert.deepEqual([payload.type, more.signedIntent], ["initialize", undefined], "the proof is in the address");
  await say(KIND.FIRST, "");
  await say(KIND.MESSAGE, { type: "message", streamId: "0", payload: { type: "initialize" } });
  return { line: await opening, socket, say, heard, sealer, shown };
}

test("p3: a shell in a job is a sealed terminal too, and a token for a file is none", async () => {
  const { line } = await terminal("jobs.openInteractiveSession");
  assert.ok(line.isSealed);
  const { token, signer } = await instance("files.createDownload");
  const shell = { sessionIdentifier: token, domainOverride: "wss://hpc.example.org" };
  await assert.rejects(openTerminal(signer, shell, { cols: 80, rows: 24, onData: () => {} }), code("tampered"));
});

test("p3: a sealed terminal carries nothing in the clear, and ends with its instance's word", async () => {
  const { line, socket, say, heard, shown } = await terminal();
  assert.ok(line.isSealed);
  line.write("ls\n");
  line.resize(100, 30);
  await until(() => socket.said.length === 4);
  assert.deepEqual((await heard(socket.said[2])).payload, { type: "input", data: "ls\n" });
  assert.deepEqual((await heard(socket.said[3])).payload, { type: "resize", cols: 100, rows: 30 });
  await say(KIND.MESSAGE, { type: "message", streamId: "0", payload: { type: "data", data: "æ$ " } });
  await until(() => shown.length === 1);
  await say(KIND.END, "the shell has ended");
  await until(() => true);
  socket.close("what a gateway says");
  assert.equal(await line.closed, "the shell has ended");
});

test("p3: a terminal that a gateway talks into, or cuts off, says so and shows nothing of it", async () => {
  const data = { type: "message", streamId: "0", payload: { type: "data", data: "of the gateway" } };
  for (const attack of ["in the clear", "of another key", "repeated", "cut off"]) {
    const { line, socket, sealer, shown } = await terminal();
    const good = await sealer.seal(KIND.MESSAGE, utf8(JSON.stringify({ ...data, payload: { type: "data", data: "$ " } })));
    socket.hear(good);
    await until(() => shown.length === 1);
    if (attack === "in the clear") socket.hear(JSON.stringify(data));
    else if (attack === "of another key") socket.hear(new Uint8Array(40).fill(2));
    else if (attack === "repeated") socket.hear(good);
    else socket.close("a gateway's reason");
    const reason = await line.closed;
    assert.equal(reason, attack === "cut off" ? "the connection was cut off. The provider's gateway says: a gateway's reason" : "what came is not what your instance sent", attack);
    assert.deepEqual(shown, ["$ "], attack);
  }
});

test("a sealed file goes up in pieces that say nothing, and the key is signed with the first", async () => {
  const { token, accept, signer, signed } = await instance("files.createUpload");
  const requests = [];
  globalThis.fetch = async (address, { headers, body }) => {
    requests.push({ headers, body: Buffer.from(body) });
    const { taken } = await accept(signed[0].params.enc, "");
    return Response.json({ taken: await taken(Buffer.from(body), headers["Chunked-Upload-Offset"], 60) });
  };
  const response = { endpoint: `${ORIGIN}/ucloud/hpc/chunked/upload`, protocol: "CHUNKED", token };
  assert.deepEqual(await uploadFile(signer, response, new Blob(["secret".repeat(10)]), { chunk: 40 }), { isSealed: true });
  assert.deepEqual(signed.map(({ call, params }) => [call, params.offset, params.total, "enc" in params]), [["session.open", 0, 60, true], ["session.continue", 40, 60, false]]);
  assert.equal(requests[0].headers["UCloud-Session-Enc"], signed[0].params.enc);
  assert.equal(requests[1].headers["UCloud-Session-Enc"], undefined);
  for (const [at, { body }] of requests.entries()) {
    assert.ok(!body.includes("secret"));
    assert.equal(signed[at].params.size, body.length, "the signature is of what is sent");
  }
});

test("p3: a gateway that drops pieces, or answers for them, is found out", async () => {
  const lies = {
    "it says nothing": () => ({}),
    "it says something else": () => ({ taken: "AAAA" }),
    "it repeats the answer to an earlier piece": (_body, earlier) => ({ taken: earlier }),
    "it has the answer for another place": async (body, _earlier, taken) => ({ taken: await taken(body, 0, 60) }),
    "it sends the piece back": (body) => ({ taken: encoded(body.subarray(16)) }),
    "it cuts the answer": async (body, _earlier, taken) => ({ taken: (await taken(body, 40, 60)).slice(0, 28) }),
    "it is no JSON": () => "taken",
  };
  for (const [what, lie] of Object.entries(lies)) {
    const { token, accept, signer, signed } = await instance("files.createUpload");
    let earlier;
    const progress = [];
    globalThis.fetch = async (address, { headers, body }) => {
      const { taken } = await accept(signed[0].params.enc, "");
      const bytes = Buffer.from(body);
      if (headers["Chunked-Upload-Offset"] !== "0") return Response.json(await lie(bytes, earlier, taken));
      earlier = await taken(bytes, 0, 60);
      return Response.json({ taken: earlier });
    };
    const response = { endpoint: `${ORIGIN}/ucloud/hpc/chunked/upload`, protocol: "CHUNKED", token };
    const sending = uploadFile(signer, response, new Blob(["secret".repeat(10)]), { chunk: 40, onProgress: ({ sent }) => progress.push(sent) });
    await assert.rejects(sending, code("tampered"), what);
    assert.deepEqual(progress, [40], what);
  }
});

test("p3: a sealed folder goes up, and only the instance's own word counts", async () => {
  for (const isTampered of [false, true]) {
    globalThis.WebSocket = Played;
    Played.last = undefined;
    const { token, accept, signer } = await instance("files.createUpload");
    const response = { endpoint: `wss://hpc.example.org/ucloud/hpc/upload?token=${token}`, protocol: "WEBSOCKET_V2", token };
    const sending = uploadFolder(signer, response, [{ path: "a", blob: new Blob(["AAA"]) }]);
    await until(() => Played.last !== undefined);
    const socket = Played.last;
    const query = socket.address.searchParams;
    const { opener, sealer } = await accept(query.get("enc"), query.get("intent"));
    socket.accept();
    await until(() => socket.said.length === 2);
    assert.equal(await opener.open(socket.said[0]), null);
    assert.equal((await opener.open(socket.said[1])).bytes[0], 4);
    socket.hear(await sealer.seal(KIND.FIRST, utf8("")));
    if (isTampered) {
      const done = Uint8Array.of(5, 0, 0, 0, 1);
      socket.hear(done);
      await assert.rejects(sending, code("tampered"));
      continue;
    }
    socket.hear(await sealer.seal(KIND.MESSAGE, Uint8Array.of(0, 0, 0, 0, 0)));
    await until(() => socket.said.length === 3);
    assert.equal(Buffer.from((await opener.open(socket.said[2])).bytes).toString("latin1"), "\x02\0\0\0\0AAA");
    socket.hear(await sealer.seal(KIND.MESSAGE, Uint8Array.of(5, 0, 0, 0, 1)));
    await until(() => socket.said.length === 4);
    socket.hear(await sealer.seal(KIND.END, utf8("")));
    socket.close();
    assert.deepEqual(await sending, { sent: 1, skipped: [], unreadable: [], isSealed: true });
  }
});
