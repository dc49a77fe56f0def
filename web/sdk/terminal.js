// A terminal at the provider, over UCloud's shell messages. It displays nothing: output goes to the
// page, and input comes from it.

import { KIND } from "./seal.js";
import { OPEN, TransferError, addressOf, prove, sealing, tokenOf } from "./sessions.js";

/** @typedef {import("./index.js").TerminalOptions} TerminalOptions */
/** @typedef {import("./index.js").Terminal} TerminalApi */

/** The stream of the provider's answers: that of the first message. */
const FIRST = "0";

/** The calls whose tokens open a terminal: in a folder, and in a job. */
const CALLS = ["jobs.openTerminalInFolder", "jobs.openInteractiveSession"];

/** Longest input in one message, in UTF-16 units. A large paste is split. */
const TYPED_MAX = 32 * 1024;

/**
 * Opens a terminal. Resolves when the shell runs.
 * @param {import("./index.js").Signer} signer
 * @param {import("./index.js").ShellSession} session
 * @param {TerminalOptions} options
 * @returns {Promise<TerminalApi>}
 */
export async function openTerminal(signer, session, { project = null, cols, rows, onData, sealed = "preferred" }) {
  const address = addressOf(signer, "websocket", session.domainOverride);
  const token = tokenOf(session.sessionIdentifier);
  address.searchParams.set("session", token);
  const key = await sealing(signer, token, CALLS, sealed);
  const signedIntent = await prove(signer, OPEN, token, project, null, key?.enc ?? null);
  const call = `jobs.compute.${signer.provider}.shell.open`;
  const first = { call, streamId: FIRST, payload: { type: "initialize", sessionIdentifier: token, cols, rows } };
  if (key !== null) {
    // The instance reads nothing but records, so the proof comes before the first of them.
    address.searchParams.set("intent", signedIntent);
    address.searchParams.set("enc", key.enc);
  }
  const seal = key === null ? null : await key.session(signedIntent);
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  const line = seal === null ? new PlainLine(socket) : new SealedLine(socket, seal);
  socket.onopen = () => {
    line.begin();
    line.say(seal === null ? { ...first, signedIntent } : first);
  };
  return new Promise((resolve, reject) => {
    /** @type {(reason: string) => void} */
    let ended = () => {};
    /** @type {Promise<string>} */
    const closed = new Promise((end) => {
      ended = end;
    });
    /** @type {TransferError | null} */
    let refusal = null;
    let reason = "";
    line.onend = (said) => {
      reason = said;
    };
    line.onbroken = () => {
      refusal = new TransferError("tampered", "what came is not what your instance sent");
      socket.close();
    };
    line.onmessage = (/** @type {any} */ { type, streamId, status, payload }) => {
      if (streamId !== FIRST) return;
      if (type === "response" && status >= 400) {
        const { why, errorCode } = payload ?? {};
        refusal = new TransferError("refused", String(why ?? `the provider answered ${status}`), { status, errorCode: String(errorCode ?? "") });
        socket.close();
      } else if (type === "message" && payload?.type === "initialize") {
        resolve(new Terminal(socket, line, call, closed, seal !== null));
      } else if (type === "message" && payload?.type === "data") {
        onData(String(payload.data));
      }
    };
    socket.onclose = async (event) => {
      await seal?.opener.settled;
      // In a sealed terminal the gateway's word is not the instance's.
      if (seal === null) reason = event.reason;
      else if (refusal !== null) reason = refusal.message;
      else if (!seal.opener.isWhole) reason = cutOff(event.reason);
      // Only the first of the two takes effect: a terminal that was open can no longer be refused.
      reject(refusal ?? new TransferError("unreachable", reason || "the provider refused the token, or does not answer"));
      ended(reason);
    };
  });
}

/** @implements {TerminalApi} */
class Terminal {
  #socket;
  #line;
  #call;
  #last = 0;
  closed;
  isSealed;

  /**
   * @param {WebSocket} socket
   * @param {PlainLine | SealedLine} line
   * @param {string} call
   * @param {Promise<string>} closed
   * @param {boolean} isSealed
   */
  constructor(socket, line, call, closed, isSealed) {
    this.#socket = socket;
    this.#line = line;
    this.isSealed = isSealed;
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
    this.#line.say({ call: this.#call, streamId: String(this.#last), payload });
  }
}

/** An end that the instance did not seal. @param {string} said by the gateway, or an attacker there */
function cutOff(said) {
  return said === "" ? "the connection was cut off" : `the connection was cut off. The provider's gateway says: ${said}`;
}

/** The messages of a socket without a seal. */
class PlainLine {
  #socket;
  /** @type {(message: any) => void} */
  onmessage = () => {};
  /** @type {(reason: string) => void} */
  onend = () => {};
  onbroken = () => {};

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.onmessage(read(data));
  }

  begin() {}

  /** @param {object} message */
  say(message) {
    this.#socket.send(JSON.stringify(message));
  }
}

/** The messages of a sealed socket, one record in each binary frame. */
class SealedLine {
  #socket;
  #sealer;
  /** Keeps records in their order while they are sealed. */
  #turn = Promise.resolve();
  /** @type {(message: any) => void} */
  onmessage = () => {};
  /** @type {(reason: string) => void} */
  onend = () => {};
  onbroken = () => {};

  /** @param {WebSocket} socket @param {{sealer: import("./seal.js").Sealer, opener: import("./seal.js").Opener}} seal */
  constructor(socket, { sealer, opener }) {
    this.#socket = socket;
    this.#sealer = sealer;
    socket.onmessage = ({ data }) => {
      const opened = data instanceof ArrayBuffer ? opener.open(new Uint8Array(data)) : Promise.reject(new Error("no record"));
      opened.then((message) => {
        if (message === null) return;
        const text = new TextDecoder().decode(message.bytes);
        if (message.kind === KIND.END) this.onend(text);
        else this.onmessage(read(text));
      }, () => this.onbroken());
    };
  }

  /** Sends the first record, when the socket is open. */
  begin() {
    const record = this.#sealer.seal(KIND.FIRST, new Uint8Array(0));
    this.#turn = record.then((first) => this.#send([first]));
  }

  /** @param {object} message */
  say(message) {
    const records = this.#sealer.message(new TextEncoder().encode(JSON.stringify(message)));
    this.#turn = this.#turn.then(async () => this.#send(await records));
  }

  /** @param {Uint8Array<ArrayBuffer>[]} records */
  #send(records) {
    for (const record of records) {
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(record);
    }
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
