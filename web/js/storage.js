// What this browser keeps, in IndexedDB of the provider's origin, where no script of UCloud's reaches: keys, which can sign and can't be
// read, and connections under way. Whatever goes wrong here is one error: this browser does not keep keys.

/**
 * A key of this browser.
 * @typedef {object} KeyRecord
 * @property {string} kid its id; until the provider gave it one, a name of our own
 * @property {string} provider
 * @property {string} username whose it is
 * @property {"ES256"} alg
 * @property {CryptoKey} privateKey
 * @property {"offered" | "active"} state
 * @property {string} name
 * @property {number} created seconds since 1970
 * @property {number | null} expires
 * @property {number | null} lastUsed
 * @property {number} lifetimeMax how long an intent may live here, in seconds
 * @property {boolean} sessionOnly it is in a tab's memory and nowhere else
 */

/**
 * A connection under way, so that it goes on when its tab was closed.
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
 * @property {Offer | null} offer what the provider answered to the offered key
 * @property {"open" | "done"} state
 * @property {boolean} atCentre whether it was begun at the centre, and needs UCloud's word for the username
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
 * A ticket that UCloud gave this browser when its user pressed Connect. One of them confirms a connection that was begun at the centre
 * (protocol, section 6).
 * @typedef {object} UcloudTicket
 * @property {string} ticket
 * @property {string} provider
 * @property {string} username
 * @property {number} expiresAt seconds since 1970
 */

/** This browser keeps no keys: no IndexedDB, a private window, no room, or settings against it. */
export class NoStorage extends Error {
  name = "NoStorage";
}

const DATABASE = "countersign";
const KEYS = "keys";
const CONNECTIONS = "connections";
const TICKETS = "ucloud-tickets";

/** The stores of the database, with what names a record in each. Another one needs another version. */
const STORES = /** @type {const} */ ([[KEYS, "kid"], [CONNECTIONS, "ticketHash"], [TICKETS, "ticket"]]);
const VERSION = 2;

/** Where pages of this origin tell each other that the keys are others now. */
const CHANGED = "countersign-keys-changed";

/** How long a connection is remembered after it began, in seconds: as long as the provider remembers its ticket. */
const REMEMBERED_S = 75 * 60;

/** What both ways of keeping things can do. */
/**
 * @typedef {object} Storage
 * @property {boolean} sessionOnly
 * @property {() => Promise<KeyRecord[]>} keys
 * @property {(key: KeyRecord) => Promise<void>} putKey
 * @property {(kid: string) => Promise<void>} removeKey
 * @property {(ticketHash: string) => Promise<ConnectionRecord | undefined>} connection
 * @property {(provider: string, now: number) => Promise<ConnectionRecord[]>} connections those not long past, the latest first
 * @property {(connection: ConnectionRecord) => Promise<void>} putConnection
 * @property {(ticketHash: string) => Promise<void>} removeConnection
 * @property {(provider: string, username: string, now: number) => Promise<UcloudTicket[]>} ucloudTickets those that are valid
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
  // A later version of these pages in another tab must not wait for this one.
  database.onversionchange = () => database.close();
  return new Database(database);
}

/** Calls whenever another page has changed the keys. @param {() => void} tell */
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
   * One request in one transaction; done when the transaction is.
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

/** Keeps things in this tab's memory: all is gone when it is closed. @implements {Storage} */
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

/** @param {UcloudTicket[]} all @param {string} provider @param {string} username @param {number} now */
function valid(all, provider, username, now) {
  return all.filter((one) => one.provider === provider && one.username === username && now < one.expiresAt);
}

/** @param {ConnectionRecord[]} all @param {string} provider @param {number} now */
function recent(all, provider, now) {
  const ours = all.filter((one) => one.provider === provider && now - one.begun < REMEMBERED_S);
  return ours.sort((a, b) => b.begun - a.begun);
}
