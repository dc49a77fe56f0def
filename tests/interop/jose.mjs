// Version 2 intents by npm's `jose`, the library that most browser code signs with.

import { SignJWT, exportJWK, generateKeyPair } from "jose";
import { digest, run } from "./item.mjs";

await run(async ({ intents }) => {
  const keys = new Map();
  const signed = [];
  for (const { alg, kid, claims, items } of intents) {
    if (!keys.has(alg)) keys.set(alg, await generateKeyPair(alg, { extractable: true }));
    const { privateKey, publicKey } = keys.get(alg);
    const jws = await new SignJWT({ ...claims, params: items.map(digest) })
      .setProtectedHeader({ alg, kid, typ: "ucloud-intent+jwt" })
      .sign(privateKey);
    signed.push({ jwk: await exportJWK(publicKey), jws });
  }
  return signed;
});
