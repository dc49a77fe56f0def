// What a user's request to UCloud makes Core send to providers, by the table of calls alone
// (protocol, section 4): for each provider request the call, the parameters to sign, and the
// project. Rejects what no user can sign, in a sentence for the user. The test-side counterpart in
// Rust is keys/tests/user_side.rs; both are tested with what the real Core sent.

import { BadParameters, canonicalItem } from "./digest.js";
import { ITEMS_MAX } from "./intent.js";
import { isRecord } from "./jcs.js";
import { translated } from "./language.js";

/** @typedef {import("./table.js").Row} Row */
/** @typedef {import("./table.js").Table} Table */
/** @typedef {import("./user-requests.js").UserRequest} UserRequest */
/** @typedef {import("./user-requests.js").Signed} Signed */
/** @typedef {import("./user-requests.js").Found} Found */
/** @typedef {import("./user-requests.js").Take} Take */
/** @typedef {import("./user-requests.js").Listed} Listed */
/**
 * A request of UCloud's page, or the first message on its WebSocket.
 * @typedef {object} Sent
 * @property {"http" | "websocket"} [transport]
 * @property {string} method `GET` for a WebSocket
 * @property {string} url
 * @property {{[name: string]: string}} [headers] names in any case
 * @property {string | null} [body] a message's text for a WebSocket; null while it is being opened
 */
/** @typedef {"drive" | "job" | "resource" | "task" | "token"} Kind */
/** @typedef {{provider: string, project: string | null}} Owner the project of the owner, if it has one */
/**
 * What a signer has to know beside the table.
 * @typedef {object} Known
 * @property {(kind: Kind, id: string) => Promise<Owner | null>} owner of something that exists; null
 *   if it is not known
 * @property {() => Promise<string[]>} providers every provider that the user is connected to
 * @property {(path: string) => Promise<unknown[]>} list all items that UCloud lists at this path
 */
/** @typedef {{provider: string, project: string | null, call: string, params: {[name: string]: unknown}[]}} ToSign */

/** The sentences for what no user can sign, whatever its values. */
const UNSIGNABLE = {
  transfer:
    "A transfer between two providers cannot be signed: they agree on details that are never shown to you. Download the files, and upload them at the other provider.",
  sharelink:
    "Accepting a link cannot be signed, because UCloud then acts in the name of the person who made the link. Ask that person to share the folder with your username.",
  ucx:
    "This application sends its commands inside a connection that cannot be signed. At a provider that asks for your signature it cannot change anything.",
};

const UNREADABLE = "The request could not be read, so nothing was signed.";
const MIXED = "These items belong to different projects. Select the items of one project at a time.";
const TOO_MANY = "More than {max} items at once cannot be signed. Select fewer.";
const UNFIT = "The request has a value that cannot be signed, so nothing was signed.";

/** In a sentence. @type {{[kind in Kind]: string}} */
const NAMES = { drive: "drive", job: "job", resource: "resource", task: "task", token: "token" };

/** The request cannot be signed. The message is for the user. */
class Refusal extends Error {
  /** @param {string} sentence @param {{[name: string]: string | number}} [values] */
  constructor(sentence, values) {
    super(translated(sentence, values));
  }
}

/**
 * The row of the table that a request belongs to. Null: it has nothing to do with a provider's user
 * calls, and nothing may delay it.
 * @param {Table} table
 * @param {Sent} request
 * @returns {{row: Row, request: UserRequest} | null}
 */
export function find(table, { transport = "http", method, url, body = null }) {
  const path = new URL(url, "https://ucloud.invalid").pathname;
  const message = transport === "websocket" && body !== null ? messageOf(body)?.call ?? null : null;
  for (const row of table.values()) {
    const request = row.user.find((one) => one.transport === transport && one.method === method && one.path === path && one.message === message);
    if (request !== undefined) return { row, request };
  }
  return null;
}

