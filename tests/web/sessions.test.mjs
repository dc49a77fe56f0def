// One-time tokens in the SDK: what a proof binds, where it is sent, and what is repeated after a
// loss. The provider is simulated. tests/transfers.rs tests the real one, and tests/browser both
// together.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, beforeEach, test } from "node:test";
import { TransferError, folderOf, openDownload, uploadFile } from "../../web/sdk/index.js";

const ORIGIN = "https://hpc.example.org";
const TOKEN = "aaaa.bbbb-_.cccc";
const sha256 = (data, encoding) => createHash("sha256").update(data).digest(encoding);

/** The signed requests, and the requests that the provider received. */
let signed, requests, answers;
const signer = {
  origin: ORIGIN, provider: "hpc",
  sign: async (request) => {
    signed.push(request);
    return { jws: `proof${signed.length}` };
  },
};
const realFetch = globalThis.fetch;
beforeEach(() => {
  [signed, requests, answers] = [[], [], []];
  globalThis.fetch = async (address, { body, headers, ...how }) => {
    requests.push({ address: String(address), body: Buffer.from(body).toString(), headers, how });
    const answer = answers.shift() ?? [200, {}];
    if (answer === "lost") throw new TypeError("Failed to fetch");
    return { ok: answer[0] === 200, status: answer[0], json: async () => answer[1], arrayBuffer: async () => new ArrayBuffer(0) };
  };
});
afterEach(() => (globalThis.fetch = realFetch));

const code = (wanted, status = null) => (error) => error instanceof TransferError && error.code === wanted && (status === null || error.status === status);
const upload = { endpoint: `${ORIGIN}/ucloud/hpc/chunked/upload`, protocol: "CHUNKED", token: TOKEN };
const calls = () => signed.map(({ call, params }) => [call, params.offset]);
const replayed = [482, { statusCode: 482, why: "Used", errorCode: "INTENT_REPLAYED" }];

test("a download's proof binds the token and nothing else", async () => {
  const address = new URL(await openDownload(signer, { endpoint: `${ORIGIN}/ucloud/hpc/download?token=${TOKEN}&usernameHint=YQ==` }, { project: "p" }));
  assert.equal(address.href, `${ORIGIN}/ucloud/hpc/download?token=${TOKEN}&intent=proof1`);
  const params = { token: sha256(TOKEN, "base64url"), offset: null, size: null, total: null, digest: null };
  assert.deepEqual(signed, [{ call: "session.open", params, project: "p" }]);
});

test("an address of somebody else's gets neither token nor proof", async () => {
  for (const endpoint of [
    `https://evil.example/ucloud/hpc/download?token=${TOKEN}`,
    `${ORIGIN}.evil.example/ucloud/hpc/download?token=${TOKEN}`,
    `http://hpc.example.org/ucloud/hpc/download?token=${TOKEN}`,
    `${ORIGIN}/ucloud/other/download?token=${TOKEN}`,
    `${ORIGIN}/ucloud/hpc/upload?token=${TOKEN}`,
    `${ORIGIN}/ucloud/hpc/download`,
    `${ORIGIN}/ucloud/hpc/download?token=a b`,
    "download",
  ]) {
    await assert.rejects(openDownload(signer, { endpoint }), code("elsewhere"), endpoint);
    await assert.rejects(uploadFile(signer, { ...upload, endpoint }, new Blob(["x"])), code("elsewhere"), endpoint);
  }
  await assert.rejects(uploadFile(signer, { ...upload, protocol: "WEBSOCKET_V1" }, new Blob(["x"])), code("elsewhere"));
  await assert.rejects(uploadFile(signer, { ...upload, token: "x&y" }, new Blob(["x"])), code("elsewhere"));
  assert.deepEqual([signed, requests], [[], []]);
});

test("each piece is signed with its place and its digest, and sent with what was signed", async () => {
  const told = [];
  await uploadFile(signer, upload, new Blob(["0123456789"]), { chunk: 4, onProgress: (progress) => told.push(progress) });
  assert.deepEqual(requests.map(({ body }) => body), ["0123", "4567", "89"]);
  assert.deepEqual(calls(), [["session.open", 0], ["session.continue", 4], ["session.continue", 8]]);
  assert.deepEqual(told, [4, 8, 10].map((sent) => ({ sent, total: 10 })));
  for (const [at, { body, address, headers, how }] of requests.entries()) {
    assert.equal(address, upload.endpoint);
    assert.deepEqual(headers, {
      "Chunked-Upload-Token": TOKEN, "Chunked-Upload-Offset": String(at * 4), "Chunked-Upload-Total-Size": "10",
      "Content-Digest": `sha-256=:${sha256(body, "base64")}:`, "Content-Type": "application/octet-stream",
      "UCloud-Signed-Intent": `proof${at + 1}`,
    });
    assert.deepEqual([how.credentials, how.redirect], ["omit", "error"]);
    const digest = sha256(body, "base64url");
    assert.deepEqual(signed[at].params, { token: sha256(TOKEN, "base64url"), offset: at * 4, size: body.length, total: 10, digest });
  }
});

