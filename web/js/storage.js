// The browser's storage: IndexedDB of the provider's origin, which UCloud's scripts cannot access.
// It holds non-extractable keys and connections under way. Every failure is the same error: this
// browser does not keep keys.

/**
 * A key of this browser.
 * @typedef {object} KeyRecord
 * @property {string} kid its id; until the provider assigns one, a temporary name
 * @property {string} provider
 * @property {string} username the owner
 * @property {CryptoKey} privateKey
 * @property {"offered" | "active"} state
 * @property {string} name
 * @property {number} created seconds since 1970
 * @property {number | null} expires
 * @property {number | null} lastUsed
 * @property {number} lifetimeMax longest lifetime of an intent, in seconds
 * @property {boolean} sessionOnly whether it is only in a tab's memory
 * @property {JsonWebKey | null} [instanceKey] the key with which the user's instance signs one-time
 *   tokens, as the provider gave it when the user connected. Absent if that was before seals
 */

/**
 * A connection under way, stored so that it can continue after its tab was closed.
 * @typedef {object} ConnectionRecord
 * @property {string} ticketHash
 * @property {string} ticket
 * @property {string} provider
 * @property {string} username
 * @property {CryptoKey} privateKey
 * @property {CryptoKey} publicKey
 * @property {number} begun seconds since 1970
 * @property {number} expiresAt
 * @property {number} lifetimeMax
 * @property {Offer | null} offer the provider's answer to the offer
 * @property {"open" | "done"} state
 * @property {boolean} atCentre whether it was begun at the centre, so that UCloud has to confirm
 *   the username
 */

/**
 * The provider's answer to an offered key.
 * @typedef {object} Offer
 * @property {string} kid
 * @property {string} code
 * @property {string} command
 * @property {string} fingerprint
 * @property {string[]} [words]
 * @property {string[]} [qr]
 */

/**
 * A ticket that UCloud issued to this browser when its user pressed Connect. It can confirm a
 * connection that was begun at the centre (protocol, section 6).
 * @typedef {object} UcloudTicket
 * @property {string} ticket
 * @property {string} provider
 * @property {string} username
 * @property {number} expiresAt seconds since 1970
 */

/** This browser keeps no keys: no IndexedDB, a private window, no space, or its settings. */
export class NoStorage extends Error {
  name = "NoStorage";
}

const DATABASE = "countersign";
const KEYS = "keys";
const CONNECTIONS = "connections";
const TICKETS = "ucloud-tickets";

/**
 * The stores of the database, with the key path of each. A new store needs a new database version.
 */
const STORES = /** @type {const} */ ([[KEYS, "kid"], [CONNECTIONS, "ticketHash"], [TICKETS, "ticket"]]);
const VERSION = 2;

/** Channel on which pages of this origin report that the keys have changed. */
const CHANGED = "countersign-keys-changed";

/**
 * How long a connection is remembered after it began, in seconds: as long as the provider remembers
 * its ticket.
 */
const REMEMBERED_S = 75 * 60;

/** The interface of both kinds of storage. */
/**
 * @typedef {object} Storage
 * @property {boolean} sessionOnly
 * @property {() => Promise<KeyRecord[]>} keys
 * @property {(key: KeyRecord) => Promise<void>} putKey
 * @property {(kid: string) => Promise<void>} removeKey
 * @property {(ticketHash: string) => Promise<ConnectionRecord | undefined>} connection
 * @property {(provider: string, now: number) => Promise<ConnectionRecord[]>} connections the recent
 *   ones, the latest first
 * @property {(connection: ConnectionRecord) => Promise<void>} putConnection
 * @property {(ticketHash: string) => Promise<void>} removeConnection
 * @property {(provider: string, username: string, now: number) => Promise<UcloudTicket[]>}
 *   ucloudTickets the valid ones
 * @property {(ticket: UcloudTicket) => Promise<void>} putUcloudTicket
 * @property {(ticket: string) => Promise<void>} removeUcloudTicket
 */

/** Opens the database. @returns {Promise<Storage>} */
export async function openStorage() {
  const database = await new Promise((/** @type {(database: IDBDatabase) => void} */ resolve, reject) => {
    const opening = indexedDB.open(DATABASE, VERSION);
    opening.onupgradeneeded = () => {
      for (const [name, keyPath] of STORES) {
        if (!opening.result.objectStoreNames.contains(name)) opening.result.createObjectStore(name, { keyPath });
      }
    };
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
    opening.onblocked = () => reject(new Error("the database is held by another tab"));
  }).catch((error) => {
    throw new NoStorage("IndexedDB does not open", { cause: error });
  });
  // Do not block a newer version of these pages in another tab.
  database.onversionchange = () => database.close();
  return new Database(database);
}

/** Calls `tell` whenever another page has changed the keys. @param {() => void} tell */
export function onKeysChanged(tell) {
  new BroadcastChannel(CHANGED).onmessage = tell;
}

