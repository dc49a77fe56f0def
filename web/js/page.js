// What the provider wrote into the page: its id, its origin, and the one foreign origin that the signer answers.

/**
 * @typedef {object} Page
 * @property {string} provider its id, as it stands in every path
 * @property {string} origin the provider's, which is every intent's audience
 * @property {string} coreOrigin UCloud's
 * @property {string} base the path of everything of this provider
 */

/** The page stands at another address than the provider's, where its keys would be worth nothing. */
export class WrongAddress extends Error {
  name = "WrongAddress";
}

/**
 * @param {DOMStringMap} written
 * @param {string} here
 * @returns {Page}
 */
export function readPage(written = document.documentElement.dataset, here = location.origin) {
  const { provider = "", origin = "", coreOrigin = "" } = written;
  if (here !== origin) throw new WrongAddress(`this page belongs to ${origin} and was opened at ${here}`);
  return { provider, origin, coreOrigin, base: `/ucloud/${provider}` };
}
