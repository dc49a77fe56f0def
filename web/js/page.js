// Values that the provider wrote into the page: its id, its origin, and the one foreign origin that
// the signer answers.

/**
 * @typedef {object} Page
 * @property {string} provider its id, as in every path
 * @property {string} origin the provider's origin, the audience of every intent
 * @property {string} coreOrigin UCloud's origin
 * @property {string} base common prefix of the provider's paths
 */

/** The page was opened at another origin than the provider's, where its keys would not work. */
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
