// Signs the use of one-time tokens that UCloud's page redeems at a provider (protocol, section 7):
// downloads, uploads, terminals and interfaces of jobs. No person is asked, because the request for the token was
// shown. Signs only for addresses of connected providers, and says nothing of others.
//
// Decides whether a session is sealed (protocol, section 10). If this browser pinned the key of the
// user's instance, a token that is not of that instance is not used at all; a token that offers a seal
// is used sealed, or not at all, wherever the page can be served so.

import { encode } from "../../js/base64url.js";
import { wordsFor } from "../../js/call-descriptions.js";
import { sha256 } from "../../js/digest.js";
import { NotSigned } from "../../js/messages.js";
import { describe, keyOf } from "../../js/review.js";
import { CALL as INTERACTIVE, interfaceOf } from "../../sdk/interfaces.js";
import { claimsOf, isSignedBy } from "../../sdk/seal.js";
import { NotPlanned } from "./plan.js";

/** @typedef {import("./connected-provider.js").ConnectedProvider} ConnectedProvider */
/** @typedef {import("../../js/storage.js").KeyRecord} KeyRecord */
/** @typedef {{offset: number, size: number, total: number, digest: string}} Piece `digest` in base64 */

/**
 * @typedef {object} Ground
 * @property {() => Promise<ConnectedProvider[]>} providers
 * @property {() => Promise<KeyRecord[]>} keys
 * @property {{get: (name: string) => Promise<any>, set: (name: string, value: any) => Promise<void>}} session
 * @property {(why: unknown) => void} failed
 * @property {(entry: Omit<import("./record.js").Entry, "at">) => unknown} note
 */
/** One use of a token. @typedef {{address: unknown, token: unknown, piece: Piece | null, enc?: unknown}} Use */
/** @typedef {{intent: string, enc: string | null}} Proof `enc`: the encapsulated key that it signs */

/** The form of a token: a compact JWS. */
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const TOKEN_MAX = 8_192;

/** Where tokens are redeemed, below the provider's base path, and the calls that they are of. @type {{[place: string]: string[]}} */
const PLACES = {
  download: ["files.createDownload"], upload: ["files.createUpload"], "chunked/upload": ["files.createUpload"],
  websocket: ["jobs.openTerminalInFolder", INTERACTIVE], vnc: [INTERACTIVE],
};

/** Places that cannot be sealed, because the browser itself or a viewer gets the bytes, and what the user is told. @type {{[place: string]: string}} */
const NEVER_SEALED = { download: "whyUnsealedDownload", vnc: "whyUnsealedInterface" };

/** The form of an encapsulated key. */
const ENC = /^[A-Za-z0-9_-]{87}$/;

/** Answers with more tokens are left as they are. The page uploads five files at once. */
const TOKENS_MAX = 100;

/** Tokens of which a piece was taken, and how many are remembered. */
const OPENED = "opened";
const OPENED_MAX = 200;

export class Tokens {
  #ground;
  /** Ends with the last write. @type {Promise<unknown>} */
  #turn = Promise.resolve();

  /** @param {Ground} ground */
  constructor(ground) {
    this.#ground = ground;
  }

  /**
   * Puts a proof into each address of an answer with tokens. `sealed`: the sessions on sockets that are
   * sealed, by token. An answer with a token that is not of the user's own instance is kept from the
   * page.
   * @param {{text: string, encs: {[token: string]: unknown}}} given
   * @param {string} ucloud the page's origin
   * @returns {Promise<{text?: string, sealed?: {[token: string]: Proof}, answer?: {status: number, body: string}}>}
   */
  async withProofs({ text, encs }, ucloud) {
    const answer = JSON.parse(text);
    const responses = Array.isArray(answer?.responses) ? answer.responses.slice(0, TOKENS_MAX) : [];
    let isChanged = false;
    /** @type {{[token: string]: Proof}} */
    const sealed = {};
    try {
      await Promise.all(responses.map(async (/** @type {any} */ response) => {
        const use = useOf(response);
        if (use === null) return;
        const proof = await this.#proved({ ...use, enc: encs[use.token] ?? null }, ucloud, use.isShell);
        if (proof === null) return;
        if (proof.enc !== null) sealed[use.token] = proof;
        if (use.isShell) return;
        // Appended, because the page does not escape what else stands in the address.
        const address = `${use.address}&intent=${proof.intent}${proof.enc === null ? "" : `&enc=${proof.enc}`}`;
        if (use.isDesktop) response.session.url = address;
        else response.endpoint = address;
        isChanged = true;
      }));
    } catch (error) {
      this.#ground.failed(error);
      if (!(error instanceof ForeignToken)) return {};
      const why = "This one-time token is not of your own program at the centre. Countersign did not use it.";
      return { answer: { status: 502, body: JSON.stringify({ why }) } };
    }
    return { ...(isChanged ? { text: JSON.stringify(answer) } : {}), ...(Object.keys(sealed).length > 0 ? { sealed } : {}) };
  }

