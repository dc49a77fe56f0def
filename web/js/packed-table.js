// The table of calls that a signer brings itself: the browser extension has the built-in rows in its
// package, and interprets these alone. Of what the provider publishes it takes one thing, whether a
// call needs a passkey too. A row that the provider publishes otherwise is not signed: the two would
// mean different things by one signature. The provider's further rows, a site's own, are left out.

import { canonical } from "./jcs.js";
import { UnreadableTable, readTable } from "./table.js";

/** @typedef {import("./table.js").Table} Table */
/** @typedef {import("./table.js").Row} Row */

/** The revision of the packed rows. Equal to that of `keys/src/call/revision.rs`. */
export const REVISION = 1;

/**
 * @param {unknown} packed the rows of the package
 * @param {unknown} published the provider's
 * @param {number} revision the provider's, 0 if it states none
 * @returns {Table}
 */
export function packedTable(packed, published, revision) {
  if (!Array.isArray(packed)) throw new UnreadableTable("the packed table of calls is not a list");
  const theirs = new Map((Array.isArray(published) ? published : []).map((row) => [row?.call, row]));
  const place = revision < REVISION ? "behind" : revision > REVISION ? "ahead" : "unlike";
  const table = readTable(packed);
  for (const ours of packed) {
    const { stepUp = false, ...same } = theirs.get(ours.call) ?? {};
    const row = /** @type {Row} */ (table.get(ours.call));
    table.set(ours.call, { ...row, stepUp: stepUp === true, differs: isEqual(ours, same) ? null : place });
  }
  return table;
}

/** @param {unknown} ours @param {unknown} theirs */
function isEqual(ours, theirs) {
  try {
    return canonical(ours) === canonical(theirs);
  } catch {
    return false;
  }
}
