// The signed intent, version 2 (protocol, section 2): this call, with these parameters, at this
// provider, for at most a minute.

import { encode } from "./base64url.js";
import { BadParameters, digest } from "./digest.js";
import { sign } from "./jws.js";

/** @typedef {import("./jws.js").SigningKey} SigningKey */
/** @typedef {import("./table.js").Row} Row */

/** Maximum number of items that one intent covers. */
export const ITEMS_MAX = 1000;

/** Longest intent that fits into a request's header, in characters. A deposit may be longer. */
export const HEADER_MAX = 16 * 1024;

/** How long an intent lives if no person is asked, in seconds: half of what providers allow. */
export const LIFETIME_S = 30;

/** Random bytes of a `jti`. */
const JTI_BYTES = 16;

/** Longest project id, in bytes of UTF-8. */
const PROJECT_MAX = 128;

/**
 * The content of an intent.
 * @typedef {object} Statement
 * @property {string} origin the provider's origin
 * @property {string} username the key's owner
 * @property {string | null} project
 * @property {Row} row
 * @property {unknown[]} items
 * @property {number} now seconds since 1970
 * @property {number} [lifetime] seconds
 * @property {boolean} [asked] whether a person saw the request and approved it
 */

/**
 * The claims of an intent, complete.
 * @param {Statement} statement
 */
export async function claims({ origin, username, project, row, items, now, lifetime = LIFETIME_S, asked = false }) {
  if (items.length < 1 || items.length > ITEMS_MAX) throw new BadParameters(`${row.call}: 1 to ${ITEMS_MAX} items`);
  if (row.items === "whole" && items.length !== 1) throw new BadParameters(`${row.call} has one item`);
  const iat = Math.floor(now);
  return {
    aud: origin,
    username,
    project: checkedProject(project),
    call: row.call,
    iat,
    exp: iat + lifetime,
    jti: encode(crypto.getRandomValues(new Uint8Array(JTI_BYTES))),
    params: await Promise.all(items.map((item) => digest(row, item))),
    ...(asked ? { asked } : {}),
    ...scriptOf(row, items),
  };
}

/**
 * Signs a statement.
 * @param {SigningKey} key
 * @param {Statement} statement
 */
export async function signIntent(key, statement) {
  return sign(key.privateKey, { kid: key.kid, typ: "ucloud-intent+jwt" }, await claims(statement));
}

/**
 * The claim `script`: the digest of a job's script is in no request of UCloud, so the intent carries
 * it (protocol, section 12).
 * @param {Row} row
 * @param {unknown[]} items
 */
function scriptOf(row, items) {
  const scripts = new Set(items.map((item) => /** @type {any} */ (item)?.script ?? null));
  scripts.delete(null);
  const [script] = scripts;
  if (script === undefined) return {};
  if (scripts.size > 1 || typeof script !== "string" || !/^[\w-]{43}$/.test(script)) {
    throw new BadParameters(`${row.call}: one script, by its digest`);
  }
  return { script };
}

/** @param {unknown} project */
function checkedProject(project) {
  if (project === null || project === undefined) return null;
  const isName = typeof project === "string" && project !== "" && !/[\p{Control}\p{Surrogate}]/u.test(project);
  if (!isName || new TextEncoder().encode(project).length > PROJECT_MAX) {
    throw new BadParameters("the project is a short text, or null");
  }
  return project;
}
