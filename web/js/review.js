// What may be signed, with which key, and whether a person has to see it first. The signer's window
// and the browser extension judge by these rules alone.

import { met } from "./ask.js";
import { wordsOf } from "./call-descriptions.js";
import { BadParameters, projection } from "./digest.js";
import { drivesIn } from "./drives.js";
import { NotSigned } from "./messages.js";
import { Differs } from "./table.js";

/** @typedef {import("./messages.js").Request} Request */
/** @typedef {import("./storage.js").KeyRecord} KeyRecord */
/** @typedef {import("./table.js").Row} Row */
/** @typedef {import("./table.js").Table} Table */
/** @typedef {import("./jcs.js").Json} Json */
/** @typedef {import("./drives.js").Drives} Drives */

/** A request that can be described. `items` is both what is shown and what is signed. */
/**
 * @typedef {{row: Row, items: {[name: string]: Json}[], project: string | null, ask: boolean,
 *   scripts?: import("./review-script.js").Script[]}} Described
 */

/**
 * The newest valid key of that user at that provider.
 * @param {KeyRecord[]} keys
 * @param {string} provider
 * @param {string} username
 * @param {number} now seconds since 1970
 * @returns {KeyRecord}
 */
export function keyOf(keys, provider, username, now) {
  const here = keys.filter((key) => key.provider === provider && key.state === "active");
  if (here.length === 0) throw new NotSigned("no_key", "this browser has no key for this provider");
  const theirs = here.filter((key) => key.username === username);
  if (theirs.length === 0) throw new NotSigned("unknown_user", "this browser has no key of that user");
  const live = theirs.filter((key) => key.expires === null || now < key.expires);
  const [newest] = live.sort((a, b) => b.created - a.created);
  if (newest === undefined) throw new NotSigned("key_expired", "the key of this browser has expired");
  return newest;
}

/** @param {Table} table @param {Request} request @returns {Described} */
export function describe(table, { call, items, project, ask }) {
  const row = table.get(call);
  // A direct call of the user's browser is signed only by the provider's own pages. The exception
  // is the proof that uses a one-time token.
  if (row === undefined || (row.from !== "core" && !row.isProof) || wordsOf(row) === undefined) {
    throw new NotSigned("unknown_call", `${call}: not a call that this signer can describe`);
  }
  if (row.differs !== null) throw new Differs(row.differs);
  if (row.items === "whole" && items.length !== 1) throw new NotSigned("bad_parameters", `${call} has one item`);
  try {
    return { row, items: items.map((item) => projection(row, item)), project, ask };
  } catch (error) {
    if (error instanceof BadParameters) throw new NotSigned("bad_parameters", error.message);
    throw error;
  }
}

/**
 * Whether a person has to approve the request: its call or an item is dangerous, it needs a
 * passkey, or the page asks for approval.
 * @param {Described} request
 */
export function needsAPerson({ row, items, ask }) {
  return ask || row.class === "danger" || row.stepUp || items.some((item) => met(row, item).length > 0);
}

/**
 * Whether an item of a call that changes something is on a drive from which programs start.
 * @param {Described} request
 * @param {Drives | null} drives
 */
export function isOnStartupDrive({ row, items }, drives) {
  return row.askIf.length > 0 && drives !== null && items.some((item) => drivesIn(item).some((name) => drives.get(name)?.startup === true));
}
