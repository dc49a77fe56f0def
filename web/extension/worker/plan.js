// From a request of UCloud's page to what has to be signed: the table of calls says which calls it
// leads to, with which parameters, at which providers (user-side.js). Finds the providers of drives
// and jobs.

import { Unreachable } from "../../js/provider.js";
import { describe, keyOf } from "../../js/review.js";
import { toSign } from "../../js/user-side.js";

/** @typedef {import("./connected-provider.js").ConnectedProvider} ConnectedProvider */
/** @typedef {import("../../js/storage.js").KeyRecord} KeyRecord */
/** @typedef {import("../../js/table.js").Table} Table */
/** @typedef {import("./holds.js").Part} Part */
/** @typedef {import("../../js/user-side.js").Sent} Sent */

/**
 * A request of UCloud's page, as the hook hands it over.
 * @typedef {object} UserRequest
 * @property {"xhr" | "fetch" | "socket"} kind
 * @property {string} method
 * @property {string} path
 * @property {string} query with its question mark
 * @property {string | null} body
 * @property {string} username
 * @property {string | null} project the one that the user acts in
 * @property {{[path: string]: unknown[]}} lists what UCloud lists for the user, if it was needed
 */

/** Why a request is not signed: the key of a message, or a sentence. */
export class NotPlanned extends Error {
  name = "NotPlanned";

  /** @param {string} why */
  constructor(why) {
    super(why);
    this.why = why;
  }
}

/** UCloud's own list is needed: the page has to fetch it, because the extension never asks UCloud. */
export class NeedsList extends Error {
  name = "NeedsList";

  /** @param {string} path */
  constructor(path) {
    super(path);
    this.path = path;
  }
}

const BODY_MAX = 4_000_000;
const PATH_MAX = 1_024;
const NAME_MAX = 256;

/** @param {any} request @returns {UserRequest} */
export function readRequest(request) {
  const { kind, method, path, query, body, username, project, lists } = request ?? {};
  const isText = (/** @type {unknown} */ text, /** @type {number} */ max) => typeof text === "string" && text.length <= max;
  const isRead = ["xhr", "fetch", "socket"].includes(kind) && isText(method, 16) && isPath(path) && isText(query, 64_000) && isText(username, NAME_MAX)
    && (body === null || isText(body, BODY_MAX)) && (project === null || isText(project, NAME_MAX));
  if (!isRead) throw new NotPlanned("whyParameters");
  return { kind, method, path, query, body, username, project, lists: typeof lists === "object" && lists !== null ? lists : {} };
}

/** Whether it is a path as the browser sends it: without dots to resolve, or anything behind it. @param {unknown} path */
function isPath(path) {
  return typeof path === "string" && path.length <= PATH_MAX && path.startsWith("/api/") && new URL(path, "https://ucloud.invalid").pathname === path;
}

/** @param {UserRequest} request @returns {Sent} */
function sent({ kind, method, path, query, body, project }) {
  return {
    transport: kind === "socket" ? "websocket" : "http", method, url: `${path}${query}`, body,
    headers: project === null ? {} : { project },
  };
}

/**
 * @param {object} ground
 * @param {() => Promise<ConnectedProvider[]>} ground.providers
 * @param {() => Promise<KeyRecord[]>} ground.keys
 * @param {import("./routes.js").Routes} ground.routes
 * @returns {(request: UserRequest, ucloud: string) => Promise<Part[]>}
 */
export function planner({ providers, keys, routes }) {
  return async (given, ucloud) => {
    const request = readRequest(given);
    const here = (await providers()).filter(({ site }) => site.ucloud === ucloud);
    if (here.length === 0) throw new NotPlanned("whyNoProvider");
    const all = await keys();
    const keyAt = (/** @type {ConnectedProvider} */ { site, clock }) => {
      try {
        return keyOf(all, site.id, request.username, clock.now());
      } catch {
        return null;
      }
    };
    // A socket names no user before its first message.
    const connected = request.username === "" ? here : here.filter((provider) => keyAt(provider) !== null);
    if (connected.length === 0) throw new NotPlanned("whyNoKey");
    const tables = await tablesOf(connected);
    const known = {
      owner: (/** @type {import("../../js/user-side.js").Kind} */ kind, /** @type {string} */ id) =>
        routes.find(ucloud, kind, id, connected, keyAt, request.project),
      providers: async () => [...tables.keys()],
      list: async (/** @type {string} */ path) => {
        if (!Object.hasOwn(request.lists, path)) throw new NeedsList(path);
        const listed = request.lists[path];
        if (!Array.isArray(listed)) throw new NotPlanned("whyParameters");
        return listed;
      },
    };
    /** @type {Part[]} */
    const parts = [];
    /** Why a part is not signed, if none is. @type {Error | null} */
    let why = null;
    // The table of a provider says what a request leads to at that provider, and nothing of others.
    for (const [id, table] of tables) {
      const found = await toSign(table, sent(request), known);
      if (found === null) continue;
      if ("refusal" in found) {
        why ??= new NotPlanned(found.refusal);
        continue;
      }
      for (const { provider, call, params, project } of found.sign) {
        if (provider === id) {
          try {
            parts.push({ provider, request: describe(table, { call, items: params, project, ask: false }) });
          } catch (error) {
            why ??= /** @type {Error} */ (error);
          }
        }
        // A provider that this extension is not set up for needs no signature of it.
        else if (!tables.has(provider) && here.some(({ site }) => site.id === provider)) {
          const isDown = connected.some(({ site }) => site.id === provider);
          why ??= isDown ? new Unreachable("the provider does not answer") : new NotPlanned("whyNoKey");
        }
      }
    }
    if (parts.length === 0 && why !== null) throw why;
    return parts;
  };
}

/**
 * The tables of the providers that answer. One that is down does not keep the others from signing.
 * @param {ConnectedProvider[]} connected
 */
async function tablesOf(connected) {
  /** @type {Map<string, Table>} */
  const tables = new Map();
  /** @type {unknown} */
  let failure = new Unreachable("no provider answers");
  await Promise.all(connected.map(async (provider) => {
    try {
      tables.set(provider.site.id, await provider.table());
    } catch (error) {
      failure = error;
    }
  }));
  if (tables.size === 0) throw failure;
  // In the order of the providers, whoever answered first.
  return new Map(connected.flatMap(({ site }) => {
    const table = tables.get(site.id);
    return table === undefined ? [] : [[site.id, table]];
  }));
}
