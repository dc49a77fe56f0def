// The SDK with a simulated window: which messages it accepts, what it sends and when, and how it
// ends.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { SignerError, connectSigner } from "../../web/sdk/index.js";

const ORIGIN = "https://hpc.example.org";
const options = { provider: "hpc", username: "alice" };

/** The browser's interface to the page, simulated. */
let opened, listeners, popup, signers;
beforeEach(() => {
  [opened, listeners, signers] = [[], new Set(), []];
  popup = () => ({ closed: false, said: [], focused: 0, postMessage(message, origin) { this.said.push([structuredClone(message), origin]); }, focus() { this.focused += 1; }, close() { this.closed = true; } });
  globalThis.location = { origin: "https://cloud.example.org" };
  globalThis.window = {
    open: (...how) => {
      const made = popup?.() ?? null;
      opened.push({ how, made });
      return made;
    },
    addEventListener: (_, listener) => listeners.add(listener),
    removeEventListener: (_, listener) => listeners.delete(listener),
  };
});
// The timer that watches the window would keep the test alive.
afterEach(() => signers.forEach((signer) => signer.close()));

const connect = (more = {}) => {
  const signer = connectSigner(ORIGIN, { ...options, ...more });
  signers.push(signer);
  return signer;
};
const last = () => opened[opened.length - 1];
const channel = () => new URLSearchParams(new URL(last().how[0]).hash.slice(1)).get("channel");
const hear = (data, change = {}) => {
  for (const listener of listeners) listener({ origin: ORIGIN, source: last().made, data: { countersign: 1, channel: channel(), ...data }, ...change });
};
const code = (wanted) => (error) => error instanceof SignerError && error.code === wanted;
const browse = { call: "files.browse", params: { path: "/1" } };

test("nothing opens until it is needed, and then one window", async () => {
  const signer = connect();
  assert.equal(opened.length, 0);
  const first = signer.sign(browse), second = signer.sign(browse);
  assert.equal(opened.length, 1);
  const [address, name] = last().how;
  assert.ok(address.startsWith(`${ORIGIN}/ucloud/hpc/signer#`));
  assert.equal(name, "countersign-signer-hpc");
  assert.equal(new URLSearchParams(new URL(address).hash.slice(1)).get("from"), "https://cloud.example.org");
  assert.deepEqual(last().made.said, [], "an empty window is told nothing");
  hear({ type: "hello" });
  await signer.ready;
  assert.deepEqual(last().made.said.map(([{ id, type }, origin]) => [id, type, origin]), [[1, "sign", ORIGIN], [2, "sign", ORIGIN]]);
  hear({ type: "result", id: 2, results: [{ jws: "b" }] });
  hear({ type: "result", id: 1, results: [{ jws: "a" }] });
  assert.deepEqual([await first, await second], [{ jws: "a" }, { jws: "b" }]);
});

test("it believes the provider's window and nobody else", async () => {
  const signer = connect();
  const signing = signer.sign(browse);
  hear({ type: "hello" });
  const forged = { type: "result", id: 1, results: [{ jws: "forged" }] };
  hear(forged, { origin: "https://evil.example" });
  hear(forged, { source: {} });
  hear({ ...forged, channel: "another" });
  hear({ ...forged, countersign: 2 });
  hear({ type: "result", id: 1, results: [{ jws: "real" }] });
  assert.deepEqual(await signing, { jws: "real" });
});

test("what waits is said again to a window that was loaded again", async () => {
  const signer = connect();
  const signing = signer.sign(browse);
  hear({ type: "hello" });
  hear({ type: "hello" });
  assert.deepEqual(last().made.said.map(([{ id }]) => id), [1, 1]);
  hear({ type: "error", id: 1, code: "refused", message: "the user said no" });
  await assert.rejects(signing, code("refused"));
});

test("items and params are one thing to the signer", async () => {
  const signer = connect();
  const batch = signer.signAll([browse, { call: "files.trash", items: [{ id: "a" }, { id: "b" }], project: "p" }]);
  hear({ type: "hello" });
  assert.deepEqual(last().made.said[0][0].requests, [
    { call: "files.browse", items: [{ path: "/1" }], project: null },
    { call: "files.trash", items: [{ id: "a" }, { id: "b" }], project: "p" },
  ]);
  hear({ type: "result", id: 1, results: [{ jws: "a" }, { jws: "b" }] });
  assert.deepEqual(await batch, [{ jws: "a" }, { jws: "b" }]);
  await assert.rejects(signer.sign({ call: "x" }), code("bad_parameters"));
  await assert.rejects(signer.sign({ call: "x", items: [], params: {} }), code("bad_parameters"));
  await assert.rejects(signer.sign({ call: "x", params: { a: () => 1 } }), code("bad_parameters"));
});

test("a window that does not open, is closed, or never answers", async () => {
  const signer = connect({ timeout: 20 });
  const made = popup;
  popup = undefined;
  await assert.rejects(signer.sign(browse), code("popup_blocked"));
  popup = made;
  const slow = signer.sign(browse);
  hear({ type: "hello" });
  await assert.rejects(slow, code("timeout"));
  assert.deepEqual(last().made.said.map(([{ type }]) => type), ["sign", "cancel"]);
  const patient = connect();
  const closed = patient.sign(browse);
  last().made.closed = true;
  await assert.rejects(closed, code("closed"));
  assert.equal(patient.isOpen, false);
  patient.open();
  assert.equal(opened.length, 4, "and opens anew");
});

test("a person is asked: the window comes forward, and the page hears of it", async () => {
  let asked = 0;
  const signer = connect({ onAsking: () => (asked += 1) });
  const signing = signer.deposit(browse);
  hear({ type: "hello" });
  hear({ type: "asking", id: 1 });
  assert.deepEqual([asked, last().made.focused], [1, 1]);
  hear({ type: "result", id: 1, results: [{}] });
  assert.equal(await signing, undefined);
});

test("an error that is not in the list is the provider's", async () => {
  const signer = connect();
  const signing = signer.sign(browse);
  hear({ type: "hello" });
  hear({ type: "error", id: 1, code: "toString", message: "x" });
  await assert.rejects(signing, code("provider"));
});

test("what cannot be a provider is refused at once", () => {
  for (const origin of ["https://hpc.example.org/", "https://hpc.example.org/x", "javascript:alert(1)", "hpc.example.org", "https://HPC.example.org"]) {
    assert.throws(() => connectSigner(origin, options), TypeError, origin);
  }
  for (const provider of ["", "../x", "a/b", "x#y"]) assert.throws(() => connectSigner(ORIGIN, { ...options, provider }), TypeError);
  assert.throws(() => connectSigner(ORIGIN, { provider: "hpc", username: "" }), TypeError);
});
