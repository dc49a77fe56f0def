// Runs in UCloud's page, in its main world, before any script of the page: the questions of the hook
// to the extension. Its other files hold requests (hook-requests.js) and messages on sockets
// (hook-sockets.js) until the extension has left their intents at the provider, then send them
// unchanged; what they send to a sealed session is records (hook-pieces.js, hook-seals.js). A convenience, not a security boundary: the page can undo all of it, and then gets no
// signatures. Keeps no secret, never throws, and never fires an error event of its own (protocol,
// section 11).

(() => {
  "use strict";
  if (window !== window.top) return;

  /** How long a request is held at most, in milliseconds: Core's tokens are valid for a minute. */
  const HELD_MAX_MS = 50_000;
  const HELD_MIN_MS = 5_000;
  /** Pages of a list that are fetched at most, of 250 entries each. */
  const LIST_PAGES_MAX = 8;
  const fetchHere = window.fetch.bind(window);
  const { countersignBytes } = /** @type {any} */ (globalThis);
  delete /** @type {any} */ (globalThis).countersignBytes;
  /** @type {{pack: (message: object, bytes?: Uint8Array) => unknown, unpack: (detail: unknown, lengthMax: number) => {message: any, bytes: Uint8Array<ArrayBuffer> | null}}} */
  const { pack, unpack } = countersignBytes;

  // --- Questions to the extension, over the bridge in the isolated world. ---

  /** @type {Map<number, (answer: any) => void>} */
  const waiting = new Map();
  let last = 0;

  document.addEventListener("countersign-answer", (event) => {
    try {
      const { message: { id, answer }, bytes } = unpack(/** @type {CustomEvent} */ (event).detail, Infinity);
      const settle = waiting.get(id);
      waiting.delete(id);
      settle?.(bytes === null ? answer ?? {} : { ...answer, bytes });
    } catch {
      // Not the bridge's.
    }
  });

  /** @param {object} message @param {Uint8Array} [bytes] */
  function tell(message, bytes) {
    document.dispatchEvent(new CustomEvent("countersign-ask", { detail: pack(message, bytes) }));
  }

  /**
   * Asks, and waits at most so long. No answer is an empty one.
   * @param {object} question
   * @param {number} limit milliseconds
   * @param {Uint8Array} [bytes]
   * @returns {Promise<any>}
   */
  function ask(question, limit, bytes) {
    const id = (last += 1);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        waiting.delete(id);
        tell({ id, type: "withdraw" });
        resolve({});
      }, limit);
      waiting.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      tell({ id, limit, ...question }, bytes);
    });
  }

  // --- What the requests say. ---

  /** @param {unknown} address */
  function here(address) {
    try {
      return new URL(String(address), document.baseURI);
    } catch {
      return null;
    }
  }

  /** The claims of UCloud's own token. The rest of the token stays in the page. @param {string | undefined} bearer */
  function claimsOf(bearer) {
    try {
      const part = (bearer ?? "").replace(/^Bearer /, "").split(".")[1] ?? "";
      const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
      const { sub, exp } = JSON.parse(new TextDecoder().decode(bytes));
      return { username: String(sub), expires: Number(exp) };
    } catch {
      return { username: "", expires: NaN };
    }
  }

  /** @param {number} expires UCloud's token, in seconds since 1970 */
  function limitOf(expires) {
    const left = expires * 1000 - Date.now() - 3_000;
    return Number.isFinite(left) ? Math.min(HELD_MAX_MS, Math.max(HELD_MIN_MS, left)) : HELD_MAX_MS;
  }

  /**
   * Asks for the signature of a request. If a list of UCloud's is needed for it, brings that first.
   * @param {string} kind
   * @param {string} method
   * @param {URL} url
   * @param {string | null} body
   * @param {Map<string, string>} headers
   * @returns {Promise<any>}
   */
  async function signature(kind, method, url, body, headers) {
    const { username, expires } = claimsOf(headers.get("authorization"));
    const request = { kind, method, path: url.pathname, query: url.search, body, username, project: headers.get("project") ?? null };
    const answer = await ask({ type: "hold", request }, limitOf(expires));
    if (typeof answer.need !== "string") return answer;
    const lists = { [answer.need]: await listed(answer.need, headers) };
    return ask({ type: "hold", request: { ...request, lists } }, limitOf(expires));
  }

  /** All pages of a list of UCloud's. @param {string} path @param {Map<string, string>} headers */
  async function listed(path, headers) {
    /** @type {unknown[]} */
    const all = [];
    let next = "";
    for (let page = 0; page < LIST_PAGES_MAX; page += 1) {
      const url = new URL(path, location.origin);
      url.searchParams.set("itemsPerPage", "250");
      if (next !== "") url.searchParams.set("next", next);
      const asked = Object.fromEntries([...headers].filter(([name]) => name === "authorization" || name === "project"));
      const answer = await (await fetchHere(url, { headers: asked })).json();
      all.push(...answer.items);
      if (typeof answer.next !== "string") return all;
      next = answer.next;
    }
    return null;
  }

  // For the other files. The last one removes it before any script of the page runs. `sealed`: the
  // intent and the encapsulated key of each token whose session on a socket is sealed.
  Object.assign(globalThis, { countersignHook: { ask, tell, here, claimsOf, signature, next: () => (last += 1), sealed: new Map() } });
})();
