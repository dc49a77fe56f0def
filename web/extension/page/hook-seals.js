// The hook's fourth file: sockets of a sealed session. The page says and hears its own messages, and the
// wire has records, which the bridge seals and opens where the page cannot read the keys. Frames that do
// not open never reach the page: the socket is closed at the first.

(() => {
  "use strict";
  const { countersignHook } = /** @type {any} */ (globalThis);
  if (countersignHook === undefined) return;
  /** @type {{ask: (question: object, limit: number, bytes?: Uint8Array) => Promise<any>}} */
  const { ask } = countersignHook;

  /** How long a message may take to be sealed, in milliseconds. */
  const SEALED_MAX_MS = 30_000;
  /** The kind of a record: a message, and the end of a direction. */
  const MESSAGE = 2;
  const END = 3;

  const { send: nativeSend, close: nativeClose, addEventListener: listen } = WebSocket.prototype;
  const bufferedAmount = /** @type {() => number} */ (Object.getOwnPropertyDescriptor(WebSocket.prototype, "bufferedAmount")?.get);

  /** A copy of what the page sends: it may change it afterwards. @param {any} data @returns {Uint8Array | Promise<Uint8Array>} */
  function copied(data) {
    if (typeof data === "string") return new TextEncoder().encode(data);
    if (data instanceof ArrayBuffer) return new Uint8Array(data.slice(0));
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    return new Response(data).arrayBuffer().then((buffer) => new Uint8Array(buffer));
  }

  /** @param {Uint8Array} frames records, each after its length */
  function records(frames) {
    const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
    const all = [];
    for (let at = 0; at < frames.length;) {
      const length = view.getUint32(at);
      all.push(frames.slice(at + 4, at + 4 + length));
      at += 4 + length;
    }
    return all;
  }

  /**
   * @param {WebSocket} socket
   * @param {string} token
   * @param {boolean} isText whether the page's messages are texts
   */
  function seal(socket, token, isText) {
    let outgoing = Promise.resolve();
    let incoming = Promise.resolve();
    /** Bytes of the page that are not sealed yet. */
    let waiting = 0;
    let isBroken = false;
    /** The instance's reason for the end, once it has said so. @type {string | null} */
    let ended = null;

    const breakOff = () => {
      isBroken = true;
      nativeClose.call(socket);
    };
    /** @param {any} data */
    const send = (data) => {
      // As the browser does.
      if (socket.readyState === WebSocket.CONNECTING) return nativeSend.call(socket, data);
      const bytes = copied(data);
      const size = "length" in bytes ? bytes.length : 0;
      waiting += size;
      outgoing = outgoing.then(async () => {
        if (isBroken) return;
        const answer = await ask({ type: "seal", token }, SEALED_MAX_MS, await bytes);
        if (!(answer.bytes instanceof Uint8Array)) return breakOff();
        for (const record of records(answer.bytes)) {
          if (socket.readyState === WebSocket.OPEN) nativeSend.call(socket, record);
        }
      }).catch(breakOff).finally(() => (waiting -= size));
    };
    /** Says what waits, then closes. @param {any[]} given */
    const close = (...given) => {
      outgoing = outgoing.then(() => /** @type {any} */ (nativeClose).apply(socket, given)).catch(() => nativeClose.call(socket));
    };
    Object.defineProperties(socket, {
      send: { value: send, configurable: true, writable: true },
      close: { value: close, configurable: true, writable: true },
      bufferedAmount: { get: () => bufferedAmount.call(socket) + waiting, configurable: true },
    });

    listen.call(socket, "message", (/** @type {any} */ event) => {
      if (!event.isTrusted) return;
      event.stopImmediatePropagation();
      incoming = incoming.then(async () => {
        if (isBroken) return;
        if (typeof event.data === "string") return breakOff();
        const record = new Uint8Array(event.data instanceof ArrayBuffer ? event.data : await event.data.arrayBuffer());
        const { kind, bytes } = await ask({ type: "open", token }, SEALED_MAX_MS, record);
        if (typeof kind !== "number") return breakOff();
        if (kind === END) ended = new TextDecoder().decode(bytes);
        if (kind !== MESSAGE) return;
        const data = isText ? new TextDecoder().decode(bytes) : socket.binaryType === "blob" ? new Blob([bytes]) : bytes.buffer;
        socket.dispatchEvent(new MessageEvent("message", { data, origin: new URL(socket.url).origin }));
      }).catch(breakOff);
    });
    listen.call(socket, "close", (/** @type {any} */ event) => {
      if (!event.isTrusted) return;
      event.stopImmediatePropagation();
      const { code, wasClean } = event;
      // A gateway's reason is not the instance's.
      void incoming.then(() => socket.dispatchEvent(new CloseEvent("close", { code, wasClean: wasClean && ended !== null, reason: ended ?? "" })));
    });
  }

  Object.assign(countersignHook, { seal });
})();
