// A terminal at the provider, over UCloud's shell messages. It displays nothing: output goes to the
// page, and input comes from it.

import { OPEN, TransferError, addressOf, prove, tokenOf } from "./sessions.js";

/** @typedef {import("./index.js").TerminalOptions} TerminalOptions */
/** @typedef {import("./index.js").Terminal} TerminalApi */

/** The stream of the provider's answers: that of the first message. */
const FIRST = "0";

/** Longest input in one message, in UTF-16 units. A large paste is split. */
const TYPED_MAX = 32 * 1024;

/**
 * Opens a terminal. Resolves when the shell runs.
 * @param {import("./index.js").Signer} signer
 * @param {import("./index.js").ShellSession} session
 * @param {TerminalOptions} options
 * @returns {Promise<TerminalApi>}
 */
export async function openTerminal(signer, session, { project = null, cols, rows, onData }) {
  const address = addressOf(signer, "websocket", session.domainOverride);
  const token = tokenOf(session.sessionIdentifier);
  address.searchParams.set("session", token);
  const signedIntent = await prove(signer, OPEN, token, project);
  const call = `jobs.compute.${signer.provider}.shell.open`;
  const socket = new WebSocket(address);
  const first = { type: "initialize", sessionIdentifier: token, cols, rows };
  socket.onopen = () => socket.send(JSON.stringify({ call, streamId: FIRST, payload: first, signedIntent }));
  return new Promise((resolve, reject) => {
    /** @type {(reason: string) => void} */
    let ended = () => {};
    /** @type {Promise<string>} */
    const closed = new Promise((end) => {
      ended = end;
    });
    /** @type {TransferError | null} */
    let refusal = null;
    socket.onmessage = ({ data }) => {
      const { type, streamId, status, payload } = read(data);
      if (streamId !== FIRST) return;
      if (type === "response" && status >= 400) {
        const { why, errorCode } = payload ?? {};
        refusal = new TransferError("refused", String(why ?? `the provider answered ${status}`), { status, errorCode: String(errorCode ?? "") });
        socket.close();
      } else if (type === "message" && payload?.type === "initialize") {
        resolve(new Terminal(socket, call, closed));
      } else if (type === "message" && payload?.type === "data") {
        onData(String(payload.data));
      }
    };
    socket.onclose = ({ reason }) => {
      // Only the first of the two takes effect: a terminal that was open can no longer be refused.
      reject(refusal ?? new TransferError("unreachable", reason || "the provider refused the token, or does not answer"));
      ended(reason);
    };
  });
}

/** @implements {TerminalApi} */
class Terminal {
  #socket;
  #call;
  #last = 0;
  closed;

  /** @param {WebSocket} socket @param {string} call @param {Promise<string>} closed */
  constructor(socket, call, closed) {
    this.#socket = socket;
    this.#call = call;
    this.closed = closed;
  }

  /** @param {string} text */
  write(text) {
    for (let at = 0; at < text.length;) {
      // Do not split a surrogate pair.
      const isSplit = /[\uD800-\uDBFF]/.test(text[at + TYPED_MAX - 1] ?? "");
      const end = at + TYPED_MAX - (isSplit ? 1 : 0);
      this.#say({ type: "input", data: text.slice(at, end) });
      at = end;
    }
  }

  /** @param {number} cols @param {number} rows */
  resize(cols, rows) {
    this.#say({ type: "resize", cols, rows });
  }

  close() {
    this.#socket.close();
  }

  /** @param {object} payload */
  #say(payload) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#last += 1;
    this.#socket.send(JSON.stringify({ call: this.#call, streamId: String(this.#last), payload }));
  }
}

/** @param {unknown} text @returns {any} */
function read(text) {
  try {
    return JSON.parse(String(text)) ?? {};
  } catch {
    return {};
  }
}
