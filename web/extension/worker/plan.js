// From a request of UCloud's page to what has to be signed: the user side of the table of calls says
// which calls it leads to, with which parameters, at which providers (protocol, section 11). Reads
// the request by itself, and believes nothing that the page says about it.

import { Unreachable } from "../../js/provider.js";
import { describe, keyOf } from "../../js/review.js";
import { UnreadableTable } from "../../js/table.js";
import { idIn } from "./routes.js";
import { requestsOf } from "./interim.js";

/** @typedef {import("./connected-provider.js").ConnectedProvider} ConnectedProvider */
/** @typedef {import("../../js/storage.js").KeyRecord} KeyRecord */
/** @typedef {import("../../js/table.js").Table} Table */
/** @typedef {import("./holds.js").Part} Part */

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
 */

/** Why a request is not signed: the key of a message. */
export class NotPlanned extends Error {
  name = "NotPlanned";

  /** @param {string} why */
  constructor(why) {
    super(why);
    this.why = why;
  }
}

const BODY_MAX = 4_000_000;
const NAME_MAX = 256;

/** @param {any} request @returns {UserRequest} */
export function readRequest(request) {
  const { kind, method, path, query, body, username, project } = request ?? {};
  const isText = (/** @type {unknown} */ text, /** @type {number} */ max) => typeof text === "string" && text.length <= max;
  const isRead = ["xhr", "fetch", "socket"].includes(kind) && isText(method, 16) && isText(path, 1024) && isText(query, 64_000) && isText(username, NAME_MAX)
    && (body === null || isText(body, BODY_MAX)) && (project === null || isText(project, NAME_MAX));
  if (!isRead) throw new NotPlanned("whyParameters");
  return { kind, method, path, query, body, username, project };
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
    const connected = here.filter((provider) => keyAt(provider) !== null);
    if (connected.length === 0) throw new NotPlanned("whyNoKey");
    const tables = await tablesOf(connected);
    const [table] = tables.values();
    const find = async (/** @type {unknown} */ value) => {
      const id = idIn(value);
      const route = id === null ? null : await routes.find(ucloud, id, true, connected, keyAt, request.project);
      if (route === null) throw new NotPlanned("whyWhichProvider");
      return route;
    };
    const requests = await requestsOf(/** @type {Table} */ (table), request, find);
    return requests.map(({ provider, call, params, project }) => {
      const own = tables.get(provider);
      if (own === undefined) throw new NotPlanned(here.some(({ site }) => site.id === provider) ? "whyNoKey" : "whyNoProvider");
      return { provider, request: describe(own, { call, items: params, project, ask: false }) };
    });
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
      failure = error instanceof UnreadableTable ? new NotPlanned("whyTable") : error;
    }
  }));
  if (tables.size === 0) throw failure;
  return tables;
}
