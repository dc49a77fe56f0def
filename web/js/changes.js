// The changes that UCloud makes to a value on its way to the provider (protocol, section 3). The
// signer makes the same changes first, so that the value it shows and signs is the value that
// arrives. The Rust implementation is keys/src/call/changes.rs.

import { isRecord } from "./jcs.js";

/** @typedef {"dropped" | "trimmed" | "lowered" | "names"} How */
/** @typedef {{at: string[], how: How}} Change `*` in `at` is every element, or every member */

/** The changes that the table may name. */
export const HOWS = ["dropped", "trimmed", "lowered", "names"];

/** Two member names that UCloud treats as the same. */
export class Collision extends Error {
  name = "Collision";
}

/**
 * Splits a JSON pointer into its steps; an empty list means the value itself.
 * @param {unknown} text
 * @returns {string[] | null} null if the text is not a JSON pointer
 */
export function steps(text) {
  if (text === "") return [];
  if (typeof text !== "string" || !text.startsWith("/")) return null;
  const parts = text.slice(1).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return parts.includes("") ? null : parts;
}

/**
 * A copy of the value with all changes made.
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

/**
 * An object with these members as own properties, `__proto__` included.
 * @param {[string, unknown][]} members
 */
function record(members) {
  /** @type {Record<string, unknown>} */
  const made = Object.create(null);
  for (const [name, member] of members) made[name] = member;
  return made;
}

// Unicode's White_Space, as in Go and Rust. JavaScript's `trim` also removes U+FEFF, and keeps
// U+0085.
const SPACE = "[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const ENDS = new RegExp(`^${SPACE}+|${SPACE}+$`, "g");

/** @param {string} text */
function trimmed(text) {
  return text.replaceAll(ENDS, "");
}
