// The language of the pages. English is in the code; another language is a dictionary from the English
// sentence, which the browser extension loads (worker/language.js). The provider's own pages have none.
// Nothing that a page, a provider or a user wrote is ever looked up.

/** @typedef {{[english: string]: string}} Dictionary */

/** @type {{tag: string, dictionary: Dictionary}} */
let language = { tag: "en-GB", dictionary: {} };

/** @param {string} tag of BCP 47 @param {Dictionary} dictionary */
export function setLanguage(tag, dictionary) {
  language = { tag, dictionary };
}

/** The language's tag, for dates and numbers. */
export function languageTag() {
  return language.tag;
}

/**
 * The sentence in the language of the page. `{name}` stands for a value.
 * @param {string} english
 * @param {{[name: string]: string | number}} [values]
 */
export function translated(english, values = {}) {
  const text = Object.hasOwn(language.dictionary, english) ? language.dictionary[english] ?? english : english;
  // One pass, so that braces in a value stay as they are.
  return text.replaceAll(/\{(\w+)\}/g, (place, name) => (Object.hasOwn(values, name) ? String(values[name]) : place));
}
