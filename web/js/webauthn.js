// Passkeys: converts between JSON and the buffers of the browser's API (Web Authentication, level
// 3, sections 5.1.8 to 5.1.10). Converts by hand, because not every browser with passkeys has
// `parseCreationOptionsFromJSON`.

import { decode, encode } from "./base64url.js";

/** The user dismissed the browser's prompt, or it timed out. */
export class Declined extends Error {
  name = "Declined";
}

/**
 * Whether this page can use passkeys: the browser supports them, and the page is the provider's own.
 * A provider accepts no assertion that was made on a page of the browser extension.
 */
export function hasPasskeys() {
  return /^https?:$/.test(location.protocol) && typeof PublicKeyCredential === "function" && navigator.credentials !== undefined;
}

/** @param {any} options as `PublicKeyCredentialCreationOptionsJSON` */
export function creationOptions(options) {
  return {
    ...options,
    challenge: decode(options.challenge),
    user: { ...options.user, id: decode(options.user.id) },
    excludeCredentials: (options.excludeCredentials ?? []).map(descriptor),
  };
}

/** @param {any} options as `PublicKeyCredentialRequestOptionsJSON` */
export function requestOptions(options) {
  return {
    ...options,
    challenge: decode(options.challenge),
    allowCredentials: (options.allowCredentials ?? []).map(descriptor),
  };
}

/** @param {any} described */
function descriptor(described) {
  return { ...described, id: decode(described.id) };
}

/** @param {any} options @returns {Promise<object>} a `RegistrationResponseJSON` */
export async function createPasskey(options) {
  const credential = await asked(() => navigator.credentials.create({ publicKey: creationOptions(options) }));
  const response = /** @type {AuthenticatorAttestationResponse} */ (credential.response);
  return {
    ...common(credential),
    response: {
      clientDataJSON: encode(response.clientDataJSON),
      attestationObject: encode(response.attestationObject),
      transports: response.getTransports?.() ?? [],
    },
  };
}

/** @param {any} options @returns {Promise<object>} an `AuthenticationResponseJSON` */
export async function usePasskey(options) {
  const credential = await asked(() => navigator.credentials.get({ publicKey: requestOptions(options) }));
  const response = /** @type {AuthenticatorAssertionResponse} */ (credential.response);
  const userHandle = response.userHandle === null ? {} : { userHandle: encode(response.userHandle) };
  return {
    ...common(credential),
    response: {
      clientDataJSON: encode(response.clientDataJSON),
      authenticatorData: encode(response.authenticatorData),
      signature: encode(response.signature),
      ...userHandle,
    },
  };
}

/** @param {() => Promise<Credential | null>} ask @returns {Promise<PublicKeyCredential>} */
async function asked(ask) {
  try {
    const credential = await ask();
    if (credential instanceof PublicKeyCredential) return credential;
  } catch (error) {
    // One name for "refused", "timed out" and "no such passkey": browsers do not say which.
    const isDeclined = error instanceof DOMException && (error.name === "NotAllowedError" || error.name === "AbortError");
    if (!isDeclined) throw error;
  }
  throw new Declined("the passkey was not used");
}

/** @param {PublicKeyCredential} credential */
function common(credential) {
  return { id: credential.id, rawId: encode(credential.rawId), type: credential.type, clientExtensionResults: {} };
}
