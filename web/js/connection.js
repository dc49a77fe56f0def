// The connection procedure, from a ticket to a tested key (protocol, section 6). Does not touch the
// page: events go to `show`, so that tests run without a browser. Each step is stored before the
// next begins, so that closing the tab loses nothing.

import { enrolmentProof, isTicket, publicJwk, ticketHash } from "./enrolment.js";
import { signIntent } from "./intent.js";
import { algorithmOf } from "./jws.js";
import { makeTestedKeyPair, testKeyPair } from "./key-pair.js";
import { Refused, Unreachable } from "./provider.js";
import { NoStorage } from "./storage.js";

/** @typedef {import("./storage.js").Storage} Storage */
/** @typedef {import("./storage.js").ConnectionRecord} ConnectionRecord */
/** @typedef {import("./storage.js").KeyRecord} KeyRecord */
/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./clock.js").Clock} Clock */

/**
 * Why a connection ends without success. The page has a text for each.
 * @typedef {"no-ticket" | "unknown" | "expired" | "withdrawn" | "second-offer" | "interrupted" |
 *   "used" | "no-storage" | "no-key" | "key-refused" | "busy" | "test-failed" | "other-provider" |
 *   "begin-at-centre"} ProblemKind
 */

/** The connection cannot continue. */
export class Problem extends Error {
  name = "Problem";

  /** @param {ProblemKind} kind @param {string} [why] the provider's reason */
  constructor(kind, why = "") {
    super(why || kind);
    this.kind = kind;
    this.why = why;
  }
}

/**
 * State to show. Members that are absent have not changed.
 * @typedef {object} View
 * @property {string} [username]
 * @property {number} [expiresAt] seconds since 1970, by the provider's clock
 * @property {{lifetimeMax: number, futureSkew: number}} [window]
 * @property {string} [account] the account at the centre that began the connection
 * @property {string} [ticketHash] another connection that this page follows now
 * @property {boolean} [unconfirmed] UCloud has not yet confirmed the username
 * @property {boolean} [made] the key is created, stored and tested
 * @property {import("./storage.js").Offer} [offer]
 * @property {boolean} [approved]
 * @property {boolean} [told] UCloud knows of the connection
 * @property {boolean} [tested] the provider has verified a first signature
 * @property {boolean} [secondOffer] another browser offered a key after the approval
 * @property {KeyRecord} [key] the finished key
 * @property {number | null} [retryAt] the provider does not answer; time of the next attempt, in
 *   milliseconds since 1970
 */

/** Delays between attempts while the provider does not answer, in milliseconds. */
const RETRIES_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

/** Assumed if the provider does not state it. */
const WINDOW = { lifetimeMax: 60, futureSkew: 5 };

/** The call of the first signature. No table has it, so its intent authorises nothing else. */
const PROBE = /** @type {import("./table.js").Row} */ ({
  call: "connect.probe", items: "whole", bound: [], class: "read", askIf: [], from: "user", words: null, isProof: false, stepUp: false, user: [], differs: null,
});

export class Connection {
  #page;
  #clock;
  #provider;
  #storage;
  #show;
  #agree;
  #wake = () => {};

  /**
   * @param {object} with
   * @param {Page} with.page
   * @param {Clock} with.clock
   * @param {{post: (path: string, body: object) => Promise<any>}} with.provider
   * @param {Storage} with.storage
   * @param {(view: View) => void} with.show
   * @param {(account: string) => Promise<void>} with.agree asks whether the account at the centre
   *   belongs to the user
   */
  constructor({ page, clock, provider, storage, show, agree }) {
    this.#page = page;
    this.#clock = clock;
    this.#provider = provider;
    this.#storage = storage;
    this.#show = show;
    this.#agree = agree;
  }

  /** Retries immediately if it is waiting for a provider that does not answer. */
  retryNow() {
    this.#wake();
  }

