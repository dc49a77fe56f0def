// A provider as the worker sees it: the extension's table of calls as far as the provider shares it, its clock, the user's drives there, and the
// ways to send it something. Holds nothing that cannot be fetched again, because the browser stops
// the worker whenever it likes.

import { Clock } from "../../js/clock.js";
import { DirectChannel } from "../../js/direct.js";
import { KnownDrives } from "../../js/drives.js";
import { signIntent, LIFETIME_S } from "../../js/intent.js";
import { Provider, Unreachable } from "../../js/provider.js";
import { needsAPerson } from "../../js/review.js";

/** @typedef {import("./settings.js").Site} Site */
/** @typedef {import("../../js/storage.js").KeyRecord} KeyRecord */
/** @typedef {import("../../js/review.js").Described} Described */
/** @typedef {import("../../js/table.js").Table} Table */

/** How long the provider may take to answer, in milliseconds: UCloud's page waits meanwhile. */
const PATIENCE_MS = 8_000;

/** How long a provider that did not answer is not asked again, in milliseconds. */
const DOWN_MS = 5_000;

/** How long a table is used, in milliseconds. The calls that need a passkey change with the configuration. */
const FRESH_MS = 300_000;

/** The provider asks for a passkey, which an extension's page cannot use. */
export class NeedsPasskey extends Error {
  name = "NeedsPasskey";
}

export class ConnectedProvider {
  /** @type {{at: number, table: Promise<Table>} | null} */
  #kept = null;
  /** The time of the last failure to fetch the table. */
  #failed = -Infinity;

  /** @param {Site} site @param {string} packedRows the address of the extension's own rows */
  constructor(site, packedRows) {
    this.site = site;
    this.clock = new Clock();
    const page = { provider: site.id, origin: site.origin, coreOrigin: site.ucloud, base: `${site.origin}/ucloud/${site.id}`, packedRows };
    this.provider = new Provider(page, this.clock);
    this.direct = new DirectChannel({ page, clock: this.clock, provider: this.provider });
    this.drives = new KnownDrives((key) => this.direct.drives(key));
  }

  /** The table of calls. Its answer carries the provider's time, so it comes before a signature. @returns {Promise<Table>} */
  async table() {
    const age = this.#kept === null ? Infinity : performance.now() - this.#kept.at;
    if (this.#kept === null || age > FRESH_MS || this.clock.jump !== 0) {
      if (performance.now() - this.#failed < DOWN_MS) throw new Unreachable("the provider did not answer a moment ago");
      this.#kept = { at: performance.now(), table: soon(this.provider.table()) };
    }
    const { table } = this.#kept;
    return table.catch((error) => {
      this.#kept = null;
      this.#failed = performance.now();
      throw error;
    });
  }

  /**
   * Signs a request.
   * @param {KeyRecord} key
   * @param {Described} request
   */
  async sign(key, request) {
    await this.table();
    const { row, items, project } = request;
    const asked = needsAPerson(request);
    const lifetime = asked ? key.lifetimeMax : Math.min(LIFETIME_S, key.lifetimeMax);
    return signIntent(key, {
      origin: this.site.origin, username: key.username, project, row, items, now: this.clock.now(), lifetime, asked,
    });
  }

  /**
   * The script that a job of this specification would run: see direct.js.
   * @param {KeyRecord} key
   * @param {unknown} specification
   */
  async preview(key, specification) {
    await this.table();
    return soon(this.direct.preview(key, specification));
  }

  /** Leaves an intent at the provider. @param {string} jws */
  async deposit(jws) {
    const { stepUp } = await soon(this.provider.deposit(jws));
    if (stepUp !== undefined) throw new NeedsPasskey("the provider asks for a passkey");
  }
}

/**
 * The answer, if it arrives in time.
 * @template T
 * @param {Promise<T>} answer
 * @returns {Promise<T>}
 */
async function soon(answer) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((/** @type {(never: never) => void} */ _, reject) => {
    timer = setTimeout(() => reject(new Unreachable("the provider does not answer")), PATIENCE_MS);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
