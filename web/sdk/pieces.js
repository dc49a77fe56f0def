// Uploads a file in pieces. Each piece is signed with its digest, and sent again until the provider
// confirms that it is written. In a sealed session only the instance's own word counts for that. A piece that is sent twice is the same bytes at the same offset, so
// it does not matter which copy arrives.

import { CONTINUE, OPEN, TransferError, addressOf, base64, prove, refusalOf, sealing, sha256, tokenOf } from "./sessions.js";

/** @typedef {import("./index.js").Signer} Signer */
/** @typedef {import("./index.js").UploadOptions} UploadOptions */
/** @typedef {import("./sessions.js").Piece} Piece */

/**
 * Default length of a piece, in bytes. A piece is held in memory for its digest, and progress is
 * reported after each.
 */
const PIECE = 8 * 1024 * 1024;

/** Longest piece, in bytes: a provider accepts 32,000,000, of which a seal takes some. */
const PIECE_MAX = 31_900_000;

/** Maximum number of attempts for a piece: about two minutes, with the pauses between them. */
const ATTEMPTS = 16;

/**
 * Status codes that may be temporary: too many requests, or a failure of the provider or of a proxy
 * before it.
 */
const PASSING = [429, 502, 503, 504];

/** Pause after the first failure, and the longest, in milliseconds. */
const PAUSE_MS = 250;
const PAUSE_MAX_MS = 10_000;

/**
 * Sends a file.
 * @param {Signer} signer
 * @param {import("./index.js").UploadResponse} response
 * @param {Blob} file
 * @param {UploadOptions} [options]
 */
export async function uploadFile(signer, response, file, { project = null, chunk = PIECE, onProgress, signal, sealed = "preferred" } = {}) {
  if (!Number.isInteger(chunk) || chunk < 1 || chunk > PIECE_MAX) throw new TypeError(`chunk is 1 to ${PIECE_MAX} bytes`);
  if (response.protocol !== "CHUNKED") throw new TransferError("elsewhere", `${response.protocol}: no protocol for a file in pieces`);
  const address = addressOf(signer, "chunked/upload", response.endpoint).href;
  const token = tokenOf(response.token);
  const key = await sealing(signer, token, "files.createUpload", sealed);
  const upload = { signer, project, signal, isOpen: false, address, token, enc: key?.enc ?? null };
  let sent = 0;
  do {
    signal?.throwIfAborted();
    const bytes = new Uint8Array(await file.slice(sent, sent + chunk).arrayBuffer());
    // The signature covers the bytes as they are sent, sealed or not.
    const sealing = await key?.piece(sent, file.size, bytes);
    const body = sealing?.body ?? bytes;
    await deliver(upload, { offset: sent, bytes: body, total: file.size, digest: await sha256(body) }, sealing?.isAnswer);
    sent += bytes.length;
    onProgress?.({ sent, total: file.size });
  } while (sent < file.size);
  return { isSealed: key !== null };
}

/**
 * An upload under way.
 * @typedef {object} Upload
 * @property {Signer} signer
 * @property {string | null} project
 * @property {AbortSignal | undefined} signal
 * @property {string} address
 * @property {string} token
 * @property {string | null} enc the encapsulated key, if the session is sealed
 * @property {boolean} isOpen whether the token was redeemed, even if the answer was lost
 */
/** @typedef {(taken: unknown) => Promise<boolean>} IsAnswer whether this is the instance's word for the piece */

/**
 * Sends a piece until it is written.
 * @param {Upload} upload
 * @param {Piece} piece
 * @param {IsAnswer} [isAnswer] of a sealed piece
 */
async function deliver(upload, piece, isAnswer) {
  let wasLost = false;
  for (let attempt = 1; ; attempt += 1) {
    upload.signal?.throwIfAborted();
    const failure = await send(upload, piece, isAnswer);
    if (failure === null) return;
    wasLost ||= failure.code === "unreachable";
    // The token is used. The request was ours and its answer was lost, since no other client can
    // prove ownership.
    const isOpened = failure.errorCode === "INTENT_REPLAYED" && !upload.isOpen;
    if (isOpened) upload.isOpen = true;
    else if (!isPassing(failure, wasLost) || attempt >= ATTEMPTS) throw failure;
    else await pause(attempt, upload.signal);
  }
}

/** Sends a piece once. Returns the failure, or null. @param {Upload} upload @param {Piece} piece @param {IsAnswer} [isAnswer] */
async function send(upload, piece, isAnswer) {
  const { signer, project, signal, address, token, isOpen, enc } = upload;
  // Signed for each attempt, because a signature is valid for one request.
  const opening = isOpen ? null : enc;
  const proof = await prove(signer, isOpen ? CONTINUE : OPEN, token, project, piece, opening);
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
        ...(opening === null ? {} : { "UCloud-Session-Enc": opening }),
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
  upload.isOpen = true;
  if (isAnswer === undefined) {
    await answer.arrayBuffer().catch(() => {});
    return null;
  }
  let said;
  try {
    said = await answer.text();
  } catch {
    return new TransferError("unreachable", "the provider's answer broke off");
  }
  if (await isAnswer(takenOf(said))) return null;
  return new TransferError("tampered", "your instance did not confirm a piece of the file, although the provider's gateway says so");
}

/** @param {string} said @returns {unknown} */
function takenOf(said) {
  try {
    return JSON.parse(said)?.taken;
  } catch {
    return undefined;
  }
}

/**
 * Whether the failure may be temporary. After a broken connection, the provider may still be
 * removing the incomplete piece.
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
