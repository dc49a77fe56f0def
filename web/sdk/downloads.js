// Sealed downloads: fetches a file, opens its records and hands the bytes on. A file that was changed
// or cut short on the way is an error, never a file.

import { Frames, KIND, Unopened } from "./seal.js";
import { OPEN, TransferError, addressOf, prove, refusalOf, sealing, tokenIn } from "./sessions.js";

/** @typedef {import("./index.js").DownloadOptions} DownloadOptions */
/** @typedef {import("./index.js").Download} Download */

/**
 * Fetches a file. Resolves when its name and size are known; the content is a stream.
 * @param {import("./index.js").Signer} signer
 * @param {import("./index.js").DownloadResponse} response
 * @param {DownloadOptions} [options]
 * @returns {Promise<Download>}
 */
export async function download(signer, { endpoint }, { project = null, sealed = "preferred", signal } = {}) {
  const address = addressOf(signer, "download", endpoint);
  const token = tokenIn(endpoint);
  const key = await sealing(signer, token, "files.createDownload", sealed);
  const proof = await prove(signer, OPEN, token, project, null, key?.enc ?? null);
  address.searchParams.set("token", token);
  address.searchParams.set("intent", proof);
  if (key !== null) address.searchParams.set("enc", key.enc);
  let answer;
  try {
    answer = await fetch(address.href, {
      cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
      ...(signal === undefined ? {} : { signal }),
    });
  } catch {
    signal?.throwIfAborted();
    throw new TransferError("unreachable", "the provider does not answer");
  }
  if (!answer.ok || answer.body === null) throw await refusalOf(answer);
  if (key === null) {
    const size = Number(answer.headers.get("content-length") ?? NaN);
    return { name: null, size: Number.isNaN(size) ? null : size, modifiedAt: null, isSealed: false, stream: answer.body };
  }
  const { opener } = await key.session(proof);
  const messages = opened(answer.body.getReader(), opener);
  const first = await messages.next();
  if (first.done) throw new TransferError("tampered", "the download says nothing of its file");
  const { name, size, modified } = JSON.parse(new TextDecoder().decode(first.value));
  return {
    name: String(name), size: Number(size), modifiedAt: Number(modified), isSealed: true,
    stream: new ReadableStream({
      async pull(controller) {
        try {
          const { value, done } = await messages.next();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          controller.error(error);
        }
      },
      async cancel() {
        await messages.return();
      },
    }),
  };
}

/**
 * Fetches a file and saves it as the browser saves downloads. All of it is held until it is whole.
 * @param {import("./index.js").Signer} signer
 * @param {import("./index.js").DownloadResponse} response
 * @param {DownloadOptions & {name?: string, onProgress?: (progress: {received: number, total: number | null}) => void}} [options]
 */
export async function saveDownload(signer, response, options = {}) {
  const { name, size, isSealed, stream } = await download(signer, response, options);
  const parts = [];
  let received = 0;
  const reader = stream.getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    parts.push(/** @type {BlobPart} */ (piece.value));
    received += piece.value.length;
    options.onProgress?.({ received, total: size });
  }
  if (size !== null && received !== size) throw new TransferError("tampered", "the file is not as long as was said");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type: "application/octet-stream" }));
  link.download = name ?? options.name ?? "download";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return { isSealed };
}

/**
 * The messages of a body, in their order and to the last.
 * @param {ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>} reader
 * @param {import("./seal.js").Opener} opener
 * @returns {AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>}
 */
async function* opened(reader, opener) {
  const frames = new Frames();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const messages = await Promise.all(frames.take(piece.value).map((record) => opener.open(record)));
      for (const message of messages) {
        if (message?.kind === KIND.MESSAGE) yield message.bytes;
      }
    }
    if (!opener.isWhole || !frames.isBetween) throw new Unopened("the download is cut short");
  } catch (error) {
    throw error instanceof Unopened ? new TransferError("tampered", error.message) : new TransferError("unreachable", "the connection broke off");
  } finally {
    await reader.cancel().catch(() => {});
  }
}
