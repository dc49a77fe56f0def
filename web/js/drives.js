// The provider's names of a user's drives. UCloud's Core names drives by number, and a person
// cannot tell what `/5001/thesis` is. The signer asks the provider over the direct channel, and
// trusts no name that UCloud sends.

/** @typedef {import("./storage.js").KeyRecord} KeyRecord */

/**
 * A drive: its title, and whether programs start from it.
 * @typedef {{title: string, startup: boolean}} Drive
 */
/** Drives by every name with which a path can begin. @typedef {Map<string, Drive>} Drives */

/** How long an answer is used, in milliseconds. */
const FRESH_MS = 300_000;

/** Pause before asking again for a name that was not in the answer, in milliseconds. */
const AGAIN_MS = 5_000;

/**
 * How long a person waits for the answer, in milliseconds. The instance may have to start first.
 */
const PATIENCE_MS = 3_000;

/** The longest title, in characters. */
const TITLE_MAX = 200;

/**
 * Reads the provider's answer and skips malformed entries.
 * @param {any} answer
 * @returns {Drives}
 */
export function readDrives(answer) {
  /** @type {Drives} */
  const drives = new Map();
  for (const drive of Array.isArray(answer?.drives) ? answer.drives : []) {
    const { id, title, numbers, startup } = drive ?? {};
    if (typeof id !== "string" || typeof title !== "string" || !Array.isArray(numbers)) continue;
    for (const name of [id, ...numbers]) {
      if (typeof name === "string") drives.set(name, { title: title.slice(0, TITLE_MAX), startup: startup === true });
    }
  }
  return drives;
}

/** The drive with which a path begins; `null` if the text is not a path. @param {unknown} path */
export function driveIn(path) {
  return typeof path === "string" && path.startsWith("/") ? path.split("/")[1] ?? "" : null;
}

/**
 * The names of drives in an item.
 * @param {{[parameter: string]: unknown}} item
 * @returns {string[]}
 */
export function drivesIn(item) {
  return Object.values(item).map(driveIn).filter((name) => name !== null);
}

/** Fetches the drives and caches them. */
export class KnownDrives {
  #ask;
  #now;
  /**
   * By username.
   * @type {Map<string, {at: number, drives: Promise<Drives | null>, known: Drives | null}>}
   */
  #kept = new Map();

  /**
   * @param {(key: KeyRecord) => Promise<unknown>} ask
   * @param {() => number} now a monotonic clock, in milliseconds
   */
  constructor(ask, now = () => performance.now()) {
    this.#ask = ask;
    this.#now = now;
  }

  /**
   * The drives known now. Starts a request for missing ones and does not wait for it.
   * @param {KeyRecord} key
   * @param {string[]} names
   * @returns {Drives | null}
   */
  known(key, names) {
    void this.#fresh(key, names);
    return this.#kept.get(key.username)?.known ?? null;
  }

  /**
   * The drives, fetched if necessary; `null` if the provider does not answer.
   * @param {KeyRecord} key
   * @param {string[]} names
   * @returns {Promise<Drives | null>}
   */
  async of(key, names) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const late = new Promise((/** @type {(none: null) => void} */ resolve) => (timer = setTimeout(() => resolve(null), PATIENCE_MS)));
    const drives = await Promise.race([this.#fresh(key, names), late]);
    clearTimeout(timer);
    return drives;
  }

  /** @param {KeyRecord} key @param {string[]} names */
  #fresh(key, names) {
    const kept = this.#kept.get(key.username);
    const age = kept === undefined ? Infinity : this.#now() - kept.at;
    const isKnown = kept !== undefined && names.every((name) => kept.known === null || kept.known.has(name));
    if (kept !== undefined && age < (isKnown && kept.known !== null ? FRESH_MS : AGAIN_MS)) return kept.drives;
    /** @type {{at: number, drives: Promise<Drives | null>, known: Drives | null}} */
    const asked = { at: this.#now(), drives: Promise.resolve(null), known: kept?.known ?? null };
    asked.drives = this.#ask(key).then((answer) => (asked.known = readDrives(answer)), () => asked.known);
    this.#kept.set(key.username, asked);
    return asked.drives;
  }
}
