// Loads the texts of the shared modules in the language of the extension's own texts, which the
// browser chooses. English needs none.

import { setLanguage } from "../../js/language.js";
import { browser } from "./browser.js";

/** Languages with a dictionary in `extension/words`. */
const LANGUAGES = ["da"];

/** @type {Promise<void> | null} */
let loaded = null;

/** Resolves when the texts are in the browser's language, or in English if they cannot be loaded. */
export function speakBrowserLanguage() {
  loaded ??= load().catch((error) => console.error("cannot load the language", error));
  return loaded;
}

async function load() {
  const language = browser.i18n.getMessage("language");
  if (!LANGUAGES.includes(language)) return;
  const dictionary = await (await fetch(browser.runtime.getURL(`extension/words/${language}.json`))).json();
  setLanguage(language, dictionary);
}
