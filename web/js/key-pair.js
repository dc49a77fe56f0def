// New key pairs of this browser. Each is tested before it is used: some browsers lack an algorithm,
// and some make keys that do not work.

import { isSignedBy, makeKeyPair, sign } from "./jws.js";

/** @typedef {import("./jws.js").Algorithm} Algorithm */

/**
 * The algorithms of new keys, best first. Ed25519 costs the provider the least; browsers before
 * Chrome 137, Firefox 129 and Safari 17 lack it.
 * @type {Algorithm[]}
 */
const PREFERRED = ["EdDSA", "ES256"];

/** The browser's key does not work: its first signature does not verify. */
export class BrokenKey extends Error {
  name = "BrokenKey";
}

/** Creates a key pair of the best algorithm whose keys work in this browser. */
export async function makeTestedKeyPair() {
  let failure;
  for (const algorithm of PREFERRED) {
    try {
      const pair = await makeKeyPair(algorithm);
      await testKeyPair(pair);
      return pair;
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/**
 * Signs with the key and verifies. Copies the key first, as the browser's storage does.
 * @param {{privateKey: CryptoKey, publicKey: CryptoKey}} pair
 */
export async function testKeyPair(pair) {
  const { privateKey, publicKey } = structuredClone({ privateKey: pair.privateKey, publicKey: pair.publicKey });
  const jws = await sign(privateKey, { typ: "countersign-self-test" }, { test: Math.random() });
  if (privateKey.extractable || !(await isSignedBy(publicKey, jws))) throw new BrokenKey("the key does not work");
}
