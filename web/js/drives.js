// What the provider itself calls the drives of a user. UCloud's Core names them by numbers, and a person who is asked about `/5001/thesis` cannot
// tell what that is; so the signer asks the provider, over the direct channel, and believes UCloud nothing of it.

/** @typedef {import("./storage.js").KeyRecord} KeyRecord */

/** A drive: what it is called, and whether programs start from where it lies. @typedef {{title: string, startup: boolean}} Drive */
/** Drives by every name that a path can begin with. @typedef {Map<string, Drive>} Drives */

/** How long an answer is used, in milliseconds. */
const FRESH_MS = 300_000;

/** How soon it is asked again for a name that was not in the answer, in milliseconds. */
const AGAIN_MS = 5_000;

/** How long a person waits for it, in milliseconds. The instance may have to be started. */
const PATIENCE_MS = 3_000;

/** The longest title, in characters. */
const TITLE_MAX = 200;

/**
 * Reads the provider's answer; what is not of its form is left out.
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

/** The drive that a path begins with, by name; `null` for what is no path. @param {unknown} path */
export function driveIn(path) {
  return typeof path === "string" && path.startsWith("/") ? path.split("/")[1] ?? "" : null;
}

/** The names of drives in an item. @param {{[parameter: string]: unknown}} item @returns {string[]} */
export function drivesIn(item) {
  return Object.values(item).map(driveIn).filter((name) => name !== null);
}

/** Asks the provider, and remembers. */
export class KnownDrives {
  #ask;
  #now;
  /** By username. @type {Map<string, {at: number, drives: Promise<Drives | null>, known: Drives | null}>} */
  #kept = new Map();

  /** @param {(key: KeyRecord) => Promise<unknown>} ask @param {() => number} now milliseconds, by a clock that nobody sets */
  constructor(ask, now = () => performance.now()) {
    this.#ask = ask;
    this.#now = now;
  }

  /** What is known by now; asks for what is not, and does not wait. @param {KeyRecord} key @param {string[]} names @returns {Drives | null} */
  known(key, names) {
    void this.#fresh(key, names);
    return this.#kept.get(key.username)?.known ?? null;
  }

  /** The drives, asked for if need be; `null` if the provider does not say. @param {KeyRecord} key @param {string[]} names @returns {Promise<Drives | null>} */
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
