// The signer: which pages it answers, what it signs, and when it asks a person first. It signs only
// calls that it can describe, exactly as shown, with a key of the user that the page names. A
// request that is dangerous, by its call or by an item, is signed only after a person approved it,
// and the intent says so. Does not touch the page: `ask` shows the question.

import { BadParameters } from "./digest.js";
import { drivesIn } from "./drives.js";
import { HEADER_MAX, LIFETIME_S, signIntent } from "./intent.js";
import { NotSigned, VERSION, readMessage } from "./messages.js";
import { Refused, Unreachable } from "./provider.js";
import { withScripts } from "./review-script.js";
import { describe, isOnStartupDrive, keyOf, needsAPerson } from "./review.js";
import { Declined } from "./webauthn.js";

/** @typedef {import("./messages.js").Asked} Asked */
/** @typedef {import("./storage.js").KeyRecord} KeyRecord */
/** @typedef {import("./table.js").Table} Table */
/** @typedef {import("./drives.js").Drives} Drives */

/** @typedef {import("./review.js").Described} Described */

/**
 * A question to a person.
 * @typedef {object} Question
 * @property {string} origin of the page that asks
 * @property {string} username
 * @property {Described[]} requests all requests of the message, the harmless ones too
 * @property {import("./drives.js").Drives | null} drives the provider's titles of the drives;
 *   `null` if it does not answer
 * @property {AbortSignal} withdrawn aborted when the page cancels its request
 */

/**
 * The signer's environment.
 * @typedef {object} Ground
 * @property {import("./page.js").Page} page
 * @property {import("./clock.js").Clock} clock
 * @property {{table: () => Promise<Table>, deposit: (jws: string) => Promise<any>, post: (path:
 *   string, body: object) => Promise<any>}} provider
 * @property {() => Promise<KeyRecord[]>} keys the keys of this browser
 * @property {{known: (key: KeyRecord, names: string[]) => Drives | null, of: (key: KeyRecord,
 *   names: string[]) => Promise<Drives | null>}} drives
 * @property {(key: KeyRecord, specification: unknown) => Promise<any>} preview asks the provider for
 *   the script of a job
 * @property {(seconds: number) => void} clockJumped reports that this computer's clock was set
 * @property {(question: Question) => Promise<boolean>} ask
 * @property {(options: object, request: Described, drives: Drives | null) => Promise<object>}
 *   usePasskey uses a passkey for that request
 * @property {(key: KeyRecord, requests: Described[], deposited: boolean) => void} signed reports
 *   signatures, for the list of the last ones
 * @property {(error: unknown) => void} failed reports an error that is not the page's, such as a
 *   refused intent
 * @property {(origin: string) => void} stranger reports a message from a page of another origin
 */

/** Maximum number of questions that wait for an answer. */
const WAITING_MAX = 20;

export class Signer {
  #ground;
  /** @type {Promise<Table> | null} */
  #table = null;
  /** Ends with the last question: they are asked one after the other. */
  #turn = Promise.resolve();
  /** Requests under way, by page and number. @type {Map<string, AbortController>} */
  #underWay = new Map();
  #waiting = 0;

  /** @param {Ground} ground */
  constructor(ground) {
    this.#ground = ground;
  }

  /** Fetches the table, so that the first request does not wait for it. */
  async prepare() {
    await this.#calls();
  }

  /**
   * Whether pages of this origin are answered: UCloud's and the signer's own.
   * @param {string} origin
   */
  admits(origin) {
    return origin === this.#ground.page.coreOrigin || origin === this.#ground.page.origin;
  }

