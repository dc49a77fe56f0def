// What the browser's modules sign, for the crate to verify (keys/tests/browser.rs):
//
//     node tests/web/sample.mjs > keys/tests/vectors/browser.json

import "./webcrypto.mjs";
import { encode } from "../../web/js/base64url.js";
import { enrolmentProof, publicJwk } from "../../web/js/enrolment.js";
import { signIntent } from "../../web/js/intent.js";
import { makeKeyPair } from "../../web/js/jws.js";

const origin = "https://hpc.example.org";
const username = "Ælice#1234";
const now = 1_800_000_000;
const kid = encode(new TextEncoder().encode("sixteen bytes id"));
const ticket = encode(new Uint8Array(32).fill(7));
const nonce = "the provider's nonce";
const items = [{ id: "/1/Ælice's file.txt" }, { id: "/1/photo\u202egnp.exe" }];
const row = { call: "files.trash", items: "bulk", class: "danger", from: "core", bound: [{ name: "id", kind: "plain", changes: [] }] };

async function sample(alg) {
  const { privateKey, publicKey } = await makeKeyPair(alg);
  const intent = await signIntent({ kid, privateKey }, { origin, username, project: "3f1d5a0e-Å", row, items, now });
  const proof = await enrolmentProof(privateKey, { origin, ticket, username, nonce });
  return { alg, origin, username, now, kid, ticket, nonce, items, jwk: await publicJwk(publicKey), intent, proof };
}

process.stdout.write(`${JSON.stringify([await sample("EdDSA"), await sample("ES256")], null, 2)}\n`);
