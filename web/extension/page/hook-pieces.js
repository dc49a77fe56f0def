// The hook's second file: pieces of an upload, which are signed, and sealed by the bridge if their
// token is of a sealed session. Such a piece is never sent in the clear: if it cannot be sealed, the
// page gets an error as its answer.

(() => {
  "use strict";
  const { countersignHook } = /** @type {any} */ (globalThis);
  if (countersignHook === undefined) return;
  /** @type {{ask: (question: object, limit: number, bytes?: Uint8Array) => Promise<any>}} */
  const { ask } = countersignHook;

  /** How long a piece of 16 MB may take to be sealed and signed, in milliseconds. */
  const PIECE_MAX_MS = 30_000;
  const ANSWER_MAX_MS = 5_000;

  const why = "This part of the file could not be sealed, so it was not sent. Reload the page and upload the file again.";
  /** The answer to the page if a sealed piece cannot be sent. */
  const NOT_SENT = { answer: { status: 502, body: JSON.stringify({ why }) } };

  /**
   * What is sent for a piece: headers and body. Without a proof the provider refuses it, and says why.
   * @param {string} address
   * @param {Map<string, string>} headers the page's
   * @param {any} body the page's
   * @returns {Promise<{answer?: {status: number, body: string}, headers?: {[name: string]: string}, body?: any, isSealed?: boolean}>}
   */
  async function signPiece(address, headers, body) {
    try {
      const bytes = new Uint8Array(await new Response(body).arrayBuffer());
      const token = headers.get("chunked-upload-token");
      const piece = { offset: Number(headers.get("chunked-upload-offset")), total: Number(headers.get("chunked-upload-total-size")) };
      const { isSealed, proof, enc, digest, bytes: records } = await ask({ type: "piece", address, token, piece }, PIECE_MAX_MS, bytes);
      const isSigned = typeof proof === "string";
      if (isSealed === false && !isSigned) return { isSealed };
      if (isSealed !== false && !(isSigned && records instanceof Uint8Array)) return NOT_SENT;
      return {
        isSealed: isSealed === true, ...(isSealed === true ? { body: records } : {}),
        headers: {
          "Content-Digest": `sha-256=:${digest}:`, "UCloud-Signed-Intent": proof,
          ...(typeof enc === "string" ? { "UCloud-Session-Enc": enc } : {}),
        },
      };
    } catch {
      return NOT_SENT;
    }
  }

  /** Whether the instance has the piece, by its own word. @param {string} token @param {string} text the answer */
  async function isTaken(token, text) {
    return (await ask({ type: "isTaken", token, text }, ANSWER_MAX_MS)).isTaken === true;
  }

  Object.assign(countersignHook, { signPiece, isTaken });
})();
