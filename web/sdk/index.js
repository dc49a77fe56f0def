// The page's side of the signer: opens the provider's window, sends what is to be signed, and waits
// for the answer. It has no key and makes no signature. It accepts messages only from the
// provider's origin. The types are in index.d.ts.

export { folderOf, uploadFolder } from "./folder.js";
export { uploadFile } from "./pieces.js";
export { download, saveDownload } from "./downloads.js";
export { openDesktop, openInterface } from "./interfaces.js";
export { TransferError, openDownload } from "./sessions.js";
export { openTerminal } from "./terminal.js";

/** @typedef {import("./index.js").Request} Request */
/** @typedef {import("./index.js").Options} Options */
/** @typedef {import("./index.js").SignerErrorCode} SignerErrorCode */
/** @typedef {import("./index.js").Signer} SignerApi */

const VERSION = 1;

/**
 * Default timeout of a request, in milliseconds: a person has to read, and may look for a passkey.
 */
const TIMEOUT_MS = 120_000;

/**
 * Interval at which it checks whether the window is still open, in milliseconds. No event reports
 * that.
 */
const LOOK_MS = 300;

/** The window's size, in CSS pixels. */
const WINDOW = "popup,width=520,height=680";

const CODES = ["refused", "unknown_user", "no_key", "key_expired", "unknown_call", "bad_parameters", "provider"];

export class SignerError extends Error {
  name = "SignerError";

  /** @param {SignerErrorCode} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * Connects to a provider's signer. Does not open the window.
 * @param {string} origin
 * @param {Options} options
 */
export function connectSigner(origin, options) {
  return new Signer(origin, options);
}

/**
 * A request under way.
 * @typedef {object} Waiting
 * @property {object} message
 * @property {(results: any[]) => void} resolve
 * @property {(error: SignerError) => void} reject
 * @property {ReturnType<typeof setTimeout>} timer
 */

/** @implements {SignerApi} */
class Signer {
  #origin;
  #provider;
  #username;
  #timeout;
  #onAsking;
  #channel = crypto.randomUUID();
  /** @type {Window | null} */
  #window = null;
  /** Whether the window has said hello since it was opened. */
  #isReady = false;
  /** Whether the provider's signer knows seals. */
  #seals = false;
  #lastId = 0;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #looking;
  /** @type {{promise: Promise<void>, resolve: () => void}} */
  #hello = deferred();

  /** @param {string} origin @param {Options} options */
  constructor(origin, { provider, username, timeout = TIMEOUT_MS, onAsking }) {
    if (new URL(origin).origin !== origin) throw new TypeError("origin is https://host[:port] and nothing more");
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(provider)) throw new TypeError("provider is a provider's id");
    if (typeof username !== "string" || username === "") throw new TypeError("username is the UCloud username");
    this.#origin = origin;
    this.#provider = provider;
    this.#username = username;
    this.#timeout = timeout;
    this.#onAsking = onAsking;
  }

  get origin() {
    return this.#origin;
  }

  get provider() {
    return this.#provider;
  }

  get ready() {
    return this.#hello.promise;
  }

  get isOpen() {
    return this.#window !== null && !this.#window.closed;
  }

