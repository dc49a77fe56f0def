// The digest that a user signs for an item: SHA-256 over its bound parameters in canonical form, as
// the row of the call names them (protocol, section 3). Rejects a parameter that the row does not
// have, so that the signer signs exactly what it shows.

import { encode } from "./base64url.js";
import { Collision, changed } from "./changes.js";
import { NotCanonical, canonical, isRecord } from "./jcs.js";

/** @typedef {import("./jcs.js").Json} Json */
/** @typedef {import("./table.js").Row} Row */
/** @typedef {import("./table.js").Kind} Kind */

/** The parameters do not fit the call. */
export class BadParameters extends Error {
  name = "BadParameters";
}

/**
 * The object that is digested: every bound parameter, null if absent. An optional one is left out.
 * @param {Row} row
 * @param {unknown} item
 * @returns {{[name: string]: Json}}
 */
export function projection(row, item) {
  if (!isRecord(item)) throw new BadParameters(`${row.call}: an item is an object of parameters`);
  const unknown = Object.keys(item).find((name) => !row.bound.some((bound) => bound.name === name));
  if (unknown !== undefined) throw new BadParameters(`${row.call} has no parameter ${JSON.stringify(unknown)}`);
  /** @type {{[name: string]: Json}} */
  const projected = Object.create(null);
  for (const { name, kind, changes, isOptional } of row.bound) {
    const value = Object.hasOwn(item, name) ? item[name] : null;
    if (isOptional && (value ?? null) === null) continue;
    projected[name] = taken(kind, asItArrives(changes, value ?? null, `${row.call}: ${name}`), `${row.call}: ${name}`);
  }
  return projected;
}

/**
 * The canonical text of an item's bound parameters.
 * @param {Row} row
 * @param {unknown} item
 */
export function canonicalItem(row, item) {
  const projected = projection(row, item);
  try {
    return canonical(projected);
  } catch (error) {
    if (error instanceof NotCanonical) throw new BadParameters(`${row.call}: ${error.message}`);
    throw error;
  }
}

/**
 * The digest that is signed for an item.
 * @param {Row} row
 * @param {unknown} item
 */
export async function digest(row, item) {
  return sha256(new TextEncoder().encode(canonicalItem(row, item)));
}

/** base64url of SHA-256. @param {BufferSource} bytes */
export async function sha256(bytes) {
  return encode(await crypto.subtle.digest("SHA-256", bytes));
}

/** @param {import("./changes.js").Change[]} changes @param {unknown} value @param {string} what */
function asItArrives(changes, value, what) {
  try {
    return changed(changes, value);
  } catch (error) {
    if (error instanceof Collision) throw new BadParameters(`${what}: ${error.message}`);
    throw error;
  }
}

/** @param {Kind} kind @param {unknown} value @param {string} what @returns {Json} */
function taken(kind, value, what) {
  // A value without a canonical form is rejected before zero values are removed: `NaN` is not an
  // absent value.
  try {
    canonical(value);
  } catch (error) {
    if (error instanceof NotCanonical) throw new BadParameters(`${what}: ${error.message}`);
    throw error;
  }
  const json = /** @type {Json} */ (value);
  switch (kind) {
    case "plain":
      return json;
    case "tree": {
      const pruned = withoutZeroMembers(json);
      return isZero(pruned) ? null : pruned;
    }
    case "set":
      return set(json, what);
  }
}

/** Whether Go writes this value for an absent member. @param {Json} value */
function isZero(value) {
  if (typeof value === "object" && value !== null) return Object.keys(value).length === 0;
  return value === null || value === false || value === 0 || value === "";
}

/**
 * Removes members with zero values. An array keeps all its elements.
 * @param {Json} value
 * @returns {Json}
 */
function withoutZeroMembers(value) {
  if (Array.isArray(value)) return value.map(withoutZeroMembers);
  if (typeof value !== "object" || value === null) return value;
  /** @type {{[name: string]: Json}} */
  const kept = Object.create(null);
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue;
    const pruned = withoutZeroMembers(member);
    if (!isZero(pruned)) kept[name] = pruned;
  }
  return kept;
}

/** @param {Json} value @param {string} what @returns {Json} */
function set(value, what) {
  if (value === null) return [];
  if (!Array.isArray(value) || value.some((element) => typeof element !== "string")) {
    throw new BadParameters(`${what} is a list of texts`);
  }
  return [...value].sort();
}
