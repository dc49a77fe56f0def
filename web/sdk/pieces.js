// A file in pieces: each is signed with its digest, and sent again until the provider says that it is written. What is sent again is the same
// piece, from the same place: whichever of the two arrives, the file is the same.

import { CONTINUE, OPEN, TransferError, addressOf, base64, prove, refusalOf, sha256, tokenOf } from "./sessions.js";

/** @typedef {import("./index.js").Signer} Signer */
/** @typedef {import("./index.js").UploadOptions} UploadOptions */
/** @typedef {import("./sessions.js").Piece} Piece */

/** How long a piece is if the page does not say, in bytes: it is held in memory to be digested, and progress is told after each. */
const PIECE = 8 * 1024 * 1024;

/** The longest that a provider takes, in bytes. */
const PIECE_MAX = 32_000_000;

/** How often a piece is sent before it is given up; with the pauses between, for some two minutes. */
const ATTEMPTS = 16;

/** Answers that may be others in a moment: too many requests, and the provider itself or what stands before it. */
const PASSING = [429, 502, 503, 504];

/** The pause after the first failure and the longest, in milliseconds. */
const PAUSE_MS = 250;
const PAUSE_MAX_MS = 10_000;

/**
 * Sends a file.
 * @param {Signer} signer
 * @param {import("./index.js").UploadResponse} response
 * @param {Blob} file
 * @param {UploadOptions} [options]
 */
export async function uploadFile(signer, response, file, { project = null, chunk = PIECE, onProgress, signal } = {}) {
  if (!Number.isInteger(chunk) || chunk < 1 || chunk > PIECE_MAX) throw new TypeError(`chunk is 1 to ${PIECE_MAX} bytes`);
  if (response.protocol !== "CHUNKED") throw new TransferError("elsewhere", `${response.protocol}: no protocol for a file in pieces`);
  const upload = {
    signer, project, signal, isOpen: false,
    address: addressOf(signer, "chunked/upload", response.endpoint).href,
    token: tokenOf(response.token),
  };
  let sent = 0;
  do {
    signal?.throwIfAborted();
    const bytes = new Uint8Array(await file.slice(sent, sent + chunk).arrayBuffer());
    await deliver(upload, { offset: sent, bytes, total: file.size, digest: await sha256(bytes) });
    sent += bytes.length;
    onProgress?.({ sent, total: file.size });
  } while (sent < file.size);
}

/**
 * An upload under way.
 * @typedef {object} Upload
 * @property {Signer} signer
 * @property {string | null} project
 * @property {AbortSignal | undefined} signal
 * @property {string} address
 * @property {string} token
 * @property {boolean} isOpen whether the token was redeemed, whoever heard of it
 */

/** Sends a piece until it is written. @param {Upload} upload @param {Piece} piece */
async function deliver(upload, piece) {
  let wasLost = false;
  for (let attempt = 1; ; attempt += 1) {
    upload.signal?.throwIfAborted();
    const failure = await send(upload, piece);
    if (failure === null) return;
    wasLost ||= failure.code === "unreachable";
    // Used up: by a request of ours whose answer was lost, since nobody else can prove that it is theirs.
    const isOpened = failure.errorCode === "INTENT_REPLAYED" && !upload.isOpen;
    if (isOpened) upload.isOpen = true;
    else if (!isPassing(failure, wasLost) || attempt >= ATTEMPTS) throw failure;
    else await pause(attempt, upload.signal);
  }
}

/** Sends a piece once; gives why it is not written. @param {Upload} upload @param {Piece} piece */
async function send(upload, piece) {
  const { signer, project, signal, address, token, isOpen } = upload;
  // Signed anew each time: a signature is good for one request.
  const proof = await prove(signer, isOpen ? CONTINUE : OPEN, token, project, piece);
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST",
      headers: {
        "Chunked-Upload-Token": token,
        "Chunked-Upload-Offset": String(piece.offset),
        "Chunked-Upload-Total-Size": String(piece.total),
        "Content-Digest": `sha-256=:${base64(piece.digest)}:`,
        "Content-Type": "application/octet-stream",
        "UCloud-Signed-Intent": proof,
      },
      body: piece.bytes,
      cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
      ...(signal === undefined ? {} : { signal }),
    });
  } catch {
    signal?.throwIfAborted();
    return new TransferError("unreachable", "the provider does not answer");
  }
  if (!answer.ok) return refusalOf(answer);
  await answer.arrayBuffer().catch(() => {});
  upload.isOpen = true;
  return null;
}

/**
 * Whether it may be otherwise in a moment. Of a piece that broke off the provider may still be taking back what came.
 * @param {TransferError} failure
 * @param {boolean} wasLost
 */
function isPassing({ code, status, errorCode }, wasLost) {
  return code === "unreachable" || PASSING.includes(status ?? 0) || (code === "conflict" && wasLost)
    || errorCode === "INTENT_REPLAYED" || errorCode === "INTENT_STALE";
}

/** @param {number} attempt @param {AbortSignal | undefined} signal */
function pause(attempt, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve(undefined);
    }, Math.min(PAUSE_MS * 2 ** (attempt - 1), PAUSE_MAX_MS));
    signal?.addEventListener("abort", abort, { once: true });
  });
}
