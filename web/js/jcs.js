// The canonical form of JSON (RFC 8785) for what a user signs: strings, booleans, null, numbers,
// and arrays and objects of these (protocol, section 3). Rejects every value that two parsers could
// read differently.

/** @typedef {null | boolean | number | string | Json[] | {[name: string]: Json}} Json */

/**
 * Maximum nesting of a value. A provider reads bodies 32 levels deep, of which the request around a
 * value takes some.
 */
export const DEPTH_MAX = 24;

/** A value without a canonical form. The message is for the developer of the page that sent it. */
export class NotCanonical extends Error {
  name = "NotCanonical";
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
export function isRecord(value) {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * The canonical text. Members that are `undefined` are omitted, as in `JSON.stringify`.
 * @param {unknown} value
 * @param {number} depthLeft
 * @returns {string}
 */
export function canonical(value, depthLeft = DEPTH_MAX) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") {
    if (!(Math.abs(value) <= Number.MAX_SAFE_INTEGER)) throw new NotCanonical(`${value} is not a number of which every reader reads the same`);
    return spelt(value);
  }
  if (typeof value === "string") return quoted(value);
  if (depthLeft === 0) throw new NotCanonical(`nested deeper than ${DEPTH_MAX} levels`);
  if (Array.isArray(value)) {
    return `[${Array.from(value, (element) => canonical(element, depthLeft - 1)).join(",")}]`;
  }
  if (!isRecord(value)) throw new NotCanonical("a value that JSON does not have");
  // The default order of `sort` is that of RFC 8785: by UTF-16 code unit.
  const names = Object.keys(value).filter((name) => value[name] !== undefined).sort();
  return `{${names.map((name) => `${quoted(name)}:${canonical(value[name], depthLeft - 1)}`).join(",")}}`;
}

/** RFC 8785 uses ECMAScript's number format. @param {number} value */
export function spelt(value) {
  return String(value);
}

/**
 * RFC 8785 uses the string format of `JSON.stringify`, but rejects lone surrogates.
 * @param {string} text
 */
function quoted(text) {
  if (/\p{Surrogate}/u.test(text)) throw new NotCanonical("a string with half of a surrogate pair");
  return JSON.stringify(text);
}
