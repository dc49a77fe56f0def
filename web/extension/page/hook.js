// Runs in UCloud's page, in its main world, before any script of the page. Holds the requests that
// need a signature until the extension has left it at the provider, then sends them unchanged. A
// convenience, not a security boundary: the page can undo all of it, and then gets no signatures.
// Keeps no secret, never throws, and never fires an error event of its own (protocol, section 11).

(() => {
  "use strict";
  if (window !== window.top) return;

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
  const WITH_TOKENS = ["POST /api/files/upload", "POST /api/files/download"];
  /** Answers that say which provider a drive or job belongs to. */
  const TELLING = /^GET \/api\/(files\/collections|jobs|files|ingresses|networkips|licenses|private-networks|tokens|ssh)\/(browse|retrieve)$/;
  /** Sockets to UCloud whose calls are held. */
  const SOCKETS = ["/api/files", "/api/jobs"];
  /** A socket to UCloud whose messages name tasks and their providers. */
  const TASKS = "/api/tasks";
  /** Sockets of applications whose calls nobody can sign: the user is told. */
  const UNSIGNED = /^\/api\/hpc\/apps\/ucx\//;
  const CHUNK_PATH = /^\/ucloud\/[^/]+\/chunked\/upload$/;
  const SHELL_PATH = /^\/ucloud\/[^/]+\/websocket$/;

  /** How long a request is held at most, in milliseconds: Core's tokens are valid for a minute. */
  const HELD_MAX_MS = 50_000;
  const HELD_MIN_MS = 5_000;
  /** Pages of a list that are fetched at most, of 250 entries each. */
  const LIST_PAGES_MAX = 8;
  /** How long an answer is held for the proofs of its tokens, in milliseconds. */
  const PROOF_MAX_MS = 5_000;

  const { open, send, setRequestHeader, abort, addEventListener: listen } = XMLHttpRequest.prototype;
  const socketSend = WebSocket.prototype.send;
  const fetchHere = window.fetch.bind(window);

  // --- Questions to the extension, over the bridge in the isolated world. ---

  /** @type {Map<number, (answer: any) => void>} */
  const waiting = new Map();
  let last = 0;

  document.addEventListener("countersign-answer", (event) => {
    try {
      const { id, answer } = JSON.parse(/** @type {CustomEvent} */ (event).detail);
      const settle = waiting.get(id);
      waiting.delete(id);
      settle?.(answer ?? {});
    } catch {
      // Not the bridge's.
    }
  });

  /** @param {object} message */
  function tell(message) {
    document.dispatchEvent(new CustomEvent("countersign-ask", { detail: JSON.stringify(message) }));
  }

  /**
   * Asks, and waits at most so long. No answer is an empty one.
   * @param {object} question
   * @param {number} limit milliseconds
   * @returns {Promise<any>}
   */
  function ask(question, limit) {
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
      tell({ id, limit, ...question });
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

  /** @param {string} method @param {URL | null} url */
  function nameOf(method, url) {
    return url !== null && url.origin === location.origin ? `${method} ${url.pathname.replace(/(.)\/$/, "$1")}` : "";
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

  // --- XMLHttpRequest. ---

  /**
   * @typedef {{method: string, url: URL | null, headers: Map<string, string>, isAsync: boolean, turn: object | null,
   *   gate: "none" | "shut" | "asking" | "open"}} State
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
    const { username } = claimsOf(state.headers.get("authorization"));
    const proofs = text === null ? Promise.resolve({}) : ask({ type: "tokens", text, username }, PROOF_MAX_MS);
    void proofs.then((answer) => {
      if (states.get(xhr) !== state || state.gate !== "asking") return;
      state.gate = "open";
      if (typeof answer.text === "string") dress(xhr, { responseText: answer.text, response: answer.text });
      finish(xhr);
    });
  }

  /** Tells the extension what an answer says about drives and jobs. @param {Event} event */
  function overhear(event) {
    const xhr = /** @type {XMLHttpRequest} */ (event.currentTarget);
    const state = states.get(xhr);
    try {
      if (state === undefined || state.url === null || xhr.status !== 200 || (xhr.responseType !== "" && xhr.responseType !== "text")) return;
      tell({ id: (last += 1), type: "seen", path: state.url.pathname, text: xhr.responseText });
    } catch {
      // Then the extension asks the providers.
    }
  }

  /** @param {XMLHttpRequest} xhr @param {unknown[]} given */
  function opened(xhr, given) {
    for (const name of OURS) delete (/** @type {any} */ (xhr)[name]);
    const [method, address, isAsync = true] = given;
    const state = /** @type {State} */ ({
      method: String(method).toUpperCase(), url: here(address), headers: new Map(), isAsync: Boolean(isAsync), turn: null, gate: "none",
    });
    states.set(xhr, state);
    const name = nameOf(state.method, state.url);
    if (WITH_TOKENS.includes(name) && state.isAsync) {
      state.gate = "shut";
      for (const type of ["readystatechange", "load", "loadend", "error", "abort", "timeout"]) listen.call(xhr, type, gate);
    }
    if (TELLING.test(name)) listen.call(xhr, "load", overhear);
  }

  /** Holds a request if it is one of ours. Returns whether it is held. @param {XMLHttpRequest} xhr @param {any} body */
  function held(xhr, body) {
    const state = states.get(xhr);
    if (state === undefined || !state.isAsync || state.url === null) return false;
    if (state.turn !== null) return true;
    const isChunk = state.method === "POST" && CHUNK_PATH.test(state.url.pathname) && state.headers.has("chunked-upload-token");
    const isOurs = HELD.has(nameOf(state.method, state.url)) && (body === null || body === undefined || typeof body === "string");
    if (!isOurs && !isChunk) return false;
    const turn = (state.turn = {});
    const asked = isChunk ? chunk(xhr, state, body) : signature("xhr", state.method, state.url, body ?? null, state.headers);
    void asked.catch(() => ({})).then((answer) => {
      if (states.get(xhr) !== state || state.turn !== turn) return;
      state.turn = null;
      if (typeof answer?.answer?.status === "number") answerHere(xhr, answer.answer);
      else send.call(xhr, body);
    }).catch(() => {});
    return true;
  }

  /** Signs a piece of an upload. @param {XMLHttpRequest} xhr @param {State} state @param {any} body */
  async function chunk(xhr, state, body) {
    try {
      const bytes = new Uint8Array(await new Response(body).arrayBuffer());
      const digest = btoa(String.fromCharCode(...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))));
      const piece = {
        offset: Number(state.headers.get("chunked-upload-offset")), size: bytes.length,
        total: Number(state.headers.get("chunked-upload-total-size")), digest,
      };
      const question = { type: "prove", address: state.url?.href, token: state.headers.get("chunked-upload-token"), piece };
      const { proof } = await ask(question, PROOF_MAX_MS);
      if (typeof proof === "string") {
        setRequestHeader.call(xhr, "Content-Digest", `sha-256=:${digest}:`);
        setRequestHeader.call(xhr, "UCloud-Signed-Intent", proof);
      }
    } catch {
      // Then the piece is sent without a proof, and the provider says why it refuses it.
    }
    return {};
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

  // --- WebSocket: native sockets, whose `send` waits. ---

  /**
   * Sends each text frame after `before` is done with it, in order.
   * @param {WebSocket} socket
   * @param {(data: string) => Promise<string> | null} before null if the frame needs nothing
   */
  function wait(socket, before) {
    /** @type {Promise<void> | null} */
    let turn = null;
    const later = (/** @type {Promise<any>} */ ready) => {
      const mine = ready.then((data) => {
        if (socket.readyState === WebSocket.OPEN) socketSend.call(socket, data);
        if (turn === mine) turn = null;
      });
      turn = mine;
    };
    const value = (/** @type {any} */ data) => {
      let ready = null;
      if (socket.readyState === WebSocket.OPEN && typeof data === "string") ready = before(data)?.catch(() => data) ?? null;
      if (ready === null && turn === null) return socketSend.call(socket, data);
      const previous = turn ?? Promise.resolve();
      const now = ready ?? Promise.resolve(data);
      later(previous.then(() => now));
    };
    Object.defineProperty(socket, "send", { value, configurable: true, writable: true });
  }

  /** @param {string} text @returns {any} */
  function read(text) {
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  }

  /** @param {WebSocket} socket */
  function watch(socket) {
    const url = new URL(socket.url);
    const isHere = url.host === location.host;
    if (isHere && url.pathname === TASKS) {
      socket.addEventListener("message", ({ data }) => {
        if (typeof data === "string" && data.includes('"TASK"')) tell({ id: (last += 1), type: "seen", path: TASKS, text: data });
      });
    } else if (isHere && UNSIGNED.test(url.pathname)) {
      void signature("socket", "GET", url, null, new Map()).catch(() => {});
    } else if (isHere && SOCKETS.includes(url.pathname)) {
      wait(socket, (data) => {
        const message = read(data);
        if (typeof message?.call !== "string") return null;
        const { call, payload, project, bearer } = message;
        const headers = new Map([["authorization", `Bearer ${bearer ?? ""}`]]);
        return signature("socket", "GET", url, JSON.stringify({ call, payload, project }), headers).then(() => data);
      });
    } else if (SHELL_PATH.test(url.pathname)) {
      wait(socket, (data) => {
        const message = read(data);
        if (typeof message?.call !== "string" || !message.call.endsWith(".shell.open")) return null;
        const question = { type: "prove", address: url.href, token: message.payload?.sessionIdentifier, piece: null };
        if (message.payload?.type !== "initialize") return null;
        return ask(question, PROOF_MAX_MS).then(({ proof }) => (typeof proof === "string" ? JSON.stringify({ ...message, signedIntent: proof }) : data));
      });
    }
  }

  const Native = window.WebSocket;
  window.WebSocket = new Proxy(Native, {
    construct(target, given, made) {
      const socket = Reflect.construct(target, given, made === window.WebSocket ? target : made);
      try {
        watch(socket);
      } catch {
        // A socket like any other.
      }
      return socket;
    },
  });
})();
