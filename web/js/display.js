// Shows what is signed: every path and id in full, with confusable characters spelt out, and all
// other parameters below them.

import { labelOf } from "./call-descriptions.js";
import { hints, isPath, pieces, twins } from "./confusables.js";
import { h } from "./dom.js";
import { driveIn, drivesIn } from "./drives.js";
import { translated } from "./language.js";
import { dangers } from "./places.js";

/** @typedef {import("./jcs.js").Json} Json */
/** @typedef {import("./call-descriptions.js").Words} Words */
/** @typedef {import("./drives.js").Drives} Drives */
/** @typedef {import("./signer.js").Described} Described */

/** How many items of a list are expanded. The others are counted, and one click away. */
const OPEN_MAX = 5;

/**
 * A text as it is. Invisible characters are named. Each component of a path is isolated, so that
 * right-to-left letters do not move it.
 * @param {string} text
 */
export function shownText(text) {
  const parts = text.split(isPath(text) ? /(\/)/ : /(\n)/).filter((part) => part !== "");
  const shown = parts.map((part) => part === "/" || part === "\n" ? part : h("bdi", {}, ...pieces(part).map(shownPiece)));
  return h("span", { class: "verbatim", dir: "ltr" }, ...(text === "" ? [h("i", {}, translated("empty"))] : shown));
}

/**
 * A path with the provider's title of its drive: "Home · /thesis". Other texts, and paths without
 * an answer from the provider, are shown as they are.
 * @param {string} text
 * @param {Drives | null} drives
 */
export function shownPath(text, drives) {
  const name = driveIn(text);
  if (name === null || drives === null) return shownText(text);
  const drive = drives.get(name);
  const rest = text.slice(1 + name.length);
  return h("span", { class: "path" },
    drive === undefined
      ? h("span", { class: "marked" }, translated("A drive that this provider does not know"), " (", shownText(name), ")")
      : h("span", { class: "drive" }, shownText(drive.title)),
    " · ", shownText(rest === "" ? "/" : rest));
}

/**
 * Whether an item is on a drive from which programs start.
 * @param {{[parameter: string]: Json}} item
 * @param {Drives | null} drives
 */
export function isOnStartupDrive(item, drives) {
  return drives !== null && drivesIn(item).some((name) => drives.get(name)?.startup === true);
}

/** @param {import("./confusables.js").Piece} piece */
function shownPiece({ text, marked }) {
  return marked ? h("span", { class: "marked" }, text) : text;
}

/** Texts that can be mistaken for another one in the same question. @typedef {Set<string>} Twins */

/** The hints for a text, or null. @param {string} text @param {Twins} [twins] */
function shownHints(text, twins) {
  const found = hints(text, twins);
  return found.length === 0 ? null : h("ul", { class: "hints" }, ...found.map((hint) => h("li", {}, hint)));
}

/**
 * Any value, in full.
 * @param {Json} value
 * @param {Twins} twins
 * @param {Drives | null} drives
 * @returns {HTMLElement}
 */
function shownValue(value, twins, drives) {
  if (typeof value === "string") return h("div", {}, shownPath(value, drives), shownHints(value, twins));
  if (value === null) return h("i", {}, translated("not given"));
  if (typeof value !== "object") return h("span", { class: "verbatim" }, String(value));
  if (Array.isArray(value)) {
    return value.length === 0 ? h("i", {}, translated("none")) : collapsed(value.map((element) => h("li", {}, shownValue(element, twins, drives))), "and {more} more entries ({all} in all)");
  }
  const members = Object.entries(value);
  if (members.length === 0) return h("i", {}, translated("none"));
  return h("dl", { class: "members" }, ...members.flatMap(([name, member]) => [h("dt", {}, shownText(name)), h("dd", {}, shownValue(member, twins, drives))]));
}

/**
 * Shows a request's items: dangerous ones first, then those with hints, so that all of these are
 * expanded. For each: what the call acts on, then everything else that is signed.
 * @param {Described} request
 * @param {Words} words
 * @param {Twins} twins
 * @param {Drives | null} drives
 */
export function shownItems({ row, items }, words, twins, drives) {
  const told = (/** @type {{[name: string]: Json}} */ item) => dangers(row, item, row.askIf.length > 0 && isOnStartupDrive(item, drives));
  const raised = items.filter((item) => told(item).length > 0);
  const others = items.filter((item) => told(item).length === 0);
  const hinted = others.filter((item) => hintsIn(item, twins) > 0);
  const plain = others.filter((item) => hintsIn(item, twins) === 0);
  const shown = [...raised, ...hinted, ...plain].map((item) => h("li", {}, shownItem(item, told(item), words.subjects ?? [], twins, drives)));
  return collapsed(shown, "and {more} more items ({all} in all)", Math.max(OPEN_MAX, raised.length + hinted.length));
}

/**
 * @param {{[name: string]: Json}} item
 * @param {string[]} warnings
 * @param {string[]} subjects
 * @param {Twins} twins
 * @param {Drives | null} drives
 */
function shownItem(item, warnings, subjects, twins, drives) {
  const isAlone = subjects.length === 1;
  const rest = Object.keys(item).filter((name) => !subjects.includes(name) && item[name] !== null);
  const named = (/** @type {string} */ name) => [h("dt", {}, labelOf(name)), h("dd", {}, shownValue(item[name] ?? null, twins, drives))];
  const [only] = subjects;
  return h("div", { class: "item" },
    isAlone && only !== undefined ? h("div", { class: "subject" }, shownValue(item[only] ?? null, twins, drives)) : null,
    warnings.length > 0 && h("ul", { class: "dangers" }, ...warnings.map((warning) => h("li", {}, warning))),
    h("dl", { class: "members" }, ...(isAlone ? [] : subjects).flatMap(named), ...rest.flatMap(named)));
}

/**
 * @param {HTMLElement[]} entries
 * @param {string} what sentence for the others
 * @param {number} open how many are expanded
 */
function collapsed(entries, what, open = OPEN_MAX) {
  const list = h("ul", { class: "items" }, ...entries.slice(0, open));
  const more = entries.slice(open);
  if (more.length === 0) return list;
  return h("div", {},
    list,
    h("details", { class: "more" },
      h("summary", {}, translated(what, { more: more.length, all: entries.length })),
      h("ul", { class: "items" }, ...more)));
}

/**
 * The texts of a question that can be mistaken for one another.
 * @param {Described[]} requests
 * @returns {Twins}
 */
export function twinsIn(requests) {
  return twins(requests.flatMap(({ items }) => items.flatMap(textsOf)));
}

/**
 * Counts the texts with a hint. The number is shown at the top, because a list may be long.
 * @param {Described[]} requests
 * @param {Twins} twins
 */
export function countHinted(requests, twins) {
  return requests.reduce((sum, { items }) => sum + items.reduce((sum, item) => sum + hintsIn(item, twins), 0), 0);
}

/** @param {Json} value @param {Twins} twins */
function hintsIn(value, twins) {
  return textsOf(value).filter((text) => hints(text, twins).length > 0).length;
}

/**
 * Every text in a value, and every member name below the call's own parameters.
 * @param {Json} value
 * @returns {string[]}
 */
function textsOf(value) {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Array.isArray(value) ? value.flatMap(textsOf) : Object.entries(value).flatMap(([name, member]) => [name, ...textsOf(member)]);
}