test("an empty file is one piece of nothing", async () => {
  await uploadFile(signer, upload, new Blob([]));
  assert.deepEqual(requests.map(({ body }) => body), [""]);
  assert.deepEqual([signed[0].params.size, signed[0].params.total], [0, 0]);
});

test("a piece that was lost is signed anew and sent again, from the same place", async () => {
  answers = [[200, {}], "lost", [200, {}]];
  await uploadFile(signer, upload, new Blob(["01234567"]), { chunk: 4 });
  assert.deepEqual(requests.map(({ body }) => body), ["0123", "4567", "4567"]);
  assert.deepEqual(calls(), [["session.open", 0], ["session.continue", 4], ["session.continue", 4]]);
  assert.notEqual(requests[1].headers["UCloud-Signed-Intent"], requests[2].headers["UCloud-Signed-Intent"]);
});

test("the first piece's answer was lost: it goes on with what it has opened", async () => {
  answers = ["lost", replayed, [200, {}]];
  await uploadFile(signer, upload, new Blob(["0123"]));
  assert.deepEqual(calls(), [["session.open", 0], ["session.open", 0], ["session.continue", 0]]);
});

test("the first piece did not arrive at all: the session is opened by the second attempt", async () => {
  answers = ["lost", [200, {}]];
  await uploadFile(signer, upload, new Blob(["0123"]));
  assert.deepEqual(calls(), [["session.open", 0], ["session.open", 0]]);
});

test("what may pass is tried again, what was refused is not", async () => {
  for (const [answer, again] of [
    [[503, { why: "busy", errorCode: "UNAVAILABLE" }], true],
    [[429, { why: "slower", errorCode: "TOO_MANY" }], true],
    [[482, { why: "stale", errorCode: "INTENT_STALE" }], true],
    [[482, { why: "no", errorCode: "INTENT_INVALID" }], false],
    [[400, { why: "digest", errorCode: "BAD_REQUEST" }], false],
    [[409, { why: "it is there", errorCode: "CONFLICT" }], false],
    [[507, { why: "full", errorCode: "FAILED" }], false],
  ]) {
    [signed, requests, answers] = [[], [], [answer]];
    const sending = uploadFile(signer, upload, new Blob(["0"]));
    if (again) await sending;
    else await assert.rejects(sending, (error) => code({ 400: "refused", 482: "refused", 409: "conflict", 507: "unavailable" }[answer[0]], answer[0])(error) && error.message === answer[1].why);
    assert.equal(requests.length, again ? 2 : 1, JSON.stringify(answer));
  }
});

test("a conflict after a lost piece is that piece, still being taken back", async () => {
  answers = ["lost", [409, { why: "another piece of this file is being written", errorCode: "CONFLICT" }], [200, {}]];
  await uploadFile(signer, upload, new Blob(["0123"]));
  assert.equal(requests.length, 3);
});

test("a session that is over says so", async () => {
  for (const status of [404, 449]) {
    answers = [[200, {}], [status, { why: "there is no such session", errorCode: "NOT_FOUND" }]];
    await assert.rejects(uploadFile(signer, upload, new Blob(["01"]), { chunk: 1 }), code("over", status));
  }
});

test("an upload that is ended sends nothing more", async () => {
  const ending = new AbortController();
  const reason = new Error("enough");
  const onProgress = () => ending.abort(reason);
  await assert.rejects(uploadFile(signer, upload, new Blob(["0123"]), { chunk: 1, onProgress, signal: ending.signal }), reason);
  assert.equal(requests.length, 1);
  answers = ["lost", "lost", "lost"];
  const pausing = new AbortController();
  setTimeout(() => pausing.abort(reason), 50);
  await assert.rejects(uploadFile(signer, upload, new Blob(["0123"]), { signal: pausing.signal }), reason);
});

test("a chosen folder is its name and what is beneath it", () => {
  const file = (webkitRelativePath, lastModified) => Object.assign(new Blob(["x"]), { name: webkitRelativePath.split("/").at(-1), webkitRelativePath, lastModified });
  const [a, b] = [file("thesis/a.txt", 1), file("thesis/æ ø/b.txt", 2)];
  assert.deepEqual(folderOf([a, b]), {
    name: "thesis", files: [{ path: "a.txt", blob: a, modifiedAt: 1 }, { path: "æ ø/b.txt", blob: b, modifiedAt: 2 }],
  });
});
