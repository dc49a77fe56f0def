// Keys for this session only: kept in the memory of the tab that created them, and lent to other
// pages of this origin while that tab is open. Tabs exchange a non-extractable `CryptoKey`, which
// can sign and cannot be read.

/** @typedef {import("./storage.js").KeyRecord} KeyRecord */

const CHANNEL = "countersign-session-keys";

/** How long to wait for a tab that lends a key, in milliseconds: it need only be awake. */
const PATIENCE_MS = 250;

/**
 * Lends the keys to pages of this origin that ask, until the tab is closed.
 * @param {() => Promise<KeyRecord[]>} keys
 */
export function lend(keys) {
  const channel = new BroadcastChannel(CHANNEL);
  const offer = async () => channel.postMessage({ lent: await keys() });
  channel.onmessage = ({ data }) => {
    if (data?.wanted === true) void offer();
  };
  void offer();
  return offer;
}

/**
 * Borrows keys from other tabs, now and later.
 * @param {(keys: KeyRecord[]) => void} take
 * @returns {Promise<void>} resolves at the first answer, or after `PATIENCE_MS`
 */
export async function borrow(take) {
  const channel = new BroadcastChannel(CHANNEL);
  await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    channel.onmessage = ({ data }) => {
      if (!Array.isArray(data?.lent)) return;
      take(data.lent.filter(isKey));
      resolve();
    };
    channel.postMessage({ wanted: true });
    setTimeout(resolve, PATIENCE_MS);
  });
}

/** @param {any} key @returns {key is KeyRecord} */
function isKey(key) {
  return key?.privateKey instanceof CryptoKey && typeof key.kid === "string" && typeof key.username === "string";
}
