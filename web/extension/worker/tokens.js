// Signs the use of one-time tokens that UCloud's page redeems at a provider (protocol, section 7):
// downloads, uploads and terminals. No person is asked, because the request for the token was
// shown. Signs only for addresses of connected providers, and says nothing of others.
//
// Sealing (protocol, section 10) belongs here: the proof of a sealed session has one parameter more.

import { encode } from "../../js/base64url.js";
import { sha256 } from "../../js/digest.js";
import { describe, keyOf } from "../../js/review.js";
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
 */

/** The form of a token: a compact JWS. */
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const TOKEN_MAX = 8_192;

/** Where tokens are redeemed, below the provider's base path. */
const PLACES = ["download", "upload", "websocket", "chunked/upload"];

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
   * Puts a proof into each address of an answer to `createUpload` or `createDownload`.
   * @param {string} text the answer
   * @param {string} ucloud the page's origin
   * @returns {Promise<string | null>} null if nothing is changed
   */
  async withProofs(text, ucloud) {
    const answer = JSON.parse(text);
    const responses = Array.isArray(answer?.responses) ? answer.responses.slice(0, TOKENS_MAX) : [];
    let isChanged = false;
    await Promise.all(responses.map(async (/** @type {any} */ response) => {
      const { endpoint, protocol } = response ?? {};
      // A file in pieces has a proof for each piece.
      if (typeof endpoint !== "string" || protocol === "CHUNKED" || !URL.canParse(endpoint)) return;
      const url = new URL(endpoint);
      if (url.searchParams.has("intent")) return;
      const proof = await this.prove({ address: endpoint, token: url.searchParams.get("token"), piece: null }, ucloud);
      if (proof === null) return;
      // Appended, because the page does not escape what else stands in the address.
      response.endpoint = `${endpoint}&intent=${proof}`;
      isChanged = true;
    }));
    return isChanged ? JSON.stringify(answer) : null;
  }

  /**
   * Signs one use of a token.
   * @param {{address: unknown, token: unknown, piece: Piece | null}} use
   * @param {string} ucloud
   * @returns {Promise<string | null>}
   */
  async prove({ address, token, piece }, ucloud) {
    const provider = placeOf(await this.#ground.providers(), address, ucloud);
    if (provider === null || typeof token !== "string" || token.length > TOKEN_MAX || !TOKEN.test(token)) return null;
    try {
      const table = await provider.table();
      const hash = await sha256(new TextEncoder().encode(token));
      await this.#turn;
      const call = piece !== null && (await this.#opened()).includes(hash) ? "session.continue" : "session.open";
      const request = describe(table, { call, items: [{ token: hash, ...bytesOf(piece) }], project: null, ask: false });
      const key = keyOf(await this.#ground.keys(), provider.site.id, ownerOf(token), provider.clock.now());
      return await provider.sign(key, request);
    } catch (error) {
      this.#ground.failed(error);
      return null;
    }
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

/** The provider of this UCloud to which an address belongs. @param {ConnectedProvider[]} providers @param {unknown} address @param {string} ucloud */
function placeOf(providers, address, ucloud) {
  if (typeof address !== "string" || !URL.canParse(address)) return null;
  const url = new URL(address);
  const origin = url.origin.replace(/^ws/, "http");
  return providers.find(({ site }) => site.ucloud === ucloud && site.origin === origin
    && PLACES.some((place) => url.pathname === `/ucloud/${site.id}/${place}`)) ?? null;
}

/** The user of a token. The provider checks it: a wrong one makes a proof that is refused. @param {string} token */
function ownerOf(token) {
  const part = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(part), (character) => character.charCodeAt(0));
  return String(JSON.parse(new TextDecoder().decode(bytes))?.username);
}

/** @param {Piece | null} piece */
function bytesOf(piece) {
  if (piece === null) return { offset: null, size: null, total: null, digest: null };
  const { offset, size, total, digest } = piece;
  if (![offset, size, total].every(Number.isSafeInteger)) throw new NotPlanned("whyParameters");
  return { offset, size, total, digest: encode(Uint8Array.from(atob(digest), (character) => character.charCodeAt(0))) };
}
