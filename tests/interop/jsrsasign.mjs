// Version 1 intents by npm's `jsrsasign`, the library that UCloud's own, older frontend signed with. Its key goes out as PEM.

import { generateKeyPairSync } from "node:crypto";
import rsasign from "jsrsasign";
import { run } from "./item.mjs";

const { KEYUTIL, KJUR } = rsasign;

await run(({ intents }) => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = KEYUTIL.getKey(privateKey.export({ type: "pkcs8", format: "pem" }));
  const pem = KEYUTIL.getPEM(KEYUTIL.getKey({ n: key.n.toString(16), e: key.e.toString(16) }));
  return intents.map(({ claims }) => ({
    pem,
    jws: KJUR.jws.JWS.sign("RS256", JSON.stringify({ typ: "JWT", alg: "RS256" }), JSON.stringify(claims), key),
  }));
});
