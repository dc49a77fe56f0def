// How hook and bridge put a message and bytes into one event. Runs in both worlds of UCloud's page.
// Chromium copies objects from one world to the other; Firefox passes texts alone, so there the bytes
// are base64 within the text.

(() => {
  "use strict";
  // Firefox's own class of errors.
  const isTextOnly = "InternalError" in globalThis;

  /** Most bytes that become characters in one call. */
  const AT_ONCE = 32_768;

  /** @param {Uint8Array} bytes */
  function base64(bytes) {
    // What WebCrypto answers belongs to the page, where Firefox lets no content script cut it.
    const own = new Uint8Array(bytes.length);
    own.set(bytes);
    let text = "";
    for (let at = 0; at < own.length; at += AT_ONCE) text += String.fromCharCode(...own.subarray(at, at + AT_ONCE));
    return btoa(text);
  }

  /**
   * @param {object} message
   * @param {Uint8Array} [bytes]
   * @returns {unknown} the event's `detail`
   */
  function pack(message, bytes) {
    if (bytes === undefined) return JSON.stringify(message);
    return isTextOnly ? JSON.stringify({ ...message, bytes: base64(bytes) }) : { text: JSON.stringify(message), bytes };
  }

  /**
   * @param {any} detail
   * @param {number} lengthMax of the text, in characters
   * @returns {{message: any, bytes: Uint8Array<ArrayBuffer> | null}}
   */
  function unpack(detail, lengthMax) {
    const text = typeof detail === "string" ? detail : detail?.text;
    if (typeof text !== "string" || (text.length > lengthMax && !isTextOnly)) throw new SyntaxError("not a message");
    const { bytes: encoded, ...message } = JSON.parse(text) ?? {};
    if (text.length - (encoded?.length ?? 0) > lengthMax) throw new SyntaxError("too long");
    if (typeof encoded === "string") return { message, bytes: Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0)) };
    return { message, bytes: typeof detail === "object" && detail.bytes instanceof Uint8Array ? detail.bytes : null };
  }

  Object.assign(globalThis, { countersignBytes: { pack, unpack } });
})();
