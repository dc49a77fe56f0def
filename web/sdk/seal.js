// The browser's half of a sealed session (protocol, section 10): what page and instance exchange is
// closed to the gateway between them. HPKE in base mode (RFC 9180: DHKEM(P-256, HKDF-SHA256),
// HKDF-SHA256, AES-256-GCM) by WebCrypto, and the records. The caller has verified the token.

/** What a record is: its first byte. */
export const KIND = { FIRST: 0, PART: 1, MESSAGE: 2, END: 3 };

/** Most plaintext of a record, in bytes. */
export const PLAINTEXT_MAX = 64 * 1024;

/** Bytes of a record beside its plaintext: its kind and the tag of AES-GCM. */
const OVERHEAD = 17;

/** Length of the salt of a piece, in bytes. */
const SALT = 16;

const KEM = "DHKEM(P-256, HKDF-SHA256)";
const CURVE = { name: "ECDH", namedCurve: "P-256" };
const KEM_SUITE = Uint8Array.of(75, 69, 77, 0, 0x10); // "KEM"
const SUITE = Uint8Array.of(72, 80, 75, 69, 0, 0x10, 0, 1, 0, 2); // "HPKE"

/** A record is not the next one that the instance sealed. */
export class Unopened extends Error {
  name = "Unopened";
}

/**
 * Agrees on keys with the instance that made a token; null if the token offers no seal.
 * @param {string} token its signature has been verified
 * @returns {Promise<SealingKey | null>}
 */
export async function agree(token) {
  const { seal } = claimsOf(token);
  if (seal === undefined) return null;
  if (seal?.kem !== KEM) throw new Unopened("the token's seal is of no known suite");
  return setUp(fromBase64url(seal.pk), await sha256(text(token)));
}

/**
 * `SetupBaseS`.
 * @param {Bytes} publicKey
 * @param {Bytes} info
 * @param {CryptoKeyPair} [ephemeral] for the RFC's vectors
 * @returns {Promise<SealingKey>}
 */
export async function setUp(publicKey, info, ephemeral) {
  const peer = await crypto.subtle.importKey("raw", publicKey, CURVE, true, []);
  const own = ephemeral ?? /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey(CURVE, false, ["deriveBits"]));
  const enc = new Uint8Array(await crypto.subtle.exportKey("raw", own.publicKey));
  const dh = new Uint8Array(await crypto.subtle.deriveBits({ name: "ECDH", public: peer }, own.privateKey, 256));
  const shared = await expand(KEM_SUITE, await extract(KEM_SUITE, NOTHING, "eae_prk", dh), "shared_secret", joined(enc, publicKey));
  const hashes = [await extract(SUITE, NOTHING, "psk_id_hash", NOTHING), await extract(SUITE, NOTHING, "info_hash", info)];
  const secret = await extract(SUITE, shared, "secret", NOTHING);
  return new SealingKey(enc, await expand(SUITE, secret, "exp", joined(Uint8Array.of(0), ...hashes)));
}

/** A sender's HPKE context. */
export class SealingKey {
  #exporter;
  /** The encapsulated key in base64url, for the intent and for the request. */
  enc;

  /** @param {Bytes} enc @param {Bytes} exporter */
  constructor(enc, exporter) {
    this.enc = base64url(enc);
    this.#exporter = exporter;
  }

