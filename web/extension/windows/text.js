// The extension's own texts, in the language of the browser. Descriptions of calls are in the shared
// modules, in English.

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
  documentElement.lang = text("@@ui_locale").split(/[_-]/)[0] ?? "en";
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(/** @type {HTMLElement} */ (element).dataset.text ?? "");
  if (documentElement.dataset.title !== undefined) document.title = `${text(documentElement.dataset.title)} · ${text("name")}`;
}
