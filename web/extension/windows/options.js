// The options page: the providers for which this extension signs. The browser asks the user before
// the extension may work at a new address.

import { byId, fill, h } from "../../js/dom.js";
import { browser } from "../worker/browser.js";
import { BadSite, addSite, patternsOf, permittedSites, readSite, removeSite, sites } from "../worker/settings.js";
import { fillTexts, text } from "./text.js";

/** @typedef {import("../worker/settings.js").Site} Site */

/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (byId(id));

/** @param {string} key */
function say(key) {
  byId("message").textContent = text(key);
}

/** @param {Site} site @param {boolean} isPermitted */
function card(site, isPermitted) {
  const by = { policy: "optionsByPolicy", package: "optionsByPackage", user: "" }[site.by];
  const allow = h("button", { onclick: () => void permit(site) }, text("optionsAllow"));
  const remove = h("button", { class: "quiet", "aria-label": text("optionsRemoveLabel", site.id), onclick: () => void removed(site) }, text("optionsRemove"));
  return h("li", { class: "card" },
    h("div", {}, h("strong", {}, site.id), " ", by !== "" && h("span", { class: "tag" }, text(by)),
      h("div", { class: "quiet" }, `${site.origin}, ${site.ucloud}`),
      !isPermitted && h("p", { class: "notice warning" }, text("optionsNotAllowed"))),
    h("div", { class: "buttons" }, !isPermitted && allow, site.by === "user" && remove));
}

async function show() {
  const [all, permitted] = await Promise.all([sites(), permittedSites()]);
  const cards = all.map((site) => card(site, permitted.some(({ id }) => id === site.id)));
  fill(byId("providers"), ...(cards.length > 0 ? cards : [h("li", { class: "none" }, text("optionsNone"))]));
}

/** Asks the browser's permission. Has to be called in a click, before anything else is waited for. @param {Site} site @returns {Promise<boolean>} */
function permit(site) {
  return browser.permissions.request({ origins: patternsOf(site) }).then(async (/** @type {boolean} */ isPermitted) => {
    await show();
    return isPermitted;
  }, () => false);
}

/** @param {Site} site */
async function removed({ id }) {
  await removeSite(id);
  await show();
}

/** @param {SubmitEvent} event */
async function add(event) {
  event.preventDefault();
  say("");
  /** @type {Site} */
  let site;
  try {
    site = readSite({ address: input("address").value, ucloud: input("ucloud").value }, "user");
  } catch (error) {
    if (!(error instanceof BadSite)) throw error;
    return say({ address: "optionsBadAddress", ucloud: "optionsBadUcloud", same: "optionsBadSame" }[error.what]);
  }
  if (!(await permit(site))) return say("optionsRefused");
  await addSite(site);
  await show();
  say("optionsAdded");
}

fillTexts();
/** @type {HTMLFormElement} */ (byId("add")).onsubmit = add;
await show();
