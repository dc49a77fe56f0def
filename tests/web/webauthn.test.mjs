// Passkeys: the JSON form and the browser's form are equivalent, and every refusal is the same
// error.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { encode } from "../../web/js/base64url.js";
import { Declined, createPasskey, creationOptions, requestOptions, usePasskey } from "../../web/js/webauthn.js";

const bytes = (...values) => new Uint8Array(values);
const buffer = (...values) => bytes(...values).buffer;

/** A credential as a browser returns it. */
class PublicKeyCredential {
  id = encode(bytes(9, 9));
  rawId = buffer(9, 9);
  type = "public-key";
  constructor(response) {
    this.response = response;
  }
}
globalThis.PublicKeyCredential = PublicKeyCredential;
const asking = (credentials) => Object.defineProperty(globalThis, "navigator", { value: { credentials }, configurable: true });
const navigatorBefore = Object.getOwnPropertyDescriptor(globalThis, "navigator");
afterEach(() => (navigatorBefore ? Object.defineProperty(globalThis, "navigator", navigatorBefore) : delete globalThis.navigator));

test("options become what browsers take, and nothing of them is lost", () => {
  const options = {
    rp: { id: "hpc.example.org", name: "hpc" }, user: { id: encode(bytes(1, 2)), name: "alice", displayName: "Alice" },
    challenge: encode(bytes(3, 4)), pubKeyCredParams: [{ type: "public-key", alg: -7 }], timeout: 60_000,
    authenticatorSelection: { userVerification: "required" }, attestation: "none",
    excludeCredentials: [{ type: "public-key", id: encode(bytes(5)), transports: ["usb"] }],
  };
  assert.deepEqual(creationOptions(options), {
    ...options, challenge: bytes(3, 4), user: { ...options.user, id: bytes(1, 2) },
    excludeCredentials: [{ type: "public-key", id: bytes(5), transports: ["usb"] }],
  });
  assert.deepEqual(requestOptions({ challenge: encode(bytes(6)), rpId: "x", userVerification: "required", allowCredentials: [{ type: "public-key", id: encode(bytes(7)) }] }),
    { challenge: bytes(6), rpId: "x", userVerification: "required", allowCredentials: [{ type: "public-key", id: bytes(7) }] });
  assert.deepEqual(requestOptions({ challenge: "" }).allowCredentials, []);
});

test("what a browser answers becomes what travels", async () => {
  asking({
    create: async () => new PublicKeyCredential({ clientDataJSON: buffer(1), attestationObject: buffer(2), getTransports: () => ["internal"] }),
    get: async () => new PublicKeyCredential({ clientDataJSON: buffer(1), authenticatorData: buffer(2), signature: buffer(3), userHandle: null }),
  });
  const common = { id: encode(bytes(9, 9)), rawId: encode(bytes(9, 9)), type: "public-key", clientExtensionResults: {} };
  assert.deepEqual(await createPasskey({ challenge: "", user: { id: "" } }), {
    ...common, response: { clientDataJSON: encode(bytes(1)), attestationObject: encode(bytes(2)), transports: ["internal"] },
  });
  assert.deepEqual(await usePasskey({ challenge: "" }), {
    ...common, response: { clientDataJSON: encode(bytes(1)), authenticatorData: encode(bytes(2)), signature: encode(bytes(3)) },
  });
});

test("every way of saying no is one, and a fault is none", async () => {
  const failing = (error) => asking({ get: async () => { throw error; } });
  for (const name of ["NotAllowedError", "AbortError"]) {
    failing(new DOMException("no", name));
    await assert.rejects(usePasskey({ challenge: "" }), Declined, name);
  }
  asking({ get: async () => null });
  await assert.rejects(usePasskey({ challenge: "" }), Declined);
  failing(new DOMException("no", "SecurityError"));
  await assert.rejects(usePasskey({ challenge: "" }), { name: "SecurityError" });
});