  /**
   * Handles a message from a window.
   * @param {{origin: string, data: unknown}} event
   * @param {(answer: object) => void} reply answers that window, at that origin only
   */
  async take({ origin, data }, reply) {
    if (!this.admits(origin)) {
      this.#ground.stranger(origin);
      return;
    }
    const { channel, id } = /** @type {any} */ (data ?? {});
    const say = (/** @type {object} */ answer) => reply({ countersign: VERSION, channel, id, ...answer });
    try {
      const message = readMessage(data);
      if (message === null) return;
      if (message.type === "close") return;
      if (message.type === "instance") {
        // A public key, pinned when the user connected: the page checks tokens with it.
        const { page, clock } = this.#ground;
        const { instanceKey = null } = keyOf(await this.#ground.keys(), page.provider, message.username, clock.now());
        say({ type: "result", results: [{ instanceKey }] });
        return;
      }
      const name = `${origin} ${message.channel} ${message.id}`;
      if (message.type === "cancel") {
        this.#underWay.get(name)?.abort();
        return;
      }
      // A page that does not know whether its request arrived sends it again.
      if (this.#underWay.has(name)) return;
      const withdrawn = new AbortController();
      this.#underWay.set(name, withdrawn);
      try {
        const results = await this.#answer(message, origin, withdrawn.signal, () => say({ type: "asking" }));
        say({ type: "result", results });
      } finally {
        this.#underWay.delete(name);
      }
    } catch (error) {
      if (!(error instanceof NotSigned)) this.#ground.failed(error);
      const told = error instanceof NotSigned ? error : new NotSigned(error instanceof Declined ? "refused" : "provider", words(error));
      say({ type: "error", code: told.code, message: told.message });
    }
  }

  /**
   * @param {Asked} message
   * @param {string} origin
   * @param {AbortSignal} withdrawn
   * @param {() => void} asking reports that a person is being asked
   */
  async #answer(message, origin, withdrawn, asking) {
    const begun = performance.now();
    const key = keyOf(await this.#ground.keys(), this.#ground.page.provider, message.username, this.#ground.clock.now());
    const table = await this.#calls();
    const described = message.requests.map((request) => describe(table, request));
    const names = [...new Set(described.flatMap(({ items }) => items.flatMap(drivesIn)))];
    const known = names.length === 0 ? null : this.#ground.drives.known(key, names);
    const marked = described.map((request) => ({ ...request, ask: request.ask || isOnStartupDrive(request, known) }));
    const requests = await withScripts(marked, (specification) => this.#ground.preview(key, specification));
    const wantsAPerson = requests.some(needsAPerson);
    if (wantsAPerson) {
      const drives = names.length === 0 ? new Map() : await this.#ground.drives.of(key, names);
      await this.#approved({ origin, username: key.username, requests, drives, withdrawn }, asking);
    }
    await this.#settleClock();
    const results = [];
    for (const request of requests) {
      const jws = await this.#sign(key, request);
      if (message.type === "sign" && jws.length > HEADER_MAX) {
        throw new NotSigned("bad_parameters", "too many items for a header: ask for fewer at once, or deposit the intent");
      }
      results.push(jws);
    }
    if (!wantsAPerson) measured(begun);
    // A request that may need a passkey is deposited even if its intent is returned. The provider
    // then asks for the passkey, even if the rule is newer than the table.
    const deposits = requests.map((request) => message.type === "deposit" || needsAPerson(request));
    for (const [at, jws] of results.entries()) {
      const request = requests[at];
      if (deposits[at] && request !== undefined) await this.#deposit(jws, request, known);
    }
    this.#ground.signed(key, requests, message.type === "deposit");
    return results.map((jws) => (message.type === "sign" ? { jws } : {}));
  }

  /** @param {Question} question @param {() => void} asking */
  async #approved(question, asking) {
    if (this.#waiting >= WAITING_MAX) throw new NotSigned("refused", "too many requests wait for the user already");
    this.#waiting += 1;
    const before = this.#turn;
    const answer = (async () => {
      await before;
      if (question.withdrawn.aborted) return false;
      asking();
      return this.#ground.ask(question);
    })();
    this.#turn = answer.then(() => {}, () => {});
    try {
      if (!(await answer)) throw new NotSigned("refused", "the user said no");
    } finally {
      this.#waiting -= 1;
    }
  }

  /** @param {KeyRecord} key @param {Described} request */
  async #sign(key, request) {
    const { row, items, project } = request;
    const asked = needsAPerson(request);
    const lifetime = asked ? key.lifetimeMax : Math.min(LIFETIME_S, key.lifetimeMax);
    const { origin } = this.#ground.page;
    try {
      return await signIntent(key, { origin, username: key.username, project, row, items, now: this.#ground.clock.now(), lifetime, asked });
    } catch (error) {
      if (error instanceof BadParameters) throw new NotSigned("bad_parameters", error.message);
      throw error;
    }
  }

  /**
   * Deposits an intent, and adds a passkey's assertion if the provider asks for one.
   * @param {string} jws
   * @param {Described} request
   * @param {Drives | null} drives
   */
  async #deposit(jws, request, drives) {
    const { stepUp } = await this.#ground.provider.deposit(jws);
    if (stepUp === undefined) return;
    const credential = await this.#ground.usePasskey(stepUp.publicKey, request, drives);
    await this.#ground.provider.post("intents/assertion", { intent: jws, credential });
  }

  /**
   * After this computer's clock was set, asks the provider for the time. Otherwise the provider
   * could find the signature too old or too new.
   */
  async #settleClock() {
    const { jump } = this.#ground.clock;
    if (jump === 0) return;
    this.#ground.clockJumped(jump);
    this.#table = null;
    await this.#calls();
  }

  async #calls() {
    this.#table ??= this.#ground.provider.table();
    return this.#table.catch((error) => {
      this.#table = null;
      throw error;
    });
  }
}

/** @param {unknown} error */
function words(error) {
  if (error instanceof Refused) return `the provider refused the intent (${error.code}): ${error.message}`;
  if (error instanceof Unreachable) return "the provider does not answer";
  if (error instanceof Declined) return "the user did not use a passkey";
  return "the signer could not do it";
}

/**
 * Records the duration of a signature: `performance.getEntriesByName("countersign.sign")`.
 * @param {number} begun
 */
function measured(begun) {
  if (performance.getEntriesByName("countersign.sign").length >= 200) performance.clearMeasures("countersign.sign");
  performance.measure("countersign.sign", { start: begun });
}
