// Requests to the provider, with one way to send and two kinds of failure. All go to the page's own
// origin.

import { packedTable } from "./packed-table.js";
import { readTable } from "./table.js";

/** @typedef {import("./page.js").Page} Page */
/** @typedef {import("./clock.js").Clock} Clock */

/** The provider answered with a refusal. */
export class Refused extends Error {
  name = "Refused";

  /** @param {number} status @param {string} code @param {string} why */
  constructor(status, code, why) {
    super(why);
    this.status = status;
    this.code = code;
  }
}

/** No answer arrived, or one that is not the provider's. */
export class Unreachable extends Error {
  name = "Unreachable";
}

/**
 * Timeout of a request, in milliseconds. The provider holds a question about progress for up to 25
 * s.
 */
const PATIENCE_MS = 40_000;

export class Provider {
  #page;
  #clock;

  /** @param {Page} page @param {Clock} clock */
  constructor(page, clock) {
    this.#page = page;
    this.#clock = clock;
  }

  /**
   * Sends JSON, with an intent if the call needs one.
   * @param {string} path below the provider's base path
   * @param {object} body
   * @param {string} [intent]
   * @returns {Promise<any>}
   */
  async post(path, body, intent) {
    /** @type {Record<string, string>} */
    const headers = { "content-type": "application/json" };
    if (intent !== undefined) headers["ucloud-signed-intent"] = intent;
    return this.#send(path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  /** Deposits an intent. @param {string} jws @returns {Promise<any>} */
  async deposit(jws) {
    return this.#send("intents", { method: "POST", headers: { "content-type": "application/jwt" }, body: jws });
  }

  /** Fetches the table of calls. In the extension its own rows are interpreted, not the provider's. */
  async table() {
    let revision = 0;
    const published = await this.#send("intent/calls.json", { method: "GET", cache: "no-cache" }, (headers) => {
      revision = Number(headers.get("countersign-calls-revision") ?? 0);
    });
    const { packedRows } = this.#page;
    return packedRows === undefined ? readTable(published) : packedTable(await (await fetch(packedRows)).json(), published, revision);
  }

  /** @param {string} path @param {RequestInit} request @param {(headers: Headers) => void} [look] */
  async #send(path, request, look = () => {}) {
    /** @type {Response} */
    let response;
    /** @type {any} */
    let content;
    try {
      response = await fetch(`${this.#page.base}/${path}`, {
        ...request, credentials: "omit", redirect: "error", referrerPolicy: "no-referrer", signal: AbortSignal.timeout(PATIENCE_MS),
      });
      this.#clock.learn(Date.parse(response.headers.get("date") ?? "") / 1000);
      content = await response.json();
      look(response.headers);
    } catch (error) {
      throw new Unreachable("no answer from the provider", { cause: error });
    }
    if (response.ok) return content;
    throw new Refused(response.status, String(content?.errorCode ?? ""), String(content?.why ?? response.statusText));
  }
}