/**
 * The provider requests that Core makes of a user's request, each as what one intent signs. None, if
 * Core asks no provider. Null, if the table does not have the request.
 * @param {Table} table
 * @param {Sent} sent
 * @param {Known} known
 * @returns {Promise<{sign: ToSign[]} | {refusal: string} | null>}
 */
export async function toSign(table, sent, known) {
  const found = find(table, sent);
  if (found === null) return null;
  const { row, request: { effect } } = found;
  switch (effect.kind) {
    case "core":
      return { sign: [] };
    case "unsignable":
      return { refusal: translated(UNSIGNABLE[effect.why]) };
    case "signed":
      try {
        return { sign: await split(row, effect.signed, sent, known) };
      } catch (error) {
        if (error instanceof Refusal) return { refusal: error.message };
        throw error;
      }
  }
}

/** @param {Row} row @param {Signed} signed @param {Sent} sent @param {Known} known @returns {Promise<ToSign[]>} */
async function split(row, signed, sent, known) {
  const items = itemsOf(signed, sent);
  if (items.length > ITEMS_MAX) throw new Refusal(TOO_MANY, { max: ITEMS_MAX });
  const acting = actingProject(sent);
  if (signed.split.kind === "every") {
    const params = await projected(row, signed.takes, items, known);
    return (await known.providers()).map((provider) => ({ provider, project: signed.project.kind === "none" ? null : acting, call: row.call, params }));
  }
  const { kind, found } = signed.split;
  /** @type {(ToSign & {items: Record<string, unknown>[]})[]} */
  const requests = [];
  for (const item of items) {
    const provider = await providerOf(found, item, known);
    if (provider === null) continue;
    const project = await projectOf(signed.project, item, acting, known);
    const same = kind === "provider" ? requests.find((request) => request.provider === provider) : undefined;
    if (same === undefined) {
      requests.push({ provider, project, call: row.call, params: [], items: [item] });
    } else if (same.project === project) {
      same.items.push(item);
    } else {
      throw new Refusal(MIXED);
    }
  }
  return Promise.all(requests.map(async ({ items, ...request }) => ({ ...request, params: await projected(row, signed.takes, items, known) })));
}

/** @param {Signed} signed @param {Sent} sent @returns {Record<string, unknown>[]} */
function itemsOf({ place }, { url, body = null }) {
  if (place === "query") {
    /** @type {Record<string, unknown>} */
    const item = Object.create(null);
    // The first of several, as in Go.
    for (const [name, value] of new URL(url, "https://ucloud.invalid").searchParams) item[name] ??= value;
    return [item];
  }
  const whole = body === null ? undefined : parsed(body);
  const items = place === "items" ? member(whole, "items") : [place === "payload" ? member(whole, "payload") : whole];
  if (!Array.isArray(items) || !items.every(isRecord)) throw new Refusal(UNREADABLE);
  return items;
}

/** @param {Found} found @param {Record<string, unknown>} item @param {Known} known @returns {Promise<string | null>} null if Core asks no provider */
async function providerOf(found, item, known) {
  if (found.by !== "provider") return (await ownerOf(found, item, known)).provider;
  const provider = at(item, found.at) ?? "";
  if (typeof provider !== "string") throw new Refusal(UNREADABLE);
  return provider === "" ? null : provider;
}

/** @param {Signed["project"]} project @param {Record<string, unknown>} item @param {string | null} acting @param {Known} known */
async function projectOf(project, item, acting, known) {
  if (project.kind === "owner") return (await ownerOf(project.found, item, known)).project;
  return project.kind === "acting" ? acting : null;
}

