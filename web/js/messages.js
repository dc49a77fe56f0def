// Messages between UCloud's page and the signer's window (`postMessage`), version 1. Reads a page's
// message member by member and ignores everything else in it.

/** The version in every message. */
export const VERSION = 1;

/**
 * Maximum number of requests in one message, and of items in all of them: as much as a person can
 * review at once.
 */
export const REQUESTS_MAX = 50;
export const ITEMS_MAX = 1000;

/** Longest text of a message that is accepted as a name, in characters. */
const NAME_MAX = 256;

/**
 * One call that a page wants signed. With `ask`, a person is asked even if the rules do not require
 * it.
 * @typedef {{call: string, items: unknown[], project: string | null, ask: boolean}} Request
 */

/**
 * @typedef {object} Asked
 * @property {"sign" | "deposit"} type whether the intent is returned, or deposited at the provider
 * @property {string} channel names the page's connection; answers repeat it
 * @property {number} id
 * @property {string} username
 * @property {Request[]} requests
 */
/**
 * A question for the key with which the user's instance signs one-time tokens.
 * @typedef {{type: "instance", channel: string, id: number, username: string}} InstanceAsked
 */
/**
 * @typedef {{type: "cancel", channel: string, id: number} | {type: "close", channel: string}} Ended
 */

/** Error codes, as documented in the SDK. */
/**
 * @typedef {"refused" | "unknown_user" | "no_key" | "key_expired" | "unknown_call" |
 *   "bad_parameters" | "provider"} Code
 */

/** Why a page gets no signature. The text is for the developer of the page. */
export class NotSigned extends Error {
  name = "NotSigned";

  /** @param {Code} code @param {string} why */
  constructor(code, why) {
    super(why);
    this.code = code;
  }
}

/**
 * Reads a message; null if it is not for the signer.
 * @param {any} data
 * @returns {Asked | InstanceAsked | Ended | null}
 * @throws {NotSigned} if it is for the signer and malformed
 */
export function readMessage(data) {
  if (data?.countersign !== VERSION || typeof data.channel !== "string" || data.channel.length > NAME_MAX) return null;
  const { channel, id, type } = data;
  if (type === "close") return { type, channel };
  if (!Number.isSafeInteger(id)) return null;
  if (type === "cancel") return { type, channel, id };
  if (type !== "sign" && type !== "deposit" && type !== "instance") return null;
  const { username, requests } = data;
  if (typeof username !== "string" || username.length > NAME_MAX) throw new NotSigned("bad_parameters", "username is missing");
  if (type === "instance") return { type, channel, id, username };
  if (!Array.isArray(requests) || requests.length < 1 || requests.length > REQUESTS_MAX) {
    throw new NotSigned("bad_parameters", `1 to ${REQUESTS_MAX} requests at once`);
  }
  const read = requests.map(readRequest);
  const items = read.reduce((sum, request) => sum + request.items.length, 0);
  if (items > ITEMS_MAX) throw new NotSigned("bad_parameters", `at most ${ITEMS_MAX} items at once`);
  return { type, channel, id, username, requests: read };
}

/** @param {any} request @returns {Request} */
function readRequest(request) {
  const call = request?.call;
  if (typeof call !== "string" || call.length > NAME_MAX) throw new NotSigned("bad_parameters", "a request names a call");
  if (!Array.isArray(request.items) || request.items.length < 1) throw new NotSigned("bad_parameters", `${call}: no items`);
  const project = request.project ?? null;
  if (project !== null && typeof project !== "string") throw new NotSigned("bad_parameters", `${call}: project is a text or null`);
  return { call, items: [...request.items], project, ask: request.ask === true };
}
