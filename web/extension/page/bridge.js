// Passes questions of the hook in UCloud's page to the extension, and the answers back. Runs in the
// content script's own world, which the page cannot reach. Trusts nothing that it passes on: the
// worker judges each question by itself, and knows the page's origin from the browser. Sealed sessions
// are beside it (sealed.js): the keys of these never leave this world.

(() => {
  "use strict";
  const { runtime } = /** @type {any} */ (globalThis).browser ?? /** @type {any} */ (globalThis).chrome;
  const { countersignBytes, countersignSealed: sealed } = /** @type {any} */ (globalThis);
  /** @type {{pack: (message: object, bytes?: Uint8Array) => unknown, unpack: (detail: unknown, lengthMax: number) => {message: any, bytes: Uint8Array<ArrayBuffer> | null}}} */
  const { pack, unpack } = countersignBytes;

  /** Questions under way at most. A page that asks more gets no answer. */
  const UNDER_WAY_MAX = 200;
  /** Longest question, in characters. A job with 1000 files has 300 000. */
  const LENGTH_MAX = 4_000_000;
  /** Longest message or piece that is sealed, in bytes: what a provider takes. */
  const BYTES_MAX = 32_000_000;
  /** Pause before a question is asked again, in milliseconds. */
  const AGAIN_MS = 100;
  const LIMIT_MAX_MS = 50_000;
  const TYPES = ["hold", "tokens", "prove", "piece", "taken"];

  /** Names the questions of this document. The page cannot choose it. */
  const document_ = crypto.randomUUID();
  /** The time until which each question waits, by the hook's number. @type {Map<number, number>} */
  const underWay = new Map();

  /** @param {number} id @param {unknown} answer @param {Uint8Array} [bytes] */
  function reply(id, answer, bytes) {
    underWay.delete(id);
    document.dispatchEvent(new CustomEvent("countersign-answer", { detail: pack({ id, answer: answer ?? {} }, bytes) }));
  }

  /**
   * Asks the worker. The browser may stop the worker at any time: the question is then asked again
   * under the same name, and the worker continues where it was.
   * @param {number} id
   * @param {object} question
   * @returns {Promise<any>}
   */
  async function ask(id, question) {
    const name = `${document_}/${id}`;
    for (;;) {
      try {
        return await runtime.sendMessage({ ...question, name, until: underWay.get(id) });
      } catch {
        // The extension was updated or removed: this script cannot reach it any more.
        if (runtime.id === undefined || Date.now() >= (underWay.get(id) ?? 0)) return {};
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** @param {number} id */
  function withdraw(id) {
    if (underWay.delete(id)) settled(id);
  }

  /** The worker keeps its intents until this, for the case that a question is repeated. @param {number} id */
  function settled(id) {
    runtime.sendMessage({ type: "withdraw", name: `${document_}/${id}` }).catch(() => {});
  }

  // --- What each question needs beside the worker. ---

  /** Proofs for the tokens of an answer. Sessions on sockets are sealed if the worker says so. @param {number} id @param {any} rest */
  async function tokens(id, { text, path }) {
    const encs = path === "/api/files/download" ? {} : await sealed.offers(text).catch(() => ({}));
    const answer = await ask(id, { type: "tokens", text, encs });
    if (answer.sealed !== undefined) sealed.opened(answer.sealed);
    return reply(id, answer);
  }

  /** A piece of an upload: sealed, if its token is. @param {number} id @param {any} rest @param {Uint8Array<ArrayBuffer>} bytes */
  async function piece(id, { address, token, piece }, bytes) {
    const session = await sealed.sessionOf(token);
    if (session !== null && session.isSealed === null) {
      const { sealable } = await ask(id, { type: "sealable", address, token });
      // Without an answer it stays open, and this piece is not sent.
      if (typeof sealable === "boolean") session.isSealed = sealable;
    }
    const isSealed = session !== null && session.isSealed !== false;
    const body = isSealed ? (session.isSealed ? await sealed.piece(session, piece, bytes) : null) : bytes;
    if (body === null) return reply(id, { isSealed });
    const digest = base64(new Uint8Array(await crypto.subtle.digest("SHA-256", body)));
    const signed = { offset: piece.offset, size: body.length, total: piece.total, digest };
    const { proof, enc } = await ask(id, { type: "prove", address, token, piece: signed, enc: isSealed ? session.key.enc : null });
    return isSealed ? reply(id, { isSealed, proof, enc, digest }, body) : reply(id, { isSealed, proof, digest });
  }

  /** @param {Uint8Array} bytes */
  const base64 = (bytes) => btoa(String.fromCharCode(...bytes));

  /** What needs no worker: the records of a session. @type {{[type: string]: (id: number, rest: any, bytes: Uint8Array<ArrayBuffer>) => Promise<unknown>}} */
  const HERE = {
    seal: async (id, { token }, bytes) => reply(id, {}, (await sealed.seal(token, bytes)) ?? undefined),
    open: async (id, { token }, bytes) => {
      const message = await sealed.open(token, bytes);
      return message === null ? reply(id, {}) : reply(id, { kind: message.kind }, message.bytes);
    },
    isTaken: async (id, { token, text }) => {
      const isTaken = await sealed.isTaken(token, text);
      if (isTaken) await runtime.sendMessage({ type: "taken", token }).catch(() => {});
      return reply(id, { isTaken });
    },
  };

  // --- Questions of the page. ---

  // A page that is left gets no signature any more.
  addEventListener("pagehide", () => [...underWay.keys()].forEach(withdraw));

  document.addEventListener("countersign-ask", (event) => {
    let asked;
    try {
      asked = unpack(/** @type {CustomEvent} */ (event).detail, LENGTH_MAX);
    } catch {
      return;
    }
    const { message: { id, type, limit, ...rest }, bytes } = asked;
    if (!Number.isSafeInteger(id) || (bytes?.length ?? 0) > BYTES_MAX) return;
    if (type === "withdraw") {
      withdraw(id);
    } else if (type === "seen") {
      runtime.sendMessage({ type, path: rest.path, text: rest.text }).catch(() => {});
    } else if (Object.hasOwn(HERE, type)) {
      HERE[type]?.(id, rest, bytes ?? new Uint8Array(0)).catch(() => reply(id, {}));
    } else if (TYPES.includes(type) && !underWay.has(id)) {
      if (underWay.size >= UNDER_WAY_MAX) return reply(id, {});
      underWay.set(id, Date.now() + Math.min(LIMIT_MAX_MS, Number.isFinite(limit) ? limit : 0));
      const { request, address, token } = rest;
      if (type === "tokens") void tokens(id, rest).catch(() => reply(id, {}));
      else if (type === "piece") void piece(id, { address, token, piece: rest.piece ?? {} }, bytes ?? new Uint8Array(0)).catch(() => reply(id, { isSealed: true }));
      else {
        void ask(id, { type, request, address, token, piece: null }).then((answer) => {
          reply(id, answer);
          if (type === "hold") settled(id);
        });
      }
    }
  });
})();
