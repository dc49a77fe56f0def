// The extension's own texts, in the language of the browser. Those of the shared modules and pages are
// in English there, and translated by a dictionary (worker/language.js).

import { translated } from "../../js/language.js";
import { browser } from "../worker/browser.js";

/**
 * @param {string} key
 * @param {...string} values in the places $1, $2 of the text
 * @returns {string}
 */
export function text(key, ...values) {
  return String(browser.i18n.getMessage(key, values) || key);
}

/** Fills the elements of the page that name a text. */
export function fillTexts() {
  const { documentElement } = document;
  documentElement.lang = text("language");
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(/** @type {HTMLElement} */ (element).dataset.text ?? "");
  if (documentElement.dataset.title !== undefined) document.title = `${text(documentElement.dataset.title)} · ${text("name")}`;
}

/**
 * Translates the texts of a page as it was loaded: before anything of a user or provider is in it.
 * @param {Node} root
 */
export function translateTexts(root) {
  const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node !== null; node = texts.nextNode()) {
    if (node.parentElement?.closest("code, noscript, script") !== null && node.parentElement !== null) continue;
    const [, before = "", said = "", after = ""] = /^(\s*)([^]*?)(\s*)$/.exec(node.nodeValue ?? "") ?? [];
    if (said !== "") node.nodeValue = `${before}${translated(said.replaceAll(/\s+/g, " "))}${after}`;
  }
}
