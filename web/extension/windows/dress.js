// Gives a page of the extension the values that the provider's own page has in its markup, from the
// extension's settings: the provider is named in the address. Then the shared module runs.

import { byId, fill, h } from "../../js/dom.js";
import { browser } from "../worker/browser.js";
import { permittedSites } from "../worker/settings.js";
import { speakBrowserLanguage } from "../worker/language.js";
import { fillTexts, text, translateTexts } from "./text.js";

/**
 * @param {string} place where to say that the provider is not known
 * @param {() => Promise<unknown>} run
 */
export async function asProvider(place, run) {
  fillTexts();
  await speakBrowserLanguage();
  for (const element of [document.body, ...[...document.querySelectorAll("template")].map(({ content }) => content)]) translateTexts(element);
  const wanted = new URLSearchParams(location.search).get("provider");
  const site = (await permittedSites()).find(({ id }) => id === wanted);
  if (site === undefined) return fill(byId(place), h("p", { class: "notice warning" }, text("unknownProvider")));
  const { id, origin, ucloud } = site;
  Object.assign(document.documentElement.dataset, {
    provider: id, origin, coreOrigin: ucloud, extension: location.origin, packedRows: browser.runtime.getURL("extension/calls.json"), keysPage: `keys.html?provider=${id}`,
  });
  for (const element of document.querySelectorAll("[data-provider-id]")) element.textContent = id;
  for (const element of document.querySelectorAll("[data-provider-origin]")) element.textContent = origin;
  for (const link of ["a[data-ucloud]", "template"].flatMap((selector) => [...document.querySelectorAll(selector)])) dressLinks(link, ucloud, id);
  await run();
}

/** @param {Element} element a link, or a template that has links @param {string} ucloud @param {string} id */
function dressLinks(element, ucloud, id) {
  const links = element instanceof HTMLTemplateElement ? [...element.content.querySelectorAll("a")] : [/** @type {HTMLAnchorElement} */ (element)];
  for (const link of links) {
    if (link.hasAttribute("data-ucloud")) link.href = ucloud;
    else if (link.getAttribute("href") === "keys") link.href = `keys.html?provider=${id}`;
  }
}
