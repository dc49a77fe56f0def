// Uploads a folder's files over one WebSocket: UCloud's upload protocol, version 2 (binary,
// big-endian). The client lists the files. The provider answers which to send and which it has, and
// counts those that are done.

import { KIND } from "./seal.js";
import { OPEN, TransferError, addressOf, prove, sealing, tokenOf } from "./sessions.js";

/** @typedef {import("./index.js").FolderFile} FolderFile */
/** @typedef {import("./index.js").FolderOptions} FolderOptions */
/** @typedef {import("./index.js").FolderOutcome} FolderOutcome */

/**
 * The first byte of each message. The provider sends `GO`, `SKIP` and `COMPLETED`; the client sends
 * the others and `SKIP`.
 */
const OP = { GO: 0, CHUNK: 2, SKIP: 3, LISTING: 4, COMPLETED: 5, CLOSE: 6 };

/** How much of a file is read at once, in bytes. */
const CHUNK = 512 * 1024;

/**
 * Maximum amount that waits in the socket, in bytes. Without a limit, the whole folder would be in
 * memory.
 */
const BUFFERED_MAX = 8 * 1024 * 1024;

/** Maximum number of files that are listed and not done. A large folder is listed in parts. */
const LISTED_MAX = 4096;

/** Longest frame of a listing, in bytes, apart from one long entry. */
const LISTING = 64 * 1024;

/**
 * Interval at which a full socket is checked, in milliseconds. No event reports that it has
 * drained.
 */
const LOOK_MS = 20;

/**
 * Sends a folder's files.
 * @param {import("./index.js").Signer} signer
 * @param {import("./index.js").UploadResponse} response
 * @param {readonly FolderFile[]} files
 * @param {FolderOptions} [options]
 * @returns {Promise<FolderOutcome>}
 */
export async function uploadFolder(signer, response, files, { project = null, onProgress, signal, sealed = "preferred" } = {}) {
  if (!response.protocol.startsWith("WEBSOCKET")) throw new TransferError("elsewhere", `${response.protocol}: no protocol for a folder`);
  signal?.throwIfAborted();
  const address = addressOf(signer, "upload", response.endpoint);
  const token = tokenOf(response.token);
  if (files.length === 0) return { sent: 0, skipped: [], unreadable: [], isSealed: false };
  const key = await sealing(signer, token, "files.createUpload", sealed);
  const proof = await prove(signer, OPEN, token, project, null, key?.enc ?? null);
  address.searchParams.set("token", token);
  address.searchParams.set("intent", proof);
  if (key !== null) address.searchParams.set("enc", key.enc);
  const seal = key === null ? null : await key.session(proof);
  return new Sending(files, onProgress, seal).over(new WebSocket(address), signal);
}

/**
 * The files that a user chose as a folder (`<input webkitdirectory>`): its name, and what is below
 * it.
 * @param {Iterable<File>} chosen
 */
export function folderOf(chosen) {
  let name = "";
  const files = [...chosen].map((file) => {
    const [top = "", ...rest] = file.webkitRelativePath.split("/");
    name = top;
    return { path: rest.join("/") || file.name, blob: file, modifiedAt: file.lastModified };
  });
  return { name, files };
}

/** One upload. */
class Sending {
  #files;
  #onProgress;
  #total;
  /** @type {WebSocket} */
  #socket = /** @type {any} */ (null);
  #listed = 0;
  #done = 0;
  #sentBytes = 0;
  /** Files that the provider has asked for. @type {number[]} */
  #wanted = [];
  /** @type {Set<number>} */
  #skipped = new Set();
  /** @type {Set<number>} */
  #unreadable = new Set();
  #isSending = false;
  /** @type {{sealer: import("./seal.js").Sealer, opener: import("./seal.js").Opener} | null} */
  #seal;
  /** Keeps records in their order while they are sealed, and frames while they are opened. */
  #turn = Promise.resolve();
  #end = "";

  /**
   * @param {readonly FolderFile[]} files
   * @param {FolderOptions["onProgress"]} onProgress
   * @param {{sealer: import("./seal.js").Sealer, opener: import("./seal.js").Opener} | null} seal
   */
  constructor(files, onProgress, seal) {
    this.#seal = seal;
    this.#files = files;
    this.#onProgress = onProgress;
    this.#total = files.reduce((sum, { blob }) => sum + blob.size, 0);
  }

