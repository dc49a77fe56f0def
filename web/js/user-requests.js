// The user side of the table's rows, as the provider publishes it: the user's request to UCloud, and
// how the bound parameters of the provider's requests are made of it (protocol, section 4). Read
// strictly: what this code does not know, it cannot sign.

import { steps } from "./changes.js";

/** @typedef {"provider" | "path" | "drive" | "job" | "resource" | "task" | "token"} Subject */
/** @typedef {{by: Subject, at: string[]}} Found what a value of an item names */
/**
 * @typedef {{kind: "provider" | "item", found: Found} | {kind: "every"}} Split
 *   one provider request for each provider, for each item, or to every connected provider
 */
/** @typedef {{kind: "acting"} | {kind: "none"} | {kind: "owner", found: Found}} Project */
/** @typedef {{browse: string, each: string[], remove: string[] | null}} Listed */
/** @typedef {{name: string, from: string[], keeps: string[][], list: Listed | null}} Take */
/** @typedef {{place: "items" | "body" | "query" | "payload", split: Split, project: Project, takes: Take[]}} Signed */
/** @typedef {"transfer" | "sharelink" | "ucx"} Unsignable */
/** @typedef {{kind: "signed", signed: Signed} | {kind: "core"} | {kind: "unsignable", why: Unsignable}} Effect */
/**
 * @typedef {object} UserRequest
 * @property {string} method
 * @property {string} path at UCloud
 * @property {"http" | "websocket"} transport
 * @property {string | null} message the `call` of a message on a WebSocket
 * @property {Effect} effect
 */

const SUBJECTS = ["provider", "path", "drive", "job", "resource", "task", "token"];
const PLACES = ["items", "body", "query", "payload"];
const METHODS = ["GET", "POST", "DELETE"];
const UNSIGNABLE = ["transfer", "sharelink", "ucx"];

class Unknown extends Error {}

/**
 * @param {unknown} json
 * @param {string[]} bound the names of the row's bound parameters
 * @returns {UserRequest[] | null} null if this code does not know all of it
 */
export function readUserRequests(json, bound) {
  try {
    return array(json).map((side) => readOne(side, bound));
  } catch (error) {
    if (error instanceof Unknown) return null;
    throw error;
  }
}

/** @param {unknown} json @param {string[]} bound @returns {UserRequest} */
function readOne(json, bound) {
  const { method, path, transport = "http", message = null, effect } = record(json, ["method", "path", "transport", "message", "effect"]);
  if (message !== null) text(message);
  return /** @type {UserRequest} */ ({
    method: oneOf(method, METHODS), path: pathOf(path), transport: oneOf(transport, ["http", "websocket"]), message, effect: readEffect(effect, bound),
  });
}

/** @param {unknown} json @param {string[]} bound @returns {Effect} */
function readEffect(json, bound) {
  if (json === "core") return { kind: "core" };
  const [kind, value] = variant(json);
  if (kind === "unsignable") return { kind, why: /** @type {Unsignable} */ (oneOf(value, UNSIGNABLE)) };
  if (kind !== "signed") throw new Unknown();
  const { place, split, project, takes } = record(value, ["place", "split", "project", "takes"]);
  return {
    kind,
    signed: {
      place: /** @type {Signed["place"]} */ (oneOf(place, PLACES)),
      split: readSplit(split),
      project: readProject(project),
      takes: array(takes).map((take) => readTake(take, bound)),
    },
  };
}

/** @param {unknown} json @returns {Split} */
function readSplit(json) {
  if (json === "every") return { kind: json };
  const [kind, value] = variant(json);
  if (kind !== "provider" && kind !== "item") throw new Unknown();
  return { kind, found: readFound(value) };
}

/** @param {unknown} json @returns {Project} */
function readProject(json) {
  if (json === "acting" || json === "none") return { kind: json };
  const [kind, value] = variant(json);
  if (kind !== "owner") throw new Unknown();
  return { kind, found: readFound(value) };
}

/** @param {unknown} json @returns {Found} */
function readFound(json) {
  const { by, at } = record(json, ["by", "at"]);
  return { by: /** @type {Subject} */ (oneOf(by, SUBJECTS)), at: pointer(at) };
}

/** @param {unknown} json @param {string[]} bound @returns {Take} */
function readTake(json, bound) {
  const { name, from, keeps = [], list = null } = record(json, ["name", "from", "keeps", "list"]);
  return { name: oneOf(name, bound), from: pointer(from), keeps: array(keeps).map(pointer), list: list === null ? null : readList(list) };
}

/** @param {unknown} json @returns {Listed} */
function readList(json) {
  const { browse, each, change } = record(json, ["browse", "each", "change"]);
  const read = { browse: pathOf(browse), each: pointer(each) };
  if (change === "add") return { ...read, remove: null };
  const [kind, value] = variant(change);
  if (kind !== "remove") throw new Unknown();
  return { ...read, remove: pointer(value) };
}

/** @param {unknown} value @returns {unknown[]} */
function array(value) {
  if (!Array.isArray(value)) throw new Unknown();
  return value;
}

/** An object with no other members than these. @param {unknown} value @param {string[]} names @returns {Record<string, unknown>} */
function record(value, names) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Unknown();
  if (Object.keys(value).some((name) => !names.includes(name))) throw new Unknown();
  return /** @type {Record<string, unknown>} */ (value);
}

/** An object with one member: its name and its value. @param {unknown} value @returns {[string, unknown]} */
function variant(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Unknown();
  const [member, ...more] = Object.entries(value);
  if (member === undefined || more.length > 0) throw new Unknown();
  return member;
}

/** @param {unknown} value @returns {string} */
function text(value) {
  if (typeof value !== "string") throw new Unknown();
  return value;
}

/** @param {unknown} value @param {string[]} known @returns {string} */
function oneOf(value, known) {
  if (!known.includes(text(value))) throw new Unknown();
  return text(value);
}

/** @param {unknown} value @returns {string} */
function pathOf(value) {
  if (!text(value).startsWith("/api/")) throw new Unknown();
  return text(value);
}

/** @param {unknown} value @returns {string[]} */
function pointer(value) {
  const read = steps(value);
  if (read === null) throw new Unknown();
  return read;
}
