// The table of calls as the provider publishes it (`intent/calls.json`), read strictly: a row that this code cannot read in full is a
// row that it cannot describe, and nothing is signed for it.

/** @typedef {"plain" | "tree" | "set"} Kind */
/** @typedef {{name: string, kind: Kind}} Bound */
/**
 * @typedef {object} Row
 * @property {string} call what the intent names
 * @property {"bulk" | "whole"} items whether a request has many items
 * @property {Bound[]} bound what the signature binds
 * @property {"read" | "write" | "danger"} class what it can do, at worst
 * @property {"core" | "user"} from who sends it: UCloud, or the user's own browser
 * @property {boolean} isProof whether it proves the use of a one-time token, and is no request of its own
 * @property {boolean} stepUp whether it needs a passkey as well
 */
/** @typedef {Map<string, Row>} Table */

/** The table is not one that this code can read. */
export class UnreadableTable extends Error {
  name = "UnreadableTable";
}

const KINDS = ["plain", "tree", "set"];
const CLASSES = ["read", "write", "danger"];
const ITEMS = ["bulk", "whole"];
const SENDERS = ["core", "user"];

/**
 * @param {unknown} json
 * @returns {Table}
 */
export function readTable(json) {
  if (!Array.isArray(json)) throw new UnreadableTable("the table of calls is not a list");
  /** @type {Table} */
  const table = new Map();
  for (const row of json.map(readRow)) {
    if (table.has(row.call)) throw new UnreadableTable(`${row.call} stands twice in the table of calls`);
    table.set(row.call, row);
  }
  return table;
}

/** @param {any} row @returns {Row} */
function readRow(row) {
  const call = row?.call;
  if (typeof call !== "string") throw new UnreadableTable("a row of the table of calls has no name");
  /** @param {string} what @param {unknown} value @param {string[]} known */
  const oneOf = (what, value, known) => {
    if (typeof value === "string" && known.includes(value)) return value;
    throw new UnreadableTable(`${call}: ${what} ${JSON.stringify(value)} is not known here`);
  };
  if (!Array.isArray(row.bound)) throw new UnreadableTable(`${call} binds no list of parameters`);
  const bound = row.bound.map((/** @type {any} */ parameter) => {
    if (typeof parameter?.name !== "string") throw new UnreadableTable(`${call}: a parameter has no name`);
    return { name: parameter.name, kind: oneOf("the kind", parameter.kind ?? "plain", KINDS) };
  });
  return /** @type {Row} */ ({
    call,
    items: oneOf("the place of items", row.items, ITEMS),
    bound,
    class: oneOf("the class", row.class, CLASSES),
    from: oneOf("the sender", row.from ?? "core", SENDERS),
    isProof: row.to === "session",
    stepUp: row.stepUp === true,
  });
}