  open() {
    if (this.isOpen) {
      this.#window?.focus();
      return;
    }
    const from = new URLSearchParams({ v: String(VERSION), from: location.origin, channel: this.#channel });
    const address = `${this.#origin}/ucloud/${this.#provider}/signer#${from}`;
    this.#isReady = false;
    // The name finds the window that this tab opened before it was reloaded.
    this.#window = window.open(address, `countersign-signer-${this.#provider}`, WINDOW);
    if (this.#window === null) throw new SignerError("popup_blocked", "the browser did not open the signer's window");
    window.addEventListener("message", this.#listen);
    this.#looking ??= setInterval(() => this.#look(), LOOK_MS);
  }

  close() {
    const opened = this.#window;
    this.#forget();
    opened?.close();
  }

  /** @param {Request} request */
  async sign(request) {
    const [result] = await this.signAll([request]);
    if (result === undefined) throw new SignerError("provider", "the signer's answer is empty");
    return result;
  }

  /** @param {readonly Request[]} requests */
  async signAll(requests) {
    return (await this.#ask("sign", requests)).map(({ jws }) => ({ jws }));
  }

  /** @param {Request} request */
  async deposit(request) {
    await this.depositAll([request]);
  }

  async instanceKey() {
    if (!this.isOpen) this.open();
    await this.ready;
    if (!this.#seals) return null;
    const [result] = await this.#ask("instance", []);
    return /** @type {JsonWebKey | null} */ (result?.instanceKey ?? null);
  }

  /** @param {readonly Request[]} requests */
  async depositAll(requests) {
    await this.#ask("deposit", requests);
  }

  /**
   * @param {"sign" | "deposit" | "instance"} type
   * @param {readonly Request[]} requests
   * @returns {Promise<any[]>}
   */
  async #ask(type, requests) {
    if (!this.isOpen) this.open();
    const id = (this.#lastId += 1);
    const message = {
      countersign: VERSION, channel: this.#channel, id, type, username: this.#username, requests: requests.map(asItems),
    };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#say({ countersign: VERSION, channel: this.#channel, id, type: "cancel" });
        this.#end(id)?.reject(new SignerError("timeout", "the signer did not answer in time"));
      }, this.#timeout);
      this.#waiting.set(id, { message, resolve, reject, timer });
      try {
        this.#say(message);
      } catch (error) {
        // A value that cannot be cloned into a message is not a valid parameter.
        this.#end(id)?.reject(new SignerError("bad_parameters", String(error)));
      }
    });
  }

  /** @param {object} message */
  #say(message) {
    // Before its hello, the window may still be empty. All waiting requests are sent after it.
    // Until then, check only that the message can be cloned.
    if (this.#isReady && this.#window !== null) this.#window.postMessage(message, this.#origin);
    else structuredClone(message);
  }

  /** @param {MessageEvent} event */
  #listen = ({ origin, source, data }) => {
    if (origin !== this.#origin || source !== this.#window || data?.countersign !== VERSION || data.channel !== this.#channel) return;
    if (data.type === "hello") {
      this.#isReady = true;
      this.#seals = data.seals === true;
      this.#hello.resolve();
      for (const { message } of this.#waiting.values()) this.#say(message);
    } else if (data.type === "asking") {
      // While the user's click still counts (user activation), the browser lets the page focus the
      // window.
      this.#window?.focus();
      this.#onAsking?.();
    } else if (data.type === "result" && Array.isArray(data.results)) {
      this.#end(data.id)?.resolve(data.results);
    } else if (data.type === "error") {
      const code = CODES.includes(data.code) ? data.code : "provider";
      this.#end(data.id)?.reject(new SignerError(code, String(data.message)));
    }
  };

  #look() {
    if (!this.isOpen) this.#forget();
  }

  /** The window was closed: rejects everything that waits for it. */
  #forget() {
    this.#window = null;
    this.#isReady = false;
    this.#hello = deferred();
    window.removeEventListener("message", this.#listen);
    clearInterval(this.#looking);
    this.#looking = undefined;
    for (const id of [...this.#waiting.keys()]) {
      this.#end(id)?.reject(new SignerError("closed", "the signer's window was closed"));
    }
  }

  /** @param {number} id */
  #end(id) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(waiting?.timer);
    return waiting;
  }
}

/** @param {Request} request */
function asItems({ call, items, params, project = null, ask = false }) {
  if ((items === undefined) === (params === undefined)) {
    throw new SignerError("bad_parameters", `${call}: either items or params`);
  }
  return { call, items: items ?? [params], project, ...(ask ? { ask } : {}) };
}

function deferred() {
  /** @type {() => void} */
  let resolve = () => {};
  /** @type {Promise<void>} */
  const promise = new Promise((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