  /**
   * Runs the procedure to the end.
   * @param {string} ticket
   * @param {string} keyName the key's name
   * @returns {Promise<any>}
   * @throws {Problem}
   */
  async run(ticket, keyName) {
    if (!isTicket(ticket)) throw new Problem("no-ticket");
    const hash = await ticketHash(ticket);
    const described = await this.#ask("connect/describe", { ticket });
    if (described.provider !== this.#page.provider) throw new Problem("other-provider");
    const window = described.window ?? WINDOW;
    this.#show({ username: described.username, expiresAt: described.expiresAt, window });
    if (described.state === "dead") throw dead(described.why);
    if (typeof described.account === "string") this.#show({ account: described.account });
    if (described.begun === "at_core" && described.state === "open") {
      const here = await this.#confirmsAnother(ticket, described);
      if (here !== undefined) {
        this.#show({ ticketHash: here.ticketHash });
        return this.run(here.ticket, keyName);
      }
      if (described.begin === "provider") throw new Problem("begin-at-centre");
    }

    // Two tabs with one link must not offer two keys: the provider would take the second for an
    // attacker's.
    const record = await exclusively(`countersign ${hash}`, () => this.#offered(ticket, hash, described, window, keyName));
    if (record.offer === null) throw new Problem("interrupted");
    this.#show({ made: true, offer: record.offer });
    return this.#followed(record, record.offer.kid, keyName);
  }

  /**
   * The connection of this browser that was begun at the centre and needs this ticket of UCloud's.
   * @param {string} ticket
   * @param {any} described
   */
  async #confirmsAnother(ticket, { username, expiresAt }) {
    const now = this.#clock.now();
    await this.#storage.putUcloudTicket({ provider: this.#page.provider, username, ticket, expiresAt });
    const all = await this.#storage.connections(this.#page.provider, now);
    const waiting = all.filter((one) => one.atCentre && one.state === "open" && one.username === username && now < one.expiresAt);
    for (const one of waiting) {
      if (one.offer !== null && (await this.#confirmed(one, ticket))) return one;
    }
    return undefined;
  }

  /**
   * Presents a UCloud ticket for a connection that was begun at the centre.
   * @param {ConnectionRecord} record
   * @param {string} ucloudTicket
   */
  async #confirmed({ ticket }, ucloudTicket) {
    try {
      await this.#provider.post("connect/confirm", { ticket, ucloudTicket });
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
      return false;
    }
    await this.#storage.removeUcloudTicket(ucloudTicket);
    return true;
  }

  /**
   * Returns the connection with its offer, made now or earlier.
   * @param {string} ticket
   * @param {string} hash
   * @param {any} described
   * @param {{lifetimeMax: number}} window
   * @param {string} keyName
   * @returns {Promise<ConnectionRecord>}
   */
  async #offered(ticket, hash, described, window, keyName) {
    const known = await this.#storage.connection(hash);
    if (known?.offer) return known;
    if (described.state === "approved" || described.state === "connected") throw new Problem("used");
    // The sender of the link began the connection, so the user confirms that the account is theirs
    // before a key is created.
    if (known === undefined && typeof described.account === "string") await this.#agree(described.account);
    const record = known ?? (await this.#begun(ticket, hash, described, window));
    this.#show({ made: true });
    const proof = await enrolmentProof(record.privateKey, {
      origin: this.#page.origin, ticket, username: described.username, nonce: described.nonce,
    });
    // If another key was offered first, this second offer ends the ticket, so that the user does
    // not approve the other key by mistake.
    const body = { ticket, jwk: await publicJwk(record.publicKey), alg: algorithmOf(record.publicKey), proof, name: keyName };
    const offer = await this.#offer(ticket, body, known !== undefined);
    const offered = { ...record, offer };
    await this.#storage.putConnection(offered);
    return offered;
  }

  /**
   * Makes the offer exactly once. After a lost answer, asks the provider whether the offer arrived.
   * @param {string} ticket
   * @param {object} body
   * @param {boolean} mayHaveArrived an earlier attempt of this browser ended without an answer
   * @returns {Promise<import("./storage.js").Offer>}
   */
  async #offer(ticket, body, mayHaveArrived) {
    for (;;) {
      try {
        return await this.#provider.post("connect/offer", body);
      } catch (error) {
        const isUnanswered = error instanceof Unreachable || (error instanceof Refused && error.status >= 500);
        if (!isUnanswered && !(error instanceof Refused)) throw error;
        if (!isUnanswered && error.code !== "TICKET_DEAD") throw refusal(error);
        mayHaveArrived ||= isUnanswered;
      }
      const { state, why } = await this.#ask("connect/describe", { ticket });
      const isOffered = state === "offered" || state === "unconfirmed";
      if (mayHaveArrived && (isOffered || why === "second_offer")) throw new Problem("interrupted");
      if (state !== "open") throw dead(why);
    }
  }

  /**
   * Creates a key, stores it and reads it back before it is offered.
   * @param {string} ticket
   * @param {string} hash
   * @param {any} described
   * @param {{lifetimeMax: number}} window
   * @returns {Promise<ConnectionRecord>}
   */
  async #begun(ticket, hash, described, window) {
    const { privateKey, publicKey } = await makeTestedKeyPair().catch((error) => {
      throw new Problem("no-key", error.message);
    });
    try {
      await this.#storage.putConnection({
        ticketHash: hash, ticket, provider: this.#page.provider, username: described.username, privateKey, publicKey,
        begun: Math.floor(this.#clock.now()), expiresAt: described.expiresAt, lifetimeMax: window.lifetimeMax, offer: null,
        state: "open", atCentre: described.begun === "at_the_centre",
      });
      const kept = await this.#storage.connection(hash);
      if (kept === undefined) throw new NoStorage("what was kept is not there");
      await testKeyPair(kept);
      return kept;
    } catch {
      // In every case the browser does not return a key that works.
      throw new Problem("no-storage");
    }
  }

  /** @param {ConnectionRecord} record @param {string} kid @param {string} keyName */
  async #followed(record, kid, keyName) {
    /** @type {KeyRecord | null} */
    let key = null;
    /** @type {string | undefined} */
    let after;
    for (;;) {
      const asIs = { ticket: record.ticket };
      // With `after`, the provider answers when the state changes. After an outage the question is
      // repeated without it.
      const status = await this.#ask("connect/status", after === undefined ? asIs : { ...asIs, after }, asIs);
      after = status.state;
      if (status.state === "dead") throw dead(status.why);
      if (status.state === "unconfirmed") {
        const kept = await this.#storage.ucloudTickets(record.provider, record.username, this.#clock.now());
        for (const one of kept) {
          if (await this.#confirmed(record, one.ticket)) break;
        }
      }
      this.#show({ unconfirmed: status.state === "unconfirmed" });
      if (status.state === "approved" || status.state === "connected") {
        if (status.kid !== kid) throw new Problem("used");
        this.#show({ approved: true, told: status.coreTold === true, secondOffer: status.secondOffer === true });
        key ??= await this.#tested(record, kid, keyName, status.instanceKey ?? null);
        this.#show({ tested: true, key });
        if (status.coreTold === true) return;
      }
    }
  }

  /**
   * Makes the first signature with the key and has the provider verify it.
   * @param {ConnectionRecord} record
   * @param {string} kid
   * @param {string} keyName
   * @param {JsonWebKey | null} instanceKey
   */
  async #tested(record, kid, keyName, instanceKey) {
    const now = this.#clock.now();
    /** @type {KeyRecord} */
    const key = {
      kid, provider: record.provider, username: record.username, privateKey: record.privateKey, state: "active",
      name: keyName, created: Math.floor(now), expires: null, lastUsed: Math.floor(now), lifetimeMax: record.lifetimeMax,
      sessionOnly: this.#storage.sessionOnly, instanceKey,
    };
    const known = (await this.#storage.keys()).find((one) => one.kid === kid);
    if (record.state === "done" && known !== undefined) return known;
    // Stored before it is tested: this browser could not remove an approved key that it has lost.
    await this.#storage.putKey(known ?? key);
    const intent = await signIntent(key, {
      origin: this.#page.origin, username: key.username, project: null, row: PROBE, items: [{}], now: this.#clock.now(),
    });
    try {
      await this.#ask("connect/probe", { ticket: record.ticket, intent });
    } catch (error) {
      if (error instanceof Problem) throw new Problem("test-failed", error.why);
      throw error;
    }
    await this.#storage.putConnection({ ...record, state: "done" });
    return known ?? key;
  }

  /**
   * Repeats the question until the provider answers.
   * @param {string} path
   * @param {object} body
   * @param {object} again body of the repeated question
   */
  async #ask(path, body, again = body) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await this.#provider.post(path, attempt === 0 ? body : again);
        if (attempt > 0) this.#show({ retryAt: null });
        return answer;
      } catch (error) {
        if (error instanceof Refused && error.status < 500) throw refusal(error);
        if (!(error instanceof Unreachable || error instanceof Refused)) throw error;
      }
      const wait = RETRIES_MS[Math.min(attempt, RETRIES_MS.length - 1)] ?? 0;
      this.#show({ retryAt: Date.now() + wait });
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, wait);
        this.#wake = () => {
          clearTimeout(timer);
          resolve(undefined);
        };
      });
    }
  }
}

/** @param {Refused} refused */
function refusal({ status, code, message: why }) {
  if (code === "TICKET_DEAD") return new Problem("second-offer");
  if (code === "KEY_REFUSED") return new Problem("key-refused", why);
  if (status === 404) return new Problem("unknown");
  if (status === 429) return new Problem("busy", why);
  return new Problem("key-refused", why);
}

/** @param {unknown} why */
function dead(why) {
  if (why === "expired") return new Problem("expired");
  if (why === "withdrawn") return new Problem("withdrawn");
  return new Problem("second-offer");
}

/**
 * Runs one at a time in all tabs. If the browser has no locks, does not exclude other tabs.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
async function exclusively(name, work) {
  return globalThis.navigator?.locks === undefined ? work() : navigator.locks.request(name, work);
}