  /**
   * Signs one use of a token; null if it is not signed.
   * @param {Use} use
   * @param {string} ucloud
   * @returns {Promise<Proof | null>}
   */
  async prove(use, ucloud) {
    try {
      return await this.#proved(use, ucloud, false);
    } catch (error) {
      this.#ground.failed(error);
      return null;
    }
  }

  /**
   * The address that opens the web interface of a job, signed by its user. Its host is the one that
   * the user's own instance signed: UCloud's page, which had the token, could name another.
   * @param {unknown} token
   * @param {ConnectedProvider} provider
   */
  async openInterface(token, provider) {
    if (!isToken(token)) throw new ForeignToken();
    const { id, origin } = provider.site;
    const table = await provider.table();
    const { key, pinned } = await this.#keysOf(provider, token);
    if (pinned === null) throw new NotPlanned("whyUnpinnedInterface");
    const address = await interfaceOf(token, { kind: "web", origin, provider: id, pinned });
    if (address === null) throw new ForeignToken();
    const item = { token: await sha256(new TextEncoder().encode(token)), ...bytesOf(null) };
    address.searchParams.set("intent", await sign(provider, table, key, "session.open", item));
    this.#noted(id, token, "whyUnsealedInterface");
    return address.href;
  }

  /**
   * Whether the session of this token has to be sealed.
   * @param {{address: unknown, token: unknown}} use
   * @param {string} ucloud
   */
  async sealable({ address, token }, ucloud) {
    const at = placeOf(await this.#ground.providers(), address, ucloud);
    if (at === null || !isToken(token)) return false;
    try {
      return (await this.#sealOf(at, token)).why === null;
    } catch (error) {
      // A user without a key here signs nothing and seals nothing.
      if (error instanceof NotSigned) return false;
      throw error;
    }
  }

  /**
   * @param {Use} use
   * @param {string} ucloud
   * @param {boolean} ifSealed whether an unsealed use is signed later, with its first message
   * @returns {Promise<Proof | null>}
   */
  async #proved({ address, token, piece, enc = null }, ucloud, ifSealed) {
    const at = placeOf(await this.#ground.providers(), address, ucloud);
    if (at === null || !isToken(token)) return null;
    const { provider } = at;
    const table = await provider.table();
    const { key, why } = await this.#sealOf(at, token);
    const hash = await sha256(new TextEncoder().encode(token));
    await this.#turn;
    const isOpened = piece !== null && (await this.#opened()).includes(hash);
    const never = NEVER_SEALED[at.place];
    const sealing = why === null && typeof enc === "string" && ENC.test(enc) && never === undefined ? enc : null;
    if (why === null && sealing === null && never === undefined) throw new NotPlanned("whyNotSealed");
    if (ifSealed && sealing === null) return null;
    const item = { token: hash, ...bytesOf(piece), ...(sealing === null || isOpened ? {} : { enc: sealing }) };
    const intent = await sign(provider, table, key, isOpened ? "session.continue" : "session.open", item);
    if (!isOpened) this.#noted(provider.site.id, token, sealing !== null ? null : never ?? why);
    return { intent, enc: isOpened ? null : sealing };
  }

  /**
   * The user's key, and why a session with this token is not sealed; null if it is.
   * @param {{provider: ConnectedProvider, place: string}} at
   * @param {string} token
   * @returns {Promise<{key: KeyRecord, why: string | null}>}
   */
  async #sealOf({ provider, place }, token) {
    const { key, pinned } = await this.#keysOf(provider, token);
    if (pinned === null) return { key, why: "whyUnsealedPin" };
    const { aud, call, seal } = claimsOf(token);
    const isOurs = aud === provider.site.origin && PLACES[place]?.includes(call) === true && (await isSignedBy(token, pinned));
    if (!isOurs) throw new ForeignToken();
    return { key, why: seal === undefined ? "whyUnsealedOff" : null };
  }

  /** The user's own key, and that of the user's instance if it was pinned. @param {ConnectedProvider} provider @param {string} token */
  async #keysOf({ site, clock }, token) {
    const key = keyOf(await this.#ground.keys(), site.id, String(claimsOf(token).username), clock.now());
    return { key, pinned: key.instanceKey ?? null };
  }

  /** Records that a session begins, and whether it is sealed. @param {string} provider @param {string} token @param {string | null} why */
  #noted(provider, token, why) {
    const { call } = claimsOf(token);
    const what = why === null ? "sealed" : "unsealed";
    this.#ground.note({ what, call: wordsFor(String(call))?.one ?? "", subject: "", provider, ...(why === null ? {} : { why }) });
  }

  /**
   * Notes that the provider took a piece of this token: the next one continues.
   * @param {unknown} token
   */
  taken(token) {
    this.#turn = this.#turn.then(async () => {
      if (typeof token !== "string" || token.length > TOKEN_MAX) return;
      const hash = await sha256(new TextEncoder().encode(token));
      const others = (await this.#opened()).filter((one) => one !== hash);
      await this.#ground.session.set(OPENED, [hash, ...others].slice(0, OPENED_MAX));
    }).catch(() => {});
    return this.#turn;
  }

