// Use of one-time tokens by their user. UCloud has seen the token, so the token alone authorises
// nothing: the user also signs an intent that binds the token and the bytes. Of UCloud's answer,
// only the token is used; the address is that of the signer's own provider.

import { Unopened, agree, claimsOf, isSignedBy } from "./seal.js";

/** @typedef {import("./index.js").Signer} Signer */
/** @typedef {import("./index.js").TransferErrorCode} TransferErrorCode */

/** The calls of the proof: the one that opens a session, and the one of later requests. */
export const OPEN = "session.open";
export const CONTINUE = "session.continue";

/** The form of a token: a compact JWS. */
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

export class TransferError extends Error {
  name = "TransferError";

  /**
   * @param {TransferErrorCode} code
   * @param {string} message
   * @param {{status?: number, errorCode?: string}} [answer] the provider's
   */
  constructor(code, message, { status, errorCode } = {}) {
    super(message);
    this.code = code;
    this.status = status ?? null;
    this.errorCode = errorCode ?? null;
  }
}

/**
 * A piece of a file.
 * @typedef {{offset: number, bytes: Uint8Array<ArrayBuffer>, total: number, digest:
 *   Uint8Array<ArrayBuffer>}} Piece
 */

/**
 * Has the use of a token signed. No person is asked, because the request for the token was shown.
 * @param {Signer} signer
 * @param {string} call
 * @param {string} token
 * @param {string | null} project
 * @param {Piece | null} piece the piece, for an upload
 * @param {string | null} enc the encapsulated key, if the session is sealed
 */
export async function prove(signer, call, token, project, piece = null, enc = null) {
  const params = {
    token: base64url(await sha256(new TextEncoder().encode(token))),
    offset: piece?.offset ?? null,
    size: piece?.bytes.length ?? null,
    total: piece?.total ?? null,
    digest: piece === null ? null : base64url(piece.digest),
    ...(enc === null ? {} : { enc }),
  };
  const { jws } = await signer.sign({ call, params, project });
  return jws;
}

/**
 * The address of a session at the signer's provider. If UCloud's answer names a different address,
 * nothing is sent to either.
 * @param {Signer} signer
 * @param {string} below such as `download`
 * @param {string} said the address in UCloud's answer
 */
export function addressOf(signer, below, said) {
  const isSocket = below === "upload" || below === "websocket";
  const address = new URL(`${signer.origin}/ucloud/${signer.provider}/${below}`);
  if (isSocket) address.protocol = address.protocol.replace("http", "ws");
  const named = URL.canParse(said) ? new URL(said) : null;
  if (named === null || named.origin !== address.origin || (below !== "websocket" && named.pathname !== address.pathname)) {
    throw new TransferError("elsewhere", `this is not an address of ${signer.origin} for it: ${said}`);
  }
  return address;
}

/**
 * Agrees on the keys of a session with the user's instance; null if the session cannot be sealed.
 * Checks first, with the instance's key that this browser pinned, that the instance made the token.
 * @param {Signer} signer
 * @param {string} token
 * @param {string | string[]} call the call, or one of the calls, for which the token was asked
 * @param {"required" | "preferred"} need
 * @returns {Promise<import("./seal.js").SealingKey | null>}
 */
export async function sealing(signer, token, call, need) {
  const pinned = (await signer.instanceKey?.()) ?? null;
  if (pinned === null) return unsealed(need, "this browser has pinned no key of your instance: connect again");
  if (!(await isSignedBy(token, pinned))) throw new TransferError("tampered", "this token is not of your own instance");
  try {
    const claims = claimsOf(token);
    if (claims.aud !== signer.origin || ![call].flat().includes(claims.call)) throw new Unopened("the token is for something else");
    return (await agree(token)) ?? unsealed(need, "this provider offers no seals");
  } catch (error) {
    throw error instanceof TransferError ? error : new TransferError("tampered", String(error));
  }
}

/** @param {"required" | "preferred"} need @param {string} why */
function unsealed(need, why) {
  if (need === "required") throw new TransferError("unsealed", why);
  return null;
}

/** A token that can stand in an address without encoding. @param {unknown} token */
export function tokenOf(token) {
  if (typeof token === "string" && TOKEN.test(token)) return token;
  throw new TransferError("elsewhere", "there is no token of the provider's in this answer");
}

/** The token in an address. @param {string} address */
export function tokenIn(address) {
  return tokenOf(URL.canParse(address) ? new URL(address).searchParams.get("token") : null);
}

/**
 * The address of a download without a seal, signed by its user. Open it immediately: it is valid for
 * half a minute and for one use.
 * @param {Signer} signer
 * @param {import("./index.js").DownloadResponse} response
 * @param {{project?: string | null}} [options]
 */
export async function openDownload(signer, { endpoint }, { project = null } = {}) {
  const address = addressOf(signer, "download", endpoint);
  const token = tokenIn(endpoint);
  address.searchParams.set("token", token);
  address.searchParams.set("intent", await prove(signer, OPEN, token, project));
  return address.href;
}

/** Converts the provider's refusal into an error. @param {Response} answer */
export async function refusalOf(answer) {
  const { why, errorCode } = await answer.json().catch(() => ({}));
  const message = typeof why === "string" && why !== "" ? why : `the provider answered ${answer.status}`;
  return new TransferError(codeOf(answer.status), message, { status: answer.status, errorCode: String(errorCode ?? "") });
}

/** @param {number} status @returns {TransferErrorCode} */
function codeOf(status) {
  if (status === 404 || status === 449) return "over";
  if (status === 409) return "conflict";
  return status >= 500 ? "unavailable" : "refused";
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** @param {Uint8Array} bytes */
export function base64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
