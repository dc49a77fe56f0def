// The toolbar button's window: the connections of this browser, the ends of their keys, questions
// that wait, and what was signed or not lately, with the reason.

import { byId, fill, h } from "../../js/dom.js";
import { shownText } from "../../js/display.js";
import { SOON_S, atTime, fromNow, onDay } from "../../js/relative-time.js";
import { openStorage } from "../../js/storage.js";
import { browser } from "../worker/browser.js";
import { speakBrowserLanguage } from "../worker/language.js";
import { badge, record } from "../worker/record.js";
import { permittedSites, sites } from "../worker/settings.js";
import { fillTexts, text } from "./text.js";

/** @typedef {import("../worker/record.js").Entry} Entry */
/** @typedef {import("../worker/settings.js").Site} Site */
/** @typedef {import("../../js/storage.js").KeyRecord} KeyRecord */

/** @param {Site} site @param {boolean} isPermitted @param {KeyRecord[]} keys */
function card(site, isPermitted, keys) {
  const now = Date.now() / 1000;
  const newest = [...new Map([...keys].sort((a, b) => a.created - b.created).map((key) => [key.username, key])).values()];
  const told = newest.map(({ username, expires }) => h("div", { class: "name" },
    text("stateConnected", site.id, ""), shownText(username), h("div", { class: "quiet" }, ends(expires, now))));
  return h("li", { class: "card", "data-provider": site.id },
    h("div", {},
      !isPermitted ? text("stateNoPermission", site.id) : told.length > 0 ? null : h("div", {}, text("stateNoKey", site.id), h("div", { class: "quiet" }, text("stateHowToConnect"))),
      ...(isPermitted ? told : [])),
    h("div", { class: "buttons" }, told.length > 0 && h("a", { href: `keys.html?provider=${site.id}`, target: "_blank" }, text("linkKeys"))));
}

/** @param {number | null} expires @param {number} now */
function ends(expires, now) {
  if (expires === null) return "";
  if (expires <= now) return text("stateExpired");
  return expires - now < SOON_S ? text("stateEndsSoon", fromNow(expires, now)) : text("stateEnds", onDay(expires));
}

/** @param {Entry} entry */
function line({ at, what, call, subject, provider, why }) {
  const tag = { signed: "whatSigned", unsigned: "whatUnsigned", refused: "whatRefused", sealed: "whatSealed", unsealed: "whatUnsealed" }[what];
  return h("li", { "data-what": what },
    h("time", { datetime: new Date(at).toISOString() }, atTime(at / 1000)), " ",
    h("span", { class: "what" }, call), " ", shownText(subject), " ", provider !== "" && h("span", { class: "quiet" }, provider), " ",
    h("span", { class: what === "signed" || what === "sealed" ? "tag" : "tag off" }, text(tag)),
    why !== undefined && h("span", { class: "why" }, text(why)));
}

async function show() {
  const [all, permitted, kept, entries] = await Promise.all([
    sites(), permittedSites(), openStorage().then((storage) => storage.keys()).catch(() => []), record(),
  ]);
  const keysOf = (/** @type {Site} */ { id }) => kept.filter((key) => key.provider === id && key.state === "active");
  const cards = all.map((site) => card(site, permitted.some(({ id }) => id === site.id), keysOf(site)));
  fill(byId("providers"), ...(cards.length > 0 ? cards : [h("li", { class: "none" }, text("stateNoProvider"))]));
  fill(byId("recent"), ...(entries.length > 0 ? entries.map(line) : [h("li", { class: "none" }, text("stateNothing"))]));
  const { questions = [] } = (await browser.runtime.sendMessage({ type: "questions" })) ?? {};
  fill(byId("waiting"), questions.length > 0 && h("p", { class: "notice warning" }, text("stateWaiting"), " ",
    h("button", { onclick: () => browser.runtime.sendMessage({ type: "show" }) }, text("stateShowQuestion"))));
}

fillTexts();
await speakBrowserLanguage();
await show();
await badge("");