/** @implements {Storage} */
class Database {
  sessionOnly = false;
  #database;
  #changed = new BroadcastChannel(CHANGED);

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
  }

  keys() {
    return this.#do(KEYS, "readonly", (store) => store.getAll());
  }

  async putKey(/** @type {KeyRecord} */ key) {
    await this.#do(KEYS, "readwrite", (store) => store.put(key));
    this.#changed.postMessage(null);
  }

  async removeKey(/** @type {string} */ kid) {
    await this.#do(KEYS, "readwrite", (store) => store.delete(kid));
    this.#changed.postMessage(null);
  }

  connection(/** @type {string} */ ticketHash) {
    return this.#do(CONNECTIONS, "readonly", (store) => store.get(ticketHash));
  }

  async connections(/** @type {string} */ provider, /** @type {number} */ now) {
    /** @type {ConnectionRecord[]} */
    const all = await this.#do(CONNECTIONS, "readonly", (store) => store.getAll());
    return recent(all, provider, now);
  }

  async putConnection(/** @type {ConnectionRecord} */ connection) {
    await this.#do(CONNECTIONS, "readwrite", (store) => store.put(connection));
  }

  async removeConnection(/** @type {string} */ ticketHash) {
    await this.#do(CONNECTIONS, "readwrite", (store) => store.delete(ticketHash));
  }

  async ucloudTickets(/** @type {string} */ provider, /** @type {string} */ username, /** @type {number} */ now) {
    /** @type {UcloudTicket[]} */
    const all = await this.#do(TICKETS, "readonly", (store) => store.getAll());
    for (const { ticket } of all.filter((one) => one.expiresAt <= now)) await this.removeUcloudTicket(ticket);
    return valid(all, provider, username, now);
  }

  async putUcloudTicket(/** @type {UcloudTicket} */ ticket) {
    await this.#do(TICKETS, "readwrite", (store) => store.put(ticket));
  }

  async removeUcloudTicket(/** @type {string} */ ticket) {
    await this.#do(TICKETS, "readwrite", (store) => store.delete(ticket));
  }

  /**
   * Makes one request in one transaction, and waits until the transaction completes.
   * @param {string} name
   * @param {IDBTransactionMode} mode
   * @param {(store: IDBObjectStore) => IDBRequest} work
   * @returns {Promise<any>}
   */
  async #do(name, mode, work) {
    try {
      const transaction = this.#database.transaction(name, mode);
      const request = work(transaction.objectStore(name));
      await new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
        transaction.onerror = () => reject(transaction.error);
      });
      return request.result;
    } catch (error) {
      throw new NoStorage("IndexedDB does not keep what it is given", { cause: error });
    }
  }
}

/**
 * Storage in this tab's memory. Its content is lost when the tab is closed.
 * @implements {Storage}
 */
export class SessionStorage {
  sessionOnly = true;
  /** @type {Map<string, KeyRecord>} */
  #keys = new Map();
  /** @type {Map<string, ConnectionRecord>} */
  #connections = new Map();
  /** @type {Map<string, UcloudTicket>} */
  #tickets = new Map();

  async keys() {
    return [...this.#keys.values()];
  }

  async putKey(/** @type {KeyRecord} */ key) {
    this.#keys.set(key.kid, { ...key, sessionOnly: true });
  }

  async removeKey(/** @type {string} */ kid) {
    this.#keys.delete(kid);
  }

  async connection(/** @type {string} */ ticketHash) {
    return this.#connections.get(ticketHash);
  }

  async connections(/** @type {string} */ provider, /** @type {number} */ now) {
    return recent([...this.#connections.values()], provider, now);
  }

  async putConnection(/** @type {ConnectionRecord} */ connection) {
    this.#connections.set(connection.ticketHash, connection);
  }

  async removeConnection(/** @type {string} */ ticketHash) {
    this.#connections.delete(ticketHash);
  }

  async ucloudTickets(/** @type {string} */ provider, /** @type {string} */ username, /** @type {number} */ now) {
    return valid([...this.#tickets.values()], provider, username, now);
  }

  async putUcloudTicket(/** @type {UcloudTicket} */ ticket) {
    this.#tickets.set(ticket.ticket, ticket);
  }

  async removeUcloudTicket(/** @type {string} */ ticket) {
    this.#tickets.delete(ticket);
  }
}

/**
 * @param {UcloudTicket[]} all
 * @param {string} provider
 * @param {string} username
 * @param {number} now
 */
function valid(all, provider, username, now) {
  return all.filter((one) => one.provider === provider && one.username === username && now < one.expiresAt);
}

/** @param {ConnectionRecord[]} all @param {string} provider @param {number} now */
function recent(all, provider, now) {
  const ours = all.filter((one) => one.provider === provider && now - one.begun < REMEMBERED_S);
  return ours.sort((a, b) => b.begun - a.begun);
}