  /** `Export` of 32 bytes. @param {Bytes} context */
  async export(context) {
    return expand(SUITE, this.#exporter, "sec", context);
  }

  /**
   * The two directions of the session that this intent opens.
   * @param {string} intent
   */
  async session(intent) {
    const hash = await sha256(text(intent));
    const key = async (/** @type {string} */ label) => keyOf(await this.export(joined(text(label), hash)));
    return { sealer: new Sealer(await key("countersign up")), opener: new Opener(await key("countersign down")) };
  }

  /**
   * Seals a piece of an upload: a salt, and records with their lengths. The salt is drawn each time,
   * so a piece that is sealed again has another key. `isAnswer` recognises the instance's answer to
   * this piece.
   * @param {number} offset
   * @param {number} total
   * @param {Bytes} bytes
   * @returns {Promise<{body: Bytes, isAnswer: (taken: unknown) => Promise<boolean>}>}
   */
  async piece(offset, total, bytes) {
    const salt = crypto.getRandomValues(new Uint8Array(SALT));
    const place = new DataView(new ArrayBuffer(16));
    place.setBigInt64(0, BigInt(offset));
    place.setBigInt64(8, BigInt(total));
    const key = async (/** @type {string} */ label) => keyOf(await this.export(joined(text(label), salt, new Uint8Array(place.buffer))));
    const sealer = new Sealer(await key("countersign piece"));
    const records = [sealer.seal(KIND.FIRST, NOTHING)];
    for (let at = 0; at < bytes.length; at += PLAINTEXT_MAX) {
      records.push(sealer.seal(KIND.MESSAGE, bytes.subarray(at, at + PLAINTEXT_MAX)));
    }
    records.push(sealer.seal(KIND.END, NOTHING));
    const sealed = await Promise.all(records);
    return {
      body: joined(salt, ...sealed.flatMap((record) => [lengthOf(record), record])),
      isAnswer: async (taken) => {
        const opener = new Opener(await key("countersign piece answer"));
        const frames = new Frames();
        try {
          for (const record of frames.take(fromBase64url(taken))) await opener.open(record);
        } catch {
          return false;
        }
        return opener.isWhole && frames.isBetween;
      },
    };
  }
}

/** Seals the records of one direction. */
export class Sealer {
  #key;
  #next = 0;

  /** @param {CryptoKey} key */
  constructor(key) {
    this.#key = key;
  }

