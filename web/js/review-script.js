// The script of a job, for the person who approves it: asked of the provider, checked against its
// digest, shown in full, and signed by that digest (protocol, section 12). A digest that a page brings
// is never signed: the page may show another script.

import { sha256 } from "./digest.js";
import { h } from "./dom.js";
import { pieces } from "./confusables.js";
import { inWords } from "./errors.js";
import { translated } from "./language.js";
import { Refused } from "./provider.js";

/** @typedef {import("./review.js").Described} Described */
/** @typedef {import("./storage.js").KeyRecord} KeyRecord */

/** The call whose scripts are shown. */
const CREATE = "jobs.create";

/** The parameter that holds a script's digest. */
const PARAMETER = "script";

/** Longest script that is shown, in characters: longer ones are not read by a person. */
const SHOWN_MAX = 200_000;

/**
 * What a job would run. `text` is null if the provider shows no script; `why` says why.
 * @typedef {{text: string | null, why: string | null}} Script
 */

/**
 * Asks the provider for the script of each job, and puts its digest into what is signed.
 * @template {Described} D
 * @param {D[]} requests
 * @param {(specification: unknown) => Promise<any>} preview
 * @returns {Promise<(D & {scripts: Script[]})[]>}
 */
export async function withScripts(requests, preview) {
  return Promise.all(requests.map(async (request) => {
    if (request.row.call !== CREATE) return { ...request, scripts: [] };
    const takes = request.row.bound.some(({ name, isOptional }) => name === PARAMETER && isOptional);
    const scripts = await Promise.all(request.items.map(({ specification }) => takes ? previewed(specification, preview) : NONE));
    const items = await Promise.all(request.items.map(async ({ [PARAMETER]: _brought, ...item }, at) => {
      const text = scripts[at]?.text ?? null;
      return text === null ? item : { ...item, [PARAMETER]: await digestOf(text) };
    }));
    return { ...request, items, scripts };
  }));
}

/** A provider that shows no scripts. @type {Script} */
const NONE = { text: null, why: null };

/** @param {string} text */
const digestOf = (text) => sha256(new TextEncoder().encode(text));

/**
 * @param {unknown} specification
 * @param {(specification: unknown) => Promise<any>} preview
 * @returns {Promise<Script>}
 */
async function previewed(specification, preview) {
  try {
    const { script, sha256: digest } = await preview(specification);
    if (typeof script !== "string" || script.length > SHOWN_MAX) return { text: null, why: translated("The script is too long to be shown.") };
    // A difference means that the two sides do not read the same text.
    if (digest !== await digestOf(script)) return { text: null, why: translated("The provider's script and its digest differ.") };
    return { text: script, why: null };
  } catch (error) {
    return { text: null, why: whyNotShown(error) };
  }
}

/** Why there is no script, in a sentence. @param {unknown} error */
function whyNotShown(error) {
  if (!(error instanceof Refused)) return translated("The computing centre did not show the script.");
  return error.code === "APPLICATION_NOT_APPROVED" ? inWords(error) : translated("The computing centre says: {why}.", { why: error.message });
}

/**
 * The scripts of a request, for the approval window.
 * @param {{scripts?: Script[]}} request
 */
export function shownScripts({ scripts = [] }) {
  return scripts.map(({ text, why }) => {
    if (text === null) return why !== null && h("p", { class: "notice warning script" }, why, " ", translated("You approve the job without having seen its script."));
    const lines = text.split("\n").map((line) => h("div", {}, ...shownLine(line)));
    return h("div", { class: "script" }, h("p", { class: "note" }, translated("It runs exactly this script, or nothing:")), h("pre", { class: "verbatim", tabindex: 0 }, ...lines));
  });
}

/** A line of a script: its indentation as it is, and characters that cannot be seen by their names. @param {string} line */
function shownLine(line) {
  const [, indentation = "", rest = ""] = /^([ \t]*)([^]*)$/.exec(line) ?? [];
  return [indentation, ...pieces(rest).map(({ text, marked }) => marked ? h("span", { class: "marked" }, text) : text)];
}
