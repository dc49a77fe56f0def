// What UCloud changes of a value on its way to the provider (protocol, section 3): the signer makes the same changes first, so that what is shown and signed is
// what arrives. The crate has the same in keys/src/call/changes.rs.

import { isRecord } from "./jcs.js";

/** @typedef {"dropped" | "trimmed" | "lowered" | "names"} How */
/** @typedef {{at: string[], how: How}} Change `*` in `at` is every element, or every member */

/** What the table may name. */
export const HOWS = ["dropped", "trimmed", "lowered", "names"];

/** Two names that are one to UCloud. */
export class Collision extends Error {
  name = "Collision";
}

/**
 * A JSON pointer as its steps; none for the value itself.
 * @param {unknown} text
 * @returns {string[] | null} null if it is no pointer
 */
export function steps(text) {
  if (text === "") return [];
  if (typeof text !== "string" || !text.startsWith("/")) return null;
  const parts = text.slice(1).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts.includes("") ? null : parts;
}

/**
 * The value with all changes made; the one that came stays as it is.
 * @param {Change[]} changes
 * @param {unknown} value
 */
export function changed(changes, value) {
  return changes.reduce((value, { at, how }) => descend(at, how, value), value);
}

/** @param {string[]} at @param {How} how @param {unknown} value @returns {unknown} */
function descend(at, how, value) {
  const [step, ...rest] = at;
  if (step === undefined) return change(how, value);
  if (Array.isArray(value)) return step === "*" ? value.map((element) => descend(rest, how, element)) : value;
  if (!isRecord(value)) return value;
  const isDropped = how === "dropped" && rest.length === 0;
  return record(Object.entries(value).flatMap(([name, member]) => {
    if (name !== step && step !== "*") return [[name, member]];
    return isDropped ? [] : [[name, descend(rest, how, member)]];
  }));
}

/** @param {How} how @param {unknown} value @returns {unknown} */
function change(how, value) {
  if (typeof value === "string") {
    if (how === "trimmed") return trimmed(value);
    if (how === "lowered") return value.toLowerCase();
  }
  if (how !== "names" || Array.isArray(value) || !isRecord(value)) return value;
  const members = Object.entries(value).map(([name, member]) => /** @type {[string, unknown]} */ ([trimmed(name.toLowerCase()), member]));
  if (new Set(members.map(([name]) => name)).size < members.length) throw new Collision("two names that are the same to UCloud");
  return record(members);
}

/** Members by their own names, `__proto__` too. @param {[string, unknown][]} members */
function record(members) {
  /** @type {Record<string, unknown>} */
  const made = Object.create(null);
  for (const [name, member] of members) made[name] = member;
  return made;
}

// Unicode's White_Space, as Go and Rust have it: `trim` takes U+FEFF away as well, and leaves U+0085.
const SPACE = "[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const ENDS = new RegExp(`^${SPACE}+|${SPACE}+$`, "g");

/** @param {string} text */
function trimmed(text) {
  return text.replaceAll(ENDS, "");
}
