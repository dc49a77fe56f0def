// Sealed sessions of UCloud's page (protocol, section 10), in the content script's own world: the keys
// are where the page cannot read them, and live as long as its document. Seals and opens what the page
// says and hears in a session whose token the worker has found to be of the user's own instance.
// Decides nothing else, and never says what a key is.

(() => {
  "use strict";
  /** @type {typeof import("../../sdk/seal.js")} */
  const { agree, Frames, KIND } = /** @type {any} */ (globalThis).countersignSeal;

  /**
   * A session by its token. `line`: what seals and opens on its socket. `isAnswer`: recognises the
   * instance's answer to the last piece.
   * @typedef {object} Session
   * @property {import("../../sdk/seal.js").SealingKey} key
   * @property {Promise<{sealer: import("../../sdk/seal.js").Sealer, opener: import("../../sdk/seal.js").Opener}> | null} line
   * @property {boolean} isBegun
   * @property {boolean | null} isSealed whether the worker lets it be sealed; null before it was asked
   * @property {((taken: unknown) => Promise<boolean>) | null} isAnswer
   */

  /** Sessions of a document at most: the page uploads five files at once. The oldest is forgotten. */
  const SESSIONS_MAX = 100;
  /** @type {Map<string, Session>} */
  const sessions = new Map();

  const NOTHING = new Uint8Array(0);

  /** The session of a token that offers a seal; null for another. @param {unknown} token @returns {Promise<Session | null>} */
  async function sessionOf(token) {
    if (typeof token !== "string") return null;
    const known = sessions.get(token);
    if (known !== undefined) return known;
    const key = await agree(token).catch(() => null);
    if (key === null) return null;
    const session = { key, line: null, isBegun: false, isSealed: null, isAnswer: null };
    sessions.set(token, session);
    for (const oldest of [...sessions.keys()].slice(0, -SESSIONS_MAX)) sessions.delete(oldest);
    return session;
  }

  /**
   * The encapsulated keys for the tokens of an answer, of sessions on sockets.
   * @param {unknown} text of the answer
   * @returns {Promise<{[token: string]: string}>}
   */
  async function offers(text) {
    const { responses } = JSON.parse(String(text)) ?? {};
    const tokens = (Array.isArray(responses) ? responses : []).slice(0, SESSIONS_MAX).flatMap((/** @type {any} */ response) => {
      const { session, endpoint, protocol } = response ?? {};
      if (session?.type === "shell") return [session.sessionIdentifier];
      return typeof endpoint === "string" && protocol !== "CHUNKED" && URL.canParse(endpoint) ? [new URL(endpoint).searchParams.get("token")] : [];
    });
    const offered = await Promise.all(tokens.map(async (token) => [token, (await sessionOf(token))?.key.enc]));
    return Object.fromEntries(offered.filter(([, enc]) => enc !== undefined));
  }

  /** Opens the sessions that the worker's intents seal. @param {{[token: string]: {intent: string}}} sealed */
  function opened(sealed) {
    for (const [token, { intent }] of Object.entries(sealed)) {
      const session = sessions.get(token);
      if (session !== undefined && session.line === null) session.line = session.key.session(intent);
    }
  }

  /** The records of a message, with their lengths. @param {string} token @param {Uint8Array<ArrayBuffer>} bytes */
  async function seal(token, bytes) {
    const session = sessions.get(token);
    if (session === undefined || session.line === null) return null;
    const { sealer } = await session.line;
    const first = session.isBegun ? [] : [sealer.seal(KIND.FIRST, NOTHING)];
    session.isBegun = true;
    const records = await Promise.all([...first, sealer.message(bytes)]);
    return framed(records.flat());
  }

  /** What a record says, if it is the next one of the instance's. @param {string} token @param {Uint8Array<ArrayBuffer>} record */
  async function open(token, record) {
    const session = sessions.get(token);
    if (session === undefined || session.line === null) return null;
    const { opener } = await session.line;
    return opener.open(record).then((message) => message ?? { kind: KIND.FIRST, bytes: NOTHING }, () => null);
  }

  /** Seals a piece of an upload. @param {Session} session @param {{offset: number, total: number}} piece @param {Uint8Array<ArrayBuffer>} bytes */
  async function piece(session, { offset, total }, bytes) {
    if (![offset, total].every((number) => Number.isSafeInteger(number) && number >= 0)) return null;
    const { body, isAnswer } = await session.key.piece(offset, total, bytes);
    session.isAnswer = isAnswer;
    return body;
  }

  /** Whether the instance has the last piece, by its own word. @param {string} token @param {unknown} text the answer */
  async function isTaken(token, text) {
    try {
      return (await sessions.get(token)?.isAnswer?.(JSON.parse(String(text)).taken)) === true;
    } catch {
      return false;
    }
  }

  /** @param {Uint8Array[]} records @returns {Uint8Array<ArrayBuffer>} */
  function framed(records) {
    const whole = new Uint8Array(records.reduce((sum, { length }) => sum + 4 + length, 0));
    let at = 0;
    for (const record of records) {
      new DataView(whole.buffer).setUint32(at, record.length);
      whole.set(record, at + 4);
      at += 4 + record.length;
    }
    return whole;
  }

  Object.assign(globalThis, { countersignSealed: { Frames, KIND, isTaken, offers, open, opened, piece, seal, sessionOf } });
})();
