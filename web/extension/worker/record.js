// What the user can look at later: the last signatures, and the requests that got none, with the
// reason. Kept until the browser is closed, for extension pages alone.

import { browser } from "./browser.js";

/**
 * @typedef {object} Entry
 * @property {number} at milliseconds since 1970
 * @property {"signed" | "unsigned" | "refused" | "sealed" | "unsealed"} what
 * @property {string} call what it was, in words
 * @property {string} subject the first path or id
 * @property {string} provider its id; empty if it is not known
 * @property {string} [why] key of a message, if it was not signed or sealed
 */

const RECORD = "record";
const KEPT_MAX = 60;

/** Reasons for which the button gets no mark: the user does not use this provider with this browser. */
const EXPECTED = ["whyNoKey", "whyNoProvider"];

/** Ends with the last write: they run one after the other. @type {Promise<unknown>} */
let turn = Promise.resolve();

/** @param {Omit<Entry, "at">} entry */
export function note(entry) {
  turn = turn.then(async () => {
    const [latest, ...earlier] = await record();
    const isSame = latest !== undefined && ["what", "call", "subject", "provider", "why"].every((name) => Reflect.get(latest, name) === Reflect.get(entry, name));
    const before = latest === undefined || isSame ? earlier : [latest, ...earlier];
    const entries = [{ ...entry, at: Date.now() }, ...before].slice(0, KEPT_MAX);
    await browser.storage.session.set({ [RECORD]: entries });
    if (entry.what === "unsigned" && !EXPECTED.includes(entry.why ?? "")) await badge("!");
  }).catch(() => {});
  return turn;
}

/** @returns {Promise<Entry[]>} the latest first */
export async function record() {
  return (await browser.storage.session.get(RECORD))[RECORD] ?? [];
}

/** Marks the toolbar button. An empty text takes the mark away. @param {string} text */
export async function badge(text) {
  await browser.action.setBadgeBackgroundColor({ color: "#b3261e" });
  await browser.action.setBadgeText({ text });
}
