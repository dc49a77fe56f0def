// What UCloud's page and the signer's window say to each other by `postMessage`, version 1. A page's message is read here, member by member;
// nothing else of it is used.

/** The version that stands in every message. */
export const VERSION = 1;

/** Most requests in one message, and most items in all of them: what a person can be asked about at once. */
export const REQUESTS_MAX = 50;
export const ITEMS_MAX = 1000;

/** Longest text of a message that is taken as a name, in characters. */
const NAME_MAX = 256;

/**
 * One call that a page wants signed. With `ask`, a person is asked even if nothing in it has to be asked for.
 * @typedef {{call: string, items: unknown[], project: string | null, ask: boolean}} Request
 */

/**
 * @typedef {object} Asked
 * @property {"sign" | "deposit"} type whether the intent is handed back, or left at the provider
 * @property {string} channel names the page's connection; it is said back
 * @property {number} id
 * @property {string} username
 * @property {Request[]} requests
 */
/** @typedef {{type: "cancel", channel: string, id: number} | {type: "close", channel: string}} Ended */

/** Codes of an error, as the SDK documents them. */
/** @typedef {"refused" | "unknown_user" | "no_key" | "key_expired" | "unknown_call" | "bad_parameters" | "provider"} Code */

/** Why a page gets no signature. The text is for whoever wrote the page. */
export class NotSigned extends Error {
  name = "NotSigned";

  /** @param {Code} code @param {string} why */
  constructor(code, why) {
    super(why);
    this.code = code;
  }
}

/**
 * Reads a message; null if it is none of ours.
 * @param {any} data
 * @returns {Asked | Ended | null}
 * @throws {NotSigned} if it is one of ours and malformed
 */
export function readMessage(data) {
  if (data?.countersign !== VERSION || typeof data.channel !== "string" || data.channel.length > NAME_MAX) return null;
  const { channel, id, type } = data;
  if (type === "close") return { type, channel };
  if (!Number.isSafeInteger(id)) return null;
  if (type === "cancel") return { type, channel, id };
  if (type !== "sign" && type !== "deposit") return null;
  const { username, requests } = data;
  if (typeof username !== "string" || username.length > NAME_MAX) throw new NotSigned("bad_parameters", "username is missing");
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