  /** @returns {Promise<string[]>} */
  async #opened() {
    return (await this.#ground.session.get(OPENED)) ?? [];
  }
}

/** The token is not of the user's own instance, or for something else. */
class ForeignToken extends NotPlanned {
  name = "ForeignToken";

  constructor() {
    super("whyForeignToken");
  }
}

/** @param {unknown} token @returns {token is string} */
function isToken(token) {
  return typeof token === "string" && token.length <= TOKEN_MAX && TOKEN.test(token);
}

/**
 * The token in an answer to a session's call; null if there is none that is used as it stands there. A
 * file in pieces has a proof for each piece.
 * @param {any} response
 * @returns {{address: string, token: string, piece: null, isShell: boolean, isDesktop: boolean} | null}
 */
function useOf(response) {
  const { endpoint, protocol, session, providerDomain, providerId } = response ?? {};
  if (session?.type === "shell") {
    const address = `${providerDomain}/ucloud/${providerId}/websocket`;
    return { address, token: String(session.sessionIdentifier), piece: null, isShell: true, isDesktop: false };
  }
  const isDesktop = session?.type === "vnc";
  const address = isDesktop ? session.url : endpoint;
  if (typeof address !== "string" || protocol === "CHUNKED" || !URL.canParse(address)) return null;
  const { searchParams } = new URL(address);
  const token = searchParams.get("token");
  return token === null || searchParams.has("intent") ? null : { address, token, piece: null, isShell: false, isDesktop };
}

/**
 * The provider of this UCloud to which an address belongs, and which place it is there.
 * @param {ConnectedProvider[]} providers
 * @param {unknown} address
 * @param {string} ucloud
 */
function placeOf(providers, address, ucloud) {
  if (typeof address !== "string" || !URL.canParse(address)) return null;
  const url = new URL(address);
  const origin = url.origin.replace(/^ws/, "http");
  for (const provider of providers) {
    const { site } = provider;
    const place = Object.keys(PLACES).find((one) => url.pathname === `/ucloud/${site.id}/${one}`);
    if (site.ucloud === ucloud && site.origin === origin && place !== undefined) return { provider, place };
  }
  return null;
}

/**
 * The intent of one use of a token.
 * @param {ConnectedProvider} provider
 * @param {import("../../js/table.js").Table} table
 * @param {KeyRecord} key
 * @param {string} call
 * @param {object} item
 */
function sign(provider, table, key, call, item) {
  return provider.sign(key, describe(table, { call, items: [item], project: null, ask: false }));
}

/** @param {Piece | null} piece */
function bytesOf(piece) {
  if (piece === null) return { offset: null, size: null, total: null, digest: null };
  const { offset, size, total, digest } = piece;
  if (![offset, size, total].every(Number.isSafeInteger)) throw new NotPlanned("whyParameters");
  return { offset, size, total, digest: encode(Uint8Array.from(atob(digest), (character) => character.charCodeAt(0))) };
}
