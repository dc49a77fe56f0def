// The interface of WebExtensions. Firefox and new versions of Chromium name it `browser`.

/** @type {any} */
export const browser = /** @type {any} */ (globalThis).browser ?? /** @type {any} */ (globalThis).chrome;
