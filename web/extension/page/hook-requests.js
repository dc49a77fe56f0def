// The hook's third file: holds requests of UCloud's page (XMLHttpRequest, fetch) that need a
// signature. An answer with one-time tokens is held too, until the use of these is signed.

(() => {
  "use strict";
  const { countersignHook } = /** @type {any} */ (globalThis);
  if (countersignHook === undefined) return;
  /** @type {{ask: (question: object, limit: number) => Promise<any>, tell: (message: object) => void, next: () => number,
   *   here: (address: unknown) => URL | null, sealed: Map<string, {intent: string, enc: string}>,
   *   signature: (kind: string, method: string, url: URL, body: string | null, headers: Map<string, string>) => Promise<any>,
   *   signPiece: (address: string, headers: Map<string, string>, body: any) => Promise<{answer?: {status: number, body: string}, headers?: {[name: string]: string}, body?: any, isSealed?: boolean}>,
   *   isTaken: (token: string, text: string) => Promise<boolean>}} */
  const { ask, tell, here, signature, next, sealed, signPiece, isTaken } = countersignHook;

  /**
   * The requests that are held: method and path at UCloud. `answers`: the answer holds one-time
   * tokens, whose use is signed before the page sees them.
   */
  const HELD = new Map(
    /** @type {[string, string][]} */ ([
      ["GET", "files/browse files/retrieve iapps/syncthing/retrieve"],
      ["POST", "files/folder files/move files/copy files/trash files/emptyTrash files/upload files/download files/transfer"],
      ["POST", "files/collections files/collections/rename files/collections/updateLabels"],
      ["DELETE", "files files/collections ingresses networkips licenses private-networks ssh"],
      ["POST", "ingresses networkips licenses private-networks shares networkips/firewall shares/links/accept"],
      ["POST", "ingresses/updateLabels networkips/updateLabels licenses/updateLabels private-networks/updateLabels jobs/updateLabels"],
      ["POST", "jobs jobs/terminate jobs/extend jobs/suspend jobs/unsuspend jobs/interactiveSession jobs/openTerminalInFolder"],
      ["POST", "files/visualize jobs/attachResource jobs/detachResource ssh tasks/pauseOrCancel tokens tokens/revoke"],
      ["POST", "iapps/syncthing/update iapps/syncthing/reset iapps/syncthing/restart"],
    ]).flatMap(([method, paths]) => paths.split(" ").map((path) => [`${method} /api/${path}`, true])),
  );
  const WITH_TOKENS = ["POST /api/files/upload", "POST /api/files/download", "POST /api/jobs/interactiveSession", "POST /api/jobs/openTerminalInFolder"];
  /** Answers that say which provider a drive or job belongs to. */
  const TELLING = /^GET \/api\/(files\/collections|jobs|files|ingresses|networkips|licenses|private-networks|tokens|ssh)\/(browse|retrieve)$/;
  const CHUNK_PATH = /^\/ucloud\/[^/]+\/chunked\/upload$/;
  /** How long an answer is held for the proofs of its tokens, in milliseconds. */
  const PROOF_MAX_MS = 5_000;

  const { open, send, setRequestHeader, abort, addEventListener: listen } = XMLHttpRequest.prototype;

  /** @param {string} method @param {URL | null} url */
  function nameOf(method, url) {
    return url !== null && url.origin === location.origin ? `${method} ${url.pathname.replace(/(.)\/$/, "$1")}` : "";
  }

  // --- XMLHttpRequest. ---

  /**
   * @typedef {{method: string, url: URL | null, headers: Map<string, string>, isAsync: boolean, turn: object | null,
   *   isPiece: boolean, gate: "none" | "shut" | "asking" | "open"}} State
   */
  /** @type {WeakMap<XMLHttpRequest, State>} */
  const states = new WeakMap();
  const OURS = ["readyState", "status", "statusText", "response", "responseText", "responseURL", "getResponseHeader", "getAllResponseHeaders"];

  /** Gives a request an answer. @param {XMLHttpRequest} xhr @param {{[name: string]: unknown}} members */
  function dress(xhr, members) {
    for (const [name, value] of Object.entries(members)) Object.defineProperty(xhr, name, { value, configurable: true });
  }

  /** @param {XMLHttpRequest} xhr @param {string} text */
  function bodyOf(xhr, text) {
    if (xhr.responseType === "json") return JSON.parse(text);
    if (xhr.responseType === "arraybuffer") return new TextEncoder().encode(text).buffer;
    return xhr.responseType === "blob" ? new Blob([text], { type: "application/json" }) : text;
  }

  /** @param {XMLHttpRequest} xhr */
  function finish(xhr) {
    xhr.dispatchEvent(new Event("readystatechange"));
    xhr.dispatchEvent(new ProgressEvent("load"));
    xhr.dispatchEvent(new ProgressEvent("loadend"));
  }

  /** Answers a request that the user refused, without sending it. @param {XMLHttpRequest} xhr @param {{status: number, body: string}} answer */
  function answerHere(xhr, { status, body }) {
    const type = "application/json; charset=utf-8";
    dress(xhr, {
      readyState: 4, status, statusText: "", responseURL: states.get(xhr)?.url?.href ?? "", response: bodyOf(xhr, body),
      ...(xhr.responseType === "" || xhr.responseType === "text" ? { responseText: body } : {}),
      getResponseHeader: (/** @type {string} */ name) => (String(name).toLowerCase() === "content-type" ? type : null),
      getAllResponseHeaders: () => `content-type: ${type}\r\n`,
    });
    finish(xhr);
  }

  /** Keeps the end of a request from the page until the use of its tokens is signed. @param {Event} event */
  function gate(event) {
    const xhr = /** @type {XMLHttpRequest} */ (event.currentTarget);
    const state = states.get(xhr);
    if (state === undefined || !event.isTrusted || state.gate === "none" || state.gate === "open" || xhr.readyState !== 4) return;
    if (["error", "abort", "timeout"].includes(event.type) || (event.type === "readystatechange" && xhr.status === 0)) {
      state.gate = "open";
      return;
    }
    event.stopImmediatePropagation();
    if (event.type !== "load" || state.gate !== "shut" || state.url === null) return;
    state.gate = "asking";
    const isText = xhr.responseType === "" || xhr.responseType === "text";
    const text = isText && xhr.status >= 200 && xhr.status < 300 ? xhr.responseText : null;
    const judged = text === null ? Promise.resolve({}) : state.isPiece ? confirmed(xhr, state) : tokens(text, state.url.pathname);
    void judged.then((answer) => {
      if (states.get(xhr) !== state || state.gate !== "asking") return;
      state.gate = "open";
      if (answer.answer !== undefined) return answerHere(xhr, answer.answer);
      if (typeof answer.text === "string") dress(xhr, { responseText: answer.text, response: answer.text });
      finish(xhr);
    });
  }

  /** Has the use of an answer's tokens signed. @param {string} text @param {string} path @returns {Promise<any>} */
  async function tokens(text, path) {
    const answer = await ask({ type: "tokens", text, path }, PROOF_MAX_MS);
    for (const [token, use] of Object.entries(answer.sealed ?? {})) sealed.set(token, use);
    return answer;
  }

  /** Keeps an answer to a sealed piece from the page if it is not the instance's. @param {XMLHttpRequest} xhr @param {State} state @returns {Promise<any>} */
  async function confirmed(xhr, state) {
    if (await isTaken(state.headers.get("chunked-upload-token") ?? "", xhr.responseText)) return {};
    const why = "Your own program at the centre did not confirm this part of the file, so it may not be there.";
    return { answer: { status: 502, body: JSON.stringify({ why }) } };
  }

  /** Tells the extension what an answer says about drives and jobs. @param {Event} event */
  function overhear(event) {
    const xhr = /** @type {XMLHttpRequest} */ (event.currentTarget);
    const state = states.get(xhr);
    try {
      if (state === undefined || state.url === null || xhr.status !== 200 || (xhr.responseType !== "" && xhr.responseType !== "text")) return;
      tell({ id: next(), type: "seen", path: state.url.pathname, text: xhr.responseText });
    } catch {
      // Then the extension asks the providers.
    }
  }

  /** @param {XMLHttpRequest} xhr @param {unknown[]} given */
  function opened(xhr, given) {
    for (const name of OURS) delete (/** @type {any} */ (xhr)[name]);
    const [method, address, isAsync = true] = given;
    const state = /** @type {State} */ ({
      method: String(method).toUpperCase(), url: here(address), headers: new Map(), isAsync: Boolean(isAsync), turn: null, isPiece: false, gate: "none",
    });
    state.isPiece = state.method === "POST" && state.url !== null && CHUNK_PATH.test(state.url.pathname);
    states.set(xhr, state);
    const name = nameOf(state.method, state.url);
    if ((WITH_TOKENS.includes(name) || state.isPiece) && state.isAsync) {
      // That of a piece is shut when the piece is sealed.
      state.gate = state.isPiece ? "none" : "shut";
      for (const type of ["readystatechange", "load", "loadend", "error", "abort", "timeout"]) listen.call(xhr, type, gate);
    }
    if (TELLING.test(name)) listen.call(xhr, "load", overhear);
  }

  /** Holds a request if it is one of ours. Returns whether it is held. @param {XMLHttpRequest} xhr @param {any} body */
  function held(xhr, body) {
    const state = states.get(xhr);
    if (state === undefined || !state.isAsync || state.url === null) return false;
    if (state.turn !== null) return true;
    const isPiece = state.isPiece && state.headers.has("chunked-upload-token");
    const isOurs = HELD.has(nameOf(state.method, state.url)) && (body === null || body === undefined || typeof body === "string");
    if (!isOurs && !isPiece) return false;
    const turn = (state.turn = {});
    /** @type {Promise<any>} */
    const asked = isPiece ? signPiece(state.url.href, state.headers, body) : signature("xhr", state.method, state.url, body ?? null, state.headers);
    void asked.catch(() => ({})).then((answer) => {
      if (states.get(xhr) !== state || state.turn !== turn) return;
      state.turn = null;
      if (typeof answer?.answer?.status === "number") return answerHere(xhr, answer.answer);
      if (isPiece) {
        for (const [name, value] of Object.entries(answer.headers ?? {})) setRequestHeader.call(xhr, name, value);
        if (answer.isSealed === true) state.gate = "shut";
        else listen.call(xhr, "load", () => void taken(xhr, state), { once: true });
      }
      send.call(xhr, answer?.body ?? body);
    }).catch(() => {});
    return true;
  }

  /** Tells the extension that the provider took a piece: the next one continues. @param {XMLHttpRequest} xhr @param {State} state */
  function taken(xhr, state) {
    if (xhr.status >= 200 && xhr.status < 300) void ask({ type: "taken", token: state.headers.get("chunked-upload-token") }, PROOF_MAX_MS);
  }

  XMLHttpRequest.prototype.open = function (/** @type {any[]} */ ...given) {
    const result = /** @type {any} */ (open).apply(this, given);
    try {
      opened(this, given);
    } catch {
      states.delete(this);
    }
    return result;
  };
  XMLHttpRequest.prototype.setRequestHeader = function (name, value) {
    setRequestHeader.call(this, name, value);
    states.get(this)?.headers.set(String(name).toLowerCase(), String(value));
  };
  XMLHttpRequest.prototype.send = function (body) {
    let isHeld = false;
    try {
      isHeld = held(this, body);
    } catch {
      // Sent unsigned.
    }
    if (!isHeld) send.call(this, body);
  };
  XMLHttpRequest.prototype.abort = function () {
    const state = states.get(this);
    if (state !== undefined) state.turn = null;
    abort.call(this);
  };

  // --- fetch. ---

  window.fetch = new Proxy(window.fetch, {
    async apply(target, self, given) {
      try {
        const [input, init] = given;
        const request = input instanceof Request ? input : null;
        const method = String(init?.method ?? request?.method ?? "GET").toUpperCase();
        const url = here(request?.url ?? input);
        if (url !== null && HELD.has(nameOf(method, url))) {
          const body = init?.body ?? (request !== null && method !== "GET" ? await request.clone().text() : null);
          if (body === null || typeof body === "string") {
            const headers = new Map(new Headers(init?.headers ?? request?.headers).entries());
            const { answer } = await signature("fetch", method, url, body, headers).catch(() => ({}));
            if (typeof answer?.status === "number") {
              return new Response(answer.body, { status: answer.status, headers: { "content-type": "application/json; charset=utf-8" } });
            }
          }
        }
      } catch {
        // Sent unsigned.
      }
      return Reflect.apply(target, self, given);
    },
  });
})();