  /**
   * @param {WebSocket} socket
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<FolderOutcome>}
   */
  over(socket, signal) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      const abort = () => {
        reject(signal?.reason);
        socket.close();
      };
      signal?.addEventListener("abort", abort, { once: true });
      let wasOpen = false;
      socket.onopen = () => {
        wasOpen = true;
        if (this.#seal !== null) void this.#sealed(this.#seal.sealer.seal(KIND.FIRST, new Uint8Array(0)).then((record) => [record]));
        this.#list();
      };
      const failed = (/** @type {unknown} */ error) => {
        reject(error);
        socket.close();
      };
      const hear = (/** @type {ArrayBuffer} */ frame) => {
        this.#hear(new DataView(frame));
        void this.#send().catch(failed);
      };
      socket.onmessage = ({ data }) => {
        if (this.#seal === null) {
          if (data instanceof ArrayBuffer) hear(data);
          else void this.#send().catch(failed);
          return;
        }
        const opened = data instanceof ArrayBuffer ? this.#seal.opener.open(new Uint8Array(data)) : Promise.reject(new Error("no record"));
        opened.then((message) => {
          if (message?.kind === KIND.MESSAGE) hear(message.bytes.slice().buffer);
          else if (message !== null) this.#end = new TextDecoder().decode(message.bytes);
        }, () => failed(new TransferError("tampered", "what came is not what your instance sent")));
      };
      socket.onclose = async (event) => {
        signal?.removeEventListener("abort", abort);
        // Frames that came before may still be opened.
        await this.#seal?.opener.settled;
        const reason = this.#seal === null ? event.reason : this.#end;
        if (this.#done === this.#files.length) resolve(this.#outcome());
        else if (!wasOpen) reject(new TransferError("unreachable", "the provider refused the token, or does not answer"));
        else reject(new TransferError(reason === "" ? "unreachable" : "refused", reason || "the connection broke off"));
      };
    });
  }

  /** Lists as many files as the limit allows. */
  #list() {
    /** @type {Uint8Array[]} */
    let frame = [];
    let length = 1;
    const say = () => {
      if (frame.length > 0) this.#say(joined([Uint8Array.of(OP.LISTING), ...frame]));
      [frame, length] = [[], 1];
    };
    for (; this.#listed < this.#files.length && this.#listed - this.#done < LISTED_MAX; this.#listed += 1) {
      const file = this.#files[this.#listed];
      if (file === undefined) break;
      const entry = entryOf(this.#listed, file);
      if (length + entry.length > LISTING) say();
      frame.push(entry);
      length += entry.length;
    }
    say();
  }

  /** @param {DataView} frame */
  #hear(frame) {
    for (let at = 0; at + 5 <= frame.byteLength; at += 5) {
      const op = frame.getUint8(at);
      const number = frame.getInt32(at + 1);
      if (op === OP.GO) this.#wanted.push(number);
      else if (op === OP.SKIP) this.#skip(number);
      else if (op === OP.COMPLETED) this.#done = number;
    }
    this.#list();
    this.#tell();
    if (this.#done === this.#files.length) this.#say(Uint8Array.of(OP.CLOSE));
  }

  /** Records that the provider has this file already, or may not replace it. @param {number} id */
  #skip(id) {
    this.#skipped.add(id);
    this.#sentBytes += this.#files[id]?.blob.size ?? 0;
  }

  /** Sends the files that the provider has asked for, one after the other. */
  async #send() {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      for (let id = this.#wanted.shift(); id !== undefined; id = this.#wanted.shift()) {
        const file = this.#files[id];
        if (file !== undefined) await this.#sendFile(id, file.blob);
      }
    } finally {
      this.#isSending = false;
    }
  }

  /** @param {number} id @param {Blob} file */
  async #sendFile(id, file) {
    let offset = 0;
    do {
      let bytes;
      try {
        bytes = await file.slice(offset, offset + CHUNK).arrayBuffer();
      } catch {
        // The file was changed or removed after it was chosen.
        this.#unreadable.add(id);
        this.#say(headOf(OP.SKIP, id));
        return;
      }
      while (this.#socket.bufferedAmount > BUFFERED_MAX && this.#isOpen) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      if (!this.#isOpen || this.#skipped.has(id)) return;
      await this.#say(joined([headOf(OP.CHUNK, id), new Uint8Array(bytes)]));
      offset += bytes.byteLength;
      this.#sentBytes += bytes.byteLength;
      this.#tell();
    } while (offset < file.size);
  }

  /** Sends a message of the protocol. @param {Uint8Array<ArrayBuffer>} message */
  #say(message) {
    if (this.#seal !== null) return this.#sealed(this.#seal.sealer.message(message));
    this.#socket.send(message);
    return undefined;
  }

  /** Sends records after all earlier ones. @param {Promise<Uint8Array<ArrayBuffer>[]>} records */
  #sealed(records) {
    this.#turn = this.#turn.then(async () => {
      for (const record of await records) {
        if (this.#isOpen) this.#socket.send(record);
      }
    });
    return this.#turn;
  }

  get #isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  #tell() {
    this.#onProgress?.({ sent: Math.min(this.#sentBytes, this.#total), total: this.#total, done: this.#done, files: this.#files.length });
  }

  /** @returns {FolderOutcome} */
  #outcome() {
    const paths = (/** @type {Set<number>} */ ids) => [...ids].flatMap((id) => this.#files[id]?.path ?? []);
    const sent = this.#files.length - this.#skipped.size - this.#unreadable.size;
    return { sent, skipped: paths(this.#skipped), unreadable: paths(this.#unreadable), isSealed: this.#seal !== null };
  }
}

/** The entry of a file in a listing. @param {number} id @param {FolderFile} file */
function entryOf(id, { path, blob, modifiedAt = 0 }) {
  const name = new TextEncoder().encode(path);
  const entry = new Uint8Array(24 + name.length);
  const view = new DataView(entry.buffer);
  view.setInt32(0, id);
  view.setBigInt64(4, BigInt(blob.size));
  view.setBigInt64(12, BigInt(Math.trunc(modifiedAt)));
  view.setUint32(20, name.length);
  entry.set(name, 24);
  return entry;
}

/** @param {number} op @param {number} id */
function headOf(op, id) {
  const head = new Uint8Array(5);
  const view = new DataView(head.buffer);
  view.setUint8(0, op);
  view.setInt32(1, id);
  return head;
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
