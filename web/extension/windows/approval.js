// The approval window: shows the questions that wait, one at a time, as the signer's window does.
// Everything that it shows comes from the worker's record; what is shown there is what is signed.
// No web page can open or frame this window, and the button works after a quiet second only.

import { ask } from "../../js/approval.js";
import { byId, fill, h } from "../../js/dom.js";
import { atTime } from "../../js/relative-time.js";
import { browser } from "../worker/browser.js";
import { speakBrowserLanguage } from "../worker/language.js";
import { fillTexts, text } from "./text.js";

/** @typedef {import("../worker/holds.js").Kept} Kept */

/** The id of the question that is shown. */
let shown = "";
let withdrawn = new AbortController();
/** Whether the page stopped waiting for the last one. Then the window stays, and says so. */
let isLate = false;

/** @returns {Promise<{questions: Kept[], origins: {[provider: string]: string}}>} */
async function waiting() {
  return (await browser.runtime.sendMessage({ type: "questions" })) ?? { questions: [], origins: {} };
}

async function show() {
  const { questions, origins } = await waiting();
  const [first] = questions;
  if (shown !== "" && !questions.some(({ id }) => id === shown)) withdrawn.abort();
  byId("more").textContent = questions.length > 1 ? text("askMore", String(questions.length - 1)) : "";
  if (first === undefined && shown === "") return isLate ? undefined : globalThis.close();
  if (first === undefined || shown !== "") return;
  shown = first.id;
  withdrawn = new AbortController();
  const late = setTimeout(() => withdrawn.abort(), Math.max(0, first.until - Date.now()));
  const { parts, username, ucloud, drives, silent } = first;
  const at = [...new Set(parts.map(({ provider }) => `${provider} (${origins[provider] ?? ""})`))].join(", ");
  fill(byId("status"), text("askLead", at), " ", text("askTime", atTime(first.until / 1000)));
  const approved = await ask(byId("approval"), {
    origin: ucloud, username, requests: parts.map(({ request }) => request),
    drives: silent.length > 0 ? null : new Map(Object.entries(drives)), withdrawn: withdrawn.signal,
  });
  clearTimeout(late);
  isLate = withdrawn.signal.aborted;
  fill(byId("status"), isLate && h("span", {}, text("askLate")));
  if (!isLate) await browser.runtime.sendMessage({ type: "decide", id: first.id, approved });
  shown = "";
  if (!isLate) await show();
}

await speakBrowserLanguage();
fillTexts();
await show();
browser.storage.session.onChanged.addListener(() => void show());
setInterval(() => void show(), 1_000);