/** @param {Found} found @param {Record<string, unknown>} item @param {Known} known @returns {Promise<Owner>} */
async function ownerOf({ by, at: place }, item, known) {
  if (by === "provider") throw new Refusal(UNREADABLE);
  const value = at(item, place);
  const id = by === "path" ? driveOf(value) : typeof value === "number" ? String(value) : value;
  if (typeof id !== "string") throw new Refusal(UNREADABLE);
  const kind = by === "path" ? "drive" : by;
  const owner = await known.owner(kind, id);
  if (owner === null) {
    throw new Refusal("The provider of {kind} {id} is not known, so nothing was signed. Reload the page and try again.", { kind: translated(NAMES[kind]), id: id.slice(0, 40) });
  }
  return owner;
}

/** The drive at the beginning of a path. @param {unknown} path */
function driveOf(path) {
  return typeof path === "string" ? /^\/([^/]+)(?:\/|$)/.exec(path)?.[1] : undefined;
}

/** The parameters of one provider request, with which a digest can be made. @param {Row} row @param {Take[]} takes @param {Record<string, unknown>[]} items @param {Known} known */
async function projected(row, takes, items, known) {
  const params = takes.some(({ list }) => list !== null)
    ? [Object.fromEntries(await Promise.all(takes.map(async (take) => [take.name, await changedList(take, items, known)])))]
    : items.map((item) => Object.fromEntries(takes.flatMap(({ name, from, keeps }) => {
        const value = at(item, from);
        return value === undefined ? [] : [[name, keeps.length === 0 ? value : kept(value, keeps)]];
      })));
  try {
    for (const item of params) canonicalItem(row, item);
  } catch (error) {
    if (error instanceof BadParameters) throw new Refusal(UNFIT);
    throw error;
  }
  return params;
}

/** A list that Core holds, after the request has changed it. @param {Take} take @param {Record<string, unknown>[]} items @param {Known} known */
async function changedList({ from, list }, items, known) {
  const values = items.map((item) => at(item, from));
  if (list === null) return values[0];
  const { browse, each, remove } = list;
  const listed = await known.list(browse);
  if (remove === null) return [...listed.map((one) => at(one, each)), ...values];
  return listed.filter((one) => !values.includes(at(one, remove))).map((one) => at(one, each));
}

/**
 * The value without what Core does not keep. A value of another shape than the pointers say stays:
 * Core refuses it.
 * @param {unknown} value
 * @param {string[][]} pointers
 * @returns {unknown}
 */
function kept(value, pointers) {
  if (pointers.some(({ length }) => length === 0)) return value;
  const below = (/** @type {string} */ name) => pointers.filter(([step]) => step === name || step === "*").map(([, ...rest]) => rest);
  if (Array.isArray(value)) {
    const each = below("*");
    return each.length === 0 ? value : value.map((element) => kept(element, each));
  }
  if (!isRecord(value)) return value;
  /** @type {Record<string, unknown>} */
  const made = Object.create(null);
  for (const [name, member] of Object.entries(value)) {
    const rest = below(name);
    if (rest.length > 0) made[name] = kept(member, rest);
  }
  return made;
}

/** The value at a pointer without `*`; `undefined` if there is none. @param {unknown} value @param {string[]} pointer */
function at(value, pointer) {
  return pointer.reduce(member, value);
}

/** @param {unknown} value @param {string} name @returns {unknown} */
function member(value, name) {
  return isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

/** The project that the user acts in. @param {Sent} sent @returns {string | null} */
function actingProject({ transport, headers = {}, body = null }) {
  const [, header] = Object.entries(headers).find(([name]) => name.toLowerCase() === "project") ?? [];
  const project = transport === "websocket" && body !== null ? messageOf(body)?.project : header;
  return typeof project === "string" && project !== "" ? project : null;
}

/** @param {string} text @returns {{call: string | null, project: unknown} | null} */
function messageOf(text) {
  try {
    const message = JSON.parse(text);
    const call = member(message, "call");
    return { call: typeof call === "string" ? call : null, project: member(message, "project") };
  } catch {
    return null;
  }
}

/** @param {string} text @returns {unknown} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(UNREADABLE);
  }
}