  /**
   * The next record. Its number is that of this call, whichever is done first.
   * @param {number} kind
   * @param {Bytes} plaintext
   */
  async seal(kind, plaintext) {
    const how = numbered(this.#next++, kind);
    return joined(Uint8Array.of(kind), new Uint8Array(await crypto.subtle.encrypt(how, this.#key, plaintext)));
  }

  /**
   * The records of a message of any length.
   * @param {Bytes} plaintext
   */
  message(plaintext) {
    const records = [];
    for (let at = 0; at + PLAINTEXT_MAX < plaintext.length; at += PLAINTEXT_MAX) {
      records.push(this.seal(KIND.PART, plaintext.subarray(at, at + PLAINTEXT_MAX)));
    }
    records.push(this.seal(KIND.MESSAGE, plaintext.subarray(records.length * PLAINTEXT_MAX)));
    return Promise.all(records);
  }
}

/** Opens the records of one direction, in their order. After the first failure it opens none. */
export class Opener {
  #key;
  #next = 0;
  /** @type {"new" | "between" | "within" | "ended"} */
  #state = "new";
  /** @type {Bytes[]} */
  #parts = [];
  #turn = Promise.resolve();

  /** @param {CryptoKey} key */
  constructor(key) {
    this.#key = key;
  }

  /** Resolves when every record that was given is opened or refused. */
  get settled() {
    return this.#turn;
  }

  /** Whether the last record has come: nothing is missing. */
  get isWhole() {
    return this.#isWhole;
  }

  #isWhole = false;

  /**
   * Opens the next record. Resolves to a whole message or the end, and to null for other records.
   * @param {Bytes} record
   * @returns {Promise<{kind: number, bytes: Bytes} | null>}
   */
  open(record) {
    const opened = this.#turn.then(() => this.#opened(record));
    this.#turn = opened.then(() => {}, () => {});
    return opened;
  }

  /** @param {Bytes} record */
  async #opened(record) {
    const state = this.#state;
    this.#state = "ended";
    const [kind = -1] = record;
    if (state === "ended" || record.length < OVERHEAD || record.length > PLAINTEXT_MAX + OVERHEAD) throw new Unopened("a record that may not stand here");
    let plaintext;
    try {
      plaintext = new Uint8Array(await crypto.subtle.decrypt(numbered(this.#next, kind), this.#key, record.subarray(1)));
    } catch {
      throw new Unopened("a record does not open: it was changed, or is not in its place");
    }
    this.#next += 1;
    if (state === "new") {
      if (kind !== KIND.FIRST || plaintext.length > 0) throw new Unopened("the first record is missing");
      this.#state = "between";
      return null;
    }
    if (kind === KIND.PART) {
      this.#parts.push(plaintext);
      this.#state = "within";
      return null;
    }
    if (kind === KIND.MESSAGE) {
      const bytes = this.#parts.length === 0 ? plaintext : joined(...this.#parts, plaintext);
      this.#parts = [];
      this.#state = "between";
      return { kind, bytes };
    }
    if (kind !== KIND.END || state !== "between") throw new Unopened("a record that may not stand here");
    this.#isWhole = true;
    return { kind, bytes: plaintext };
  }
}

/** Collects records with their lengths from bytes that arrive in any cuts. */
export class Frames {
  /** @type {Bytes} */
  #held = NOTHING;

  /** The records that these bytes complete. @param {Bytes} bytes @returns {Bytes[]} */
  take(bytes) {
    this.#held = this.#held.length === 0 ? bytes : joined(this.#held, bytes);
    const records = [];
    let at = 0;
    while (this.#held.length - at >= 4) {
      const length = new DataView(this.#held.buffer, this.#held.byteOffset + at).getUint32(0);
      if (length > PLAINTEXT_MAX + OVERHEAD) throw new Unopened("a record is too long");
      if (this.#held.length - at - 4 < length) break;
      records.push(this.#held.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    }
    this.#held = this.#held.slice(at);
    return records;
  }

  /** Whether no record has begun. */
  get isBetween() {
    return this.#held.length === 0;
  }
}

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/** The claims of a token. @param {string} token @returns {any} */
export function claimsOf(token) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(fromBase64url(token.split(".")[1])));
  } catch {
    throw new Unopened("the token is none");
  }
}

/**
 * Whether this key of the user's instance signed the token (ES256).
 * @param {string} token
 * @param {JsonWebKey} jwk
 */
export async function isSignedBy(token, jwk) {
  const end = token.lastIndexOf(".");
  const { kty, crv, x, y } = jwk;
  try {
    const { alg, typ } = JSON.parse(new TextDecoder().decode(fromBase64url(token.split(".")[0])));
    if (alg !== "ES256" || typ !== "ucloud-session+jwt" || kty !== "EC" || crv !== "P-256") return false;
    const key = await crypto.subtle.importKey("jwk", /** @type {JsonWebKey} */ ({ kty, crv, x, y }), { name: "ECDSA", namedCurve: "P-256" }, true, ["verify"]);
    return await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key, fromBase64url(token.slice(end + 1)), text(token.slice(0, end)));
  } catch {
    return false;
  }
}

// Below: HKDF-SHA256 as RFC 9180 labels it (section 4), and encodings.

const NOTHING = new Uint8Array(0);

/** @param {Bytes} key @param {Bytes} message */
async function mac(key, message) {
  // WebCrypto takes no empty key; zeros are the same to HMAC.
  const bytes = key.length === 0 ? new Uint8Array(32) : key;
  const how = { name: "HMAC", hash: "SHA-256" };
  return new Uint8Array(await crypto.subtle.sign(how, await crypto.subtle.importKey("raw", bytes, how, false, ["sign"]), message));
}

/** @param {Bytes} suite @param {Bytes} salt @param {string} label @param {Bytes} secret */
function extract(suite, salt, label, secret) {
  return mac(salt, joined(text("HPKE-v1"), suite, text(label), secret));
}

/** To 32 bytes, one block of HKDF. @param {Bytes} suite @param {Bytes} key @param {string} label @param {Bytes} info */
function expand(suite, key, label, info) {
  return mac(key, joined(Uint8Array.of(0, 32), text("HPKE-v1"), suite, text(label), info, Uint8Array.of(1)));
}

/** @param {Bytes} bytes */
function keyOf(bytes) {
  return crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
}

/** The number of a record as its nonce, and its kind as associated data. @param {number} number @param {number} kind */
function numbered(number, kind) {
  const iv = new DataView(new ArrayBuffer(12));
  iv.setBigUint64(4, BigInt(number));
  return { name: "AES-GCM", iv: iv.buffer, additionalData: Uint8Array.of(kind), tagLength: 128 };
}

/** @param {Bytes} record */
function lengthOf(record) {
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, record.length);
  return new Uint8Array(length.buffer);
}

/** @param {Bytes} bytes */
async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** @param {string} said @returns {Bytes} */
function text(said) {
  return new TextEncoder().encode(said);
}

/** @param {Bytes[]} parts @returns {Bytes} */
function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param {Bytes} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @param {unknown} encoded @returns {Bytes} */
function fromBase64url(encoded) {
  if (typeof encoded !== "string" || !/^[A-Za-z0-9_-]*$/.test(encoded)) throw new SyntaxError("not base64url");
  return Uint8Array.from(atob(encoded.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
}
