// Reads the table of calls that the provider publishes (`intent/calls.json`). Strict: a table with
// a row that this code does not fully understand is rejected, because such a row cannot be
// described.

import { CONDITIONS } from "./ask.js";
import { HOWS, steps } from "./changes.js";
import { readUserRequests } from "./user-requests.js";

/** @typedef {import("./ask.js").Rule} Rule */
/** @typedef {"plain" | "tree" | "set"} Kind */
/** @typedef {import("./changes.js").Change} Change */
/** @typedef {{name: string, kind: Kind, changes: Change[], isOptional: boolean}} Bound */
/**
 * @typedef {object} Row
 * @property {string} call the name in the intent
 * @property {"bulk" | "whole"} items whether a request has many items or is one
 * @property {Bound[]} bound what the signature binds
 * @property {"read" | "write" | "danger"} class the least danger of the call
 * @property {Rule[]} askIf the rules that raise an item to a dangerous one
 * @property {"core" | "user"} from the sender: UCloud, or the user's own browser
 * @property {import("./call-descriptions.js").Words | null} words the description, of a site's own
 *   row
 * @property {boolean} isProof whether it proves the use of a one-time token, and is not a request
 * @property {boolean} stepUp whether it also needs a passkey
 * @property {import("./user-requests.js").UserRequest[]} user the user's requests to UCloud that cause
 *   the call
 * @property {"behind" | "ahead" | "unlike" | null} differs how the provider's row differs from the one
 *   that the signer brought itself (packed-table.js): the provider is behind, ahead, or cannot be placed
 */
/** @typedef {Map<string, Row>} Table */

/** The table has content that this code does not understand. */
export class UnreadableTable extends Error {
  name = "UnreadableTable";
}

/** Provider and signer do not mean the same by a call. */
export class Differs extends Error {
  name = "Differs";

  /** @param {NonNullable<Row["differs"]>} how where the provider stands */
  constructor(how) {
    super(DIFFERENCES[how]);
    this.how = how;
  }
}

/** @type {{[how in NonNullable<Row["differs"]>]: string}} */
const DIFFERENCES = {
  behind: "This provider is older than this extension and means something else by this. Ask the centre to update it",
  ahead: "This extension is older than the provider and means something else by this. Update the extension",
  unlike: "The provider describes this call otherwise than this extension does, although both are equally new",
};

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
    if (parameter.changes !== undefined && !Array.isArray(parameter.changes)) throw new UnreadableTable(`${call}: changes is not a list`);
    const changes = (parameter.changes ?? []).map((/** @type {any} */ change) => {
      const { at, how, ...more } = change ?? {};
      const path = steps(at);
      if (path === null || Object.keys(more).length > 0) throw new UnreadableTable(`${call}: a change is not known here`);
      return { at: path, how: oneOf("the change", how, HOWS) };
    });
    if (parameter.optional !== undefined && parameter.optional !== true) throw new UnreadableTable(`${call}: optional is true or absent`);
    return { name: parameter.name, isOptional: parameter.optional === true, kind: oneOf("the kind", parameter.kind ?? "plain", KINDS), changes };
  });
  if (row.ask_if !== undefined && !Array.isArray(row.ask_if)) throw new UnreadableTable(`${call}: ask_if is not a list of rules`);
  const askIf = (row.ask_if ?? []).map((/** @type {any} */ rule) => {
    const { parameter, when, ...more } = rule ?? {};
    if (!bound.some((/** @type {Bound} */ { name }) => name === parameter) || Object.keys(more).length > 0) {
      throw new UnreadableTable(`${call}: a rule of ask_if is not known here`);
    }
    return { parameter, when: oneOf("the condition", when, CONDITIONS) };
  });
  const user = readUserRequests(row.user ?? [], bound.map((/** @type {Bound} */ { name }) => name));
  if (user === null) throw new UnreadableTable(`${call}: the user's request is not known here`);
  return /** @type {Row} */ ({
    call,
    items: oneOf("the place of items", row.items, ITEMS),
    bound,
    class: oneOf("the class", row.class, CLASSES),
    askIf,
    from: oneOf("the sender", row.from ?? "core", SENDERS),
    words: readWords(call, row.words ?? null, bound),
    isProof: row.to === "session",
    stepUp: row.stepUp === true,
    user,
    differs: null,
  });
}

/**
 * The description of a site's own row: texts, and names of bound parameters.
 * @param {string} call
 * @param {any} words
 * @param {Bound[]} bound
 */
function readWords(call, words, bound) {
  if (words === null) return null;
  const { one, many, button, note, subjects = [], ...more } = words;
  const isText = (/** @type {unknown} */ text) => text === undefined || typeof text === "string";
  const isBound = (/** @type {unknown} */ subject) => bound.some(({ name }) => name === subject);
  if (typeof one !== "string" || ![many, button, note].every(isText) || !Array.isArray(subjects) || !subjects.every(isBound) || Object.keys(more).length > 0) {
    throw new UnreadableTable(`${call}: its words are not known here`);
  }
  return { one, many, button, note, subjects };
}
