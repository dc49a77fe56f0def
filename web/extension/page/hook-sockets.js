// The hook's last file: holds messages on sockets of UCloud's page that need a signature, and finds
// those of sealed sessions. Sockets stay the browser's own objects, whose `send` waits: code that looks
// closely at a socket (noVNC) finds what it expects.

(() => {
  "use strict";
  const { countersignHook } = /** @type {any} */ (globalThis);
  delete /** @type {any} */ (globalThis).countersignHook;
  if (countersignHook === undefined) return;
  /** @type {{ask: (question: object, limit: number) => Promise<any>, tell: (message: object) => void, next: () => number,
   *   signature: (kind: string, method: string, url: URL, body: string | null, headers: Map<string, string>) => Promise<any>,
   *   sealed: Map<string, {intent: string, enc: string}>, seal: (socket: WebSocket, token: string, isText: boolean) => void}} */
  const { ask, tell, signature, next, sealed, seal } = countersignHook;

  /** Sockets to UCloud whose calls are held. */
  const SOCKETS = ["/api/files", "/api/jobs"];
  /** A socket to UCloud whose messages name tasks and their providers. */
  const TASKS = "/api/tasks";
  /** Sockets of applications whose calls nobody can sign: the user is told. */
  const UNSIGNED = /^\/api\/hpc\/apps\/ucx\//;
  const SHELL_PATH = /^\/ucloud\/[^/]+\/websocket$/;
  const UPLOAD_PATH = /^\/ucloud\/[^/]+\/upload$/;

  /** How long the first message of a terminal waits for its proof, in milliseconds. */
  const PROOF_MAX_MS = 5_000;

  const socketSend = WebSocket.prototype.send;

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
        if (typeof data === "string" && data.includes('"TASK"')) tell({ id: next(), type: "seen", path: TASKS, text: data });
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

  /**
   * The token of a socket whose session is sealed, with the address of the sealed session. A token
   * opens one session, so it is forgotten.
   * @param {unknown} address
   */
  function sessionOf(address) {
    const written = String(address);
    if (sealed.size === 0 || !URL.canParse(written, document.baseURI)) return null;
    const { pathname, searchParams } = new URL(written, document.baseURI);
    const isText = SHELL_PATH.test(pathname);
    if (!isText && !UPLOAD_PATH.test(pathname)) return null;
    const token = searchParams.get(isText ? "session" : "token") ?? "";
    const use = sealed.get(token);
    if (use === undefined) return null;
    sealed.delete(token);
    // Appended, because the page does not escape what else stands in the address.
    return { token, isText, address: searchParams.has("enc") ? written : `${written}&intent=${use.intent}&enc=${use.enc}` };
  }

  const Native = window.WebSocket;
  window.WebSocket = new Proxy(Native, {
    construct(target, given, made) {
      const session = sessionOf(given[0]);
      const arguments_ = session === null ? given : [session.address, ...given.slice(1)];
      const socket = Reflect.construct(target, arguments_, made === window.WebSocket ? target : made);
      // Not within the `try`: such a socket must not carry anything in the clear.
      if (session !== null) {
        seal(socket, session.token, session.isText);
        return socket;
      }
      try {
        watch(socket);
      } catch {
        // A socket like any other.
      }
      return socket;
    },
  });
})();
