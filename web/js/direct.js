// Calls that this browser makes directly, without UCloud: a user's keys and passkeys at the
// provider. The signature on each is its only authority.

import { met } from "./ask.js";
import { projection } from "./digest.js";
import { publicJwk, renewalProof } from "./enrolment.js";
import { LIFETIME_S, signIntent } from "./intent.js";
import { algorithmOf } from "./jws.js";
import { makeTestedKeyPair } from "./key-pair.js";
import { Refused } from "./provider.js";
import { Differs } from "./table.js";
import { createPasskey, usePasskey } from "./webauthn.js";

/** @typedef {import("./storage.js").KeyRecord} KeyRecord */
/** @typedef {import("./storage.js").Storage} Storage */
/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./provider.js").Provider} Provider */
/** @typedef {import("./table.js").Table} Table */

/**
 * A key as the provider lists it. Times are seconds since 1970.
 * @typedef {{kid: string, name: string, algorithm: string, state: string, fingerprint: string,
 *   words?: string[], created: number, expires: number, lastUsed: number | null}} ListedKey
 */
/**
 * @typedef {{id: string, name: string, created: number, lastUsed: number | null, state?: string}}
 *   ListedPasskey
 */

export class DirectChannel {
  #page;
  #clock;
  #provider;
  /** @type {Promise<Table> | null} */
  #table = null;

  /** @param {{page: Page, clock: Clock, provider: Provider}} with */
  constructor({ page, clock, provider }) {
    this.#page = page;
    this.#clock = clock;
    this.#provider = provider;
  }

  /** @param {KeyRecord} key @returns {Promise<ListedKey[]>} */
  async keys(key) {
    return (await this.#ask(key, "keys.list", {})).keys;
  }

  /**
   * Replaces a key. The old key signs the request for the new one, and stays until it is removed
   * with the new one.
   * @param {KeyRecord} old
   * @param {Storage} storage
   * @returns {Promise<KeyRecord>}
   */
  async renew(old, storage) {
    const pair = await makeTestedKeyPair();
    const proof = await renewalProof(pair.privateKey, { origin: this.#page.origin, username: old.username, oldKid: old.kid });
    const parameters = { jwk: await publicJwk(pair.publicKey), alg: algorithmOf(pair.publicKey), name: old.name, proof };
    const { kid, expires } = await this.#ask(old, "keys.renew", parameters);
    const now = Math.floor(this.#clock.now());
    /** @type {KeyRecord} */
    const renewed = { ...old, kid, privateKey: pair.privateKey, created: now, expires, lastUsed: null };
    await storage.putKey(renewed);
    return renewed;
  }

  /**
   * The user's drives with the provider's titles: see drives.js.
   * @param {KeyRecord} key
   * @returns {Promise<unknown>}
   */
  async drives(key) {
    return this.#ask(key, "drives.list", {});
  }

  /**
   * The script that a job of this specification would run, with its digest.
   * @param {KeyRecord} key
   * @param {unknown} specification
   */
  async preview(key, specification) {
    return this.#ask(key, "jobs.preview", { specification });
  }

  /** @param {KeyRecord} key @param {string} kid */
  async removeKey(key, kid) {
    await this.#ask(key, "keys.remove", { kid });
  }

  /** @param {KeyRecord} key @returns {Promise<ListedPasskey[]>} */
  async passkeys(key) {
    return (await this.#ask(key, "passkeys.list", {})).passkeys;
  }

  /**
   * Enrols a passkey. The browser asks the user.
   * @param {KeyRecord} key
   * @param {string} name
   * @returns {Promise<string>} its id
   */
  async enrolPasskey(key, name) {
    const { publicKey } = await this.#ask(key, "passkeys.begin", { name });
    const credential = await createPasskey(publicKey);
    return (await this.#ask(key, "passkeys.finish", { credential })).id;
  }

  /** @param {KeyRecord} key @param {string} id */
  async removePasskey(key, id) {
    await this.#ask(key, "passkeys.remove", { id });
  }

  /**
   * Deposits the intent, and uses a passkey if the provider asks for one. A site may require that.
   * If any call needs a passkey, an existing one also has to confirm adding and removing passkeys.
   * @param {string} intent
   */
  async #vouch(intent) {
    const { stepUp } = await this.#provider.deposit(intent);
    if (stepUp === undefined) return;
    await this.#provider.post("intents/assertion", { intent, credential: await usePasskey(stepUp.publicKey) });
  }

  /**
   * @param {KeyRecord} key
   * @param {string} call
   * @param {{[name: string]: unknown}} parameters exactly the parameters of the call
   */
  async #ask(key, call, parameters) {
    // After a jump of this computer's clock, fetch the table: the answer carries the provider's
    // time.
    if (this.#clock.jump !== 0) this.#table = null;
    this.#table ??= this.#provider.table();
    const table = await this.#table.catch((error) => {
      this.#table = null;
      throw error;
    });
    const row = table.get(call);
    if (row?.from !== "user") throw new Refused(404, "NOT_FOUND", `this provider does not offer ${call}`);
    if (row.differs !== null) throw new Differs(row.differs);
    const statement = { origin: this.#page.origin, username: key.username, project: null, row, items: [parameters] };
    // A click on this page is the approval of a dangerous call. It gets a longer lifetime, because
    // the user may have to look for a security key.
    const asked = row.class === "danger" || met(row, projection(row, parameters)).length > 0;
    const lifetime = asked ? key.lifetimeMax : Math.min(LIFETIME_S, key.lifetimeMax);
    const intent = await signIntent(key, { ...statement, now: this.#clock.now(), lifetime, asked });
    if (asked) await this.#vouch(intent);
    // The path of a direct call is its name.
    return this.#provider.post(call.replace(".", "/"), parameters, intent);
  }
}
