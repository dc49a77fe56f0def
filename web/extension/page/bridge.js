// Passes questions of the hook in UCloud's page to the extension, and the answers back. Runs in the
// content script's own world, which the page cannot reach. Trusts nothing that it passes on: the
// worker judges each question by itself, and knows the page's origin from the browser.

(() => {
  "use strict";
  const { runtime } = /** @type {any} */ (globalThis).browser ?? /** @type {any} */ (globalThis).chrome;

  /** Questions under way at most. A page that asks more gets no answer. */
  const UNDER_WAY_MAX = 200;
  /** Longest question, in characters. A job with 1000 files has 300 000. */
  const LENGTH_MAX = 4_000_000;
  /** Pause before a question is asked again, in milliseconds. */
  const AGAIN_MS = 100;
  const LIMIT_MAX_MS = 50_000;
  const TYPES = ["hold", "tokens", "prove", "taken"];

  /** Names the questions of this document. The page cannot choose it. */
  const document_ = crypto.randomUUID();
  /** The time until which each question waits, by the hook's number. @type {Map<number, number>} */
  const underWay = new Map();

  /** @param {number} id @param {unknown} answer */
  function reply(id, answer) {
    underWay.delete(id);
    document.dispatchEvent(new CustomEvent("countersign-answer", { detail: JSON.stringify({ id, answer: answer ?? {} }) }));
  }

  /**
   * Asks the worker. The browser may stop the worker at any time: the question is then asked again
   * under the same name, and the worker continues where it was.
   * @param {number} id
   * @param {object} question
   */
  async function ask(id, question) {
    const name = `${document_}/${id}`;
    for (;;) {
      try {
        reply(id, await runtime.sendMessage({ ...question, name, until: underWay.get(id) }));
        // The worker keeps its intents until this, for the case that the question is repeated.
        return void runtime.sendMessage({ type: "withdraw", name }).catch(() => {});
      } catch {
        // The extension was updated or removed: this script cannot reach it any more.
        if (runtime.id === undefined || Date.now() >= (underWay.get(id) ?? 0)) return reply(id, {});
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** @param {number} id */
  function withdraw(id) {
    if (underWay.delete(id)) runtime.sendMessage({ type: "withdraw", name: `${document_}/${id}` }).catch(() => {});
  }

  // A page that is left gets no signature any more.
  addEventListener("pagehide", () => [...underWay.keys()].forEach(withdraw));

  document.addEventListener("countersign-ask", (event) => {
    /** @type {any} */
    let asked;
    try {
      const { detail } = /** @type {CustomEvent} */ (event);
      if (typeof detail !== "string" || detail.length > LENGTH_MAX) return;
      asked = JSON.parse(detail);
    } catch {
      return;
    }
    const { id, type, limit, ...rest } = asked ?? {};
    if (!Number.isSafeInteger(id)) return;
    if (type === "withdraw") {
      withdraw(id);
    } else if (type === "seen") {
      runtime.sendMessage({ type, path: rest.path, text: rest.text }).catch(() => {});
    } else if (TYPES.includes(type) && !underWay.has(id)) {
      if (underWay.size >= UNDER_WAY_MAX) return reply(id, {});
      underWay.set(id, Date.now() + Math.min(LIMIT_MAX_MS, Number.isFinite(limit) ? limit : 0));
      void ask(id, { type, request: rest.request, text: rest.text, username: rest.username, address: rest.address, token: rest.token, piece: rest.piece });
    }
  });
})();
