// Values that the provider wrote into the page: its id, its origin, and the one foreign origin that
// the signer answers. In the browser extension, the extension's own pages hold the same values, of
// the provider that its user or administrator chose.

/**
 * @typedef {object} Page
 * @property {string} provider its id, as in every path
 * @property {string} origin the provider's origin, the audience of every intent
 * @property {string} coreOrigin UCloud's origin
 * @property {string} base common prefix of the provider's addresses
 * @property {string} [packedRows] the address of the rows that the extension brings itself
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
  const { provider = "", origin = "", coreOrigin = "", extension, packedRows } = written;
  if (here !== (extension ?? origin)) throw new WrongAddress(`this page belongs to ${origin} and was opened at ${here}`);
  const page = { provider, origin, coreOrigin, base: `${here === origin ? "" : origin}/ucloud/${provider}` };
  return packedRows === undefined ? page : { ...page, packedRows };
}

/** The address of the page of keys, relative to this page. */
export function keysPage() {
  return document.documentElement.dataset.keysPage ?? "keys";
}
