// A signer of the tests between UCloud's page and its Core, instead of an extension: it derives what
// Core will send from the table of calls (web/js/user-side.js), deposits an intent for each provider
// request, and lets the request go on unchanged. It approves everything.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import { algorithmOf } from "../../../web/js/jws.js";
import { enrolmentProof, publicJwk } from "../../../web/js/enrolment.js";
import { sha256 } from "../../../web/js/digest.js";
import { signIntent } from "../../../web/js/intent.js";
import { makeTestedKeyPair } from "../../../web/js/key-pair.js";
import { readTable } from "../../../web/js/table.js";
import { toSign } from "../../../web/js/user-side.js";
import { Evil, ticketIn } from "./evil.js";

const JSON_TYPE = "application/json; charset=utf-8";

export class Depositing {
  /** The call of each deposit, with its project. */
  deposited = [];

  /**
   * Connects a user with a key of its own.
   * @param {import("./test-server.js").TestServer} testServer
   * @param {string} account
   */
  static async connect(testServer, account) {
    const signer = new Depositing(testServer, testServer.user(account).username);
    await signer.#connect(account);
    return signer;
  }

  constructor(testServer, username) {
    Object.assign(this, { testServer, username, origin: testServer.provider });
    this.provider = new Evil(testServer);
  }

  async #connect(account) {
    const { redirectTo } = await this.testServer.must({ do: "connect", username: this.username });
    const ticket = ticketIn(redirectTo);
    const { body: { username, nonce } } = await this.provider.post("connect/describe", { ticket });
    const { privateKey, publicKey } = await makeTestedKeyPair();
    const proof = await enrolmentProof(privateKey, { origin: this.origin, ticket, username, nonce });
    const offer = { ticket, jwk: await publicJwk(publicKey), alg: algorithmOf(publicKey), proof, name: "Test" };
    const { body: { kid, code } } = await this.provider.post("connect/offer", offer);
    await this.testServer.must({ do: "approve", code, as: account });
    this.key = { privateKey, kid };
    this.table = readTable(await this.#calls());
  }

  #calls() {
    const agent = new https.Agent({ ca: readFileSync(this.testServer.ca) });
    return new Promise((resolve, reject) => {
      https.get(this.testServer.page("intent/calls.json"), { agent }, (answer) => {
        let text = "";
        answer.on("data", (bytes) => (text += bytes));
        answer.on("end", () => resolve(JSON.parse(text)));
      }).on("error", reject);
    });
  }

  /** Signs everything that this page asks of Core, and the use of its tokens. */
  async watch(page) {
    await page.route("**/api/**", (route) => this.#request(route));
    await page.route("**/chunked/upload", (route) => this.#piece(route));
    await page.routeWebSocket("**/api/files", (socket) => this.#messages(socket, async (text) => {
      await this.#deposit({ transport: "websocket", method: "GET", url: socket.url(), body: text }, JSON.parse(text).bearer);
      return text;
    }));
    await page.routeWebSocket("**/websocket?*", (socket) => this.#messages(socket, async (text) => {
      const message = JSON.parse(text);
      const { type, sessionIdentifier } = message.payload;
      return type === "initialize" ? JSON.stringify({ ...message, signedIntent: await this.#proof(sessionIdentifier) }) : text;
    }));
  }

  async #request(route) {
    const request = route.request();
    const headers = await request.allHeaders();
    const sent = { method: request.method(), url: request.url(), headers, body: request.postData() };
    const bearer = headers.authorization?.replace("Bearer ", "");
    const refusal = await this.#deposit(sent, bearer);
    if (refusal !== null) return route.fulfill({ status: 403, contentType: JSON_TYPE, body: JSON.stringify({ why: refusal }) });
    if (!/\/files\/(upload|download)$/.test(new URL(sent.url).pathname)) return route.continue();
    const response = await route.fetch();
    const body = await response.json();
    for (const one of body.responses ?? []) {
      if (one.protocol === "CHUNKED") continue;
      const token = new URL(one.endpoint).searchParams.get("token") ?? one.token;
      one.endpoint += `${one.endpoint.includes("?") ? "&" : "?"}intent=${await this.#proof(token)}`;
    }
    return route.fulfill({ response, body: JSON.stringify(body) });
  }

  /** A piece of a file: its proof binds the bytes. */
  async #piece(route) {
    const request = route.request();
    const bytes = request.postDataBuffer() ?? Buffer.alloc(0);
    const headers = await request.allHeaders();
    const [offset, total] = ["offset", "total-size"].map((name) => Number(headers[`chunked-upload-${name}`]));
    const digest = createHash("sha256").update(bytes).digest();
    const piece = { offset, total, size: bytes.length, digest: digest.toString("base64url") };
    const signed = await this.#proof(headers["chunked-upload-token"], piece);
    return route.continue({ headers: { ...headers, "ucloud-signed-intent": signed, "content-digest": `sha-256=:${digest.toString("base64")}:` } });
  }

  /** Lets the messages of a socket go on, each in its turn, as they come out of `alter`. */
  #messages(socket, alter) {
    const server = socket.connectToServer();
    let turn = Promise.resolve();
    socket.onMessage((text) => (turn = turn.then(async () => server.send(await alter(text)))));
  }

  /** Deposits what a request needs. Returns the sentence of a refusal, or null. */
  async #deposit(sent, bearer) {
    const answer = await toSign(this.table, sent, {
      owner: (kind, id) => this.#owner(kind, id, bearer),
      providers: async () => ["hpc"],
      list: async (path) => (await this.#ask(`${path}?itemsPerPage=250`, bearer)).items,
    });
    if (answer === null) return null;
    if (answer.refusal !== undefined) return answer.refusal;
    for (const { call, params, project } of answer.sign) {
      const now = Date.now() / 1000;
      const jws = await signIntent(this.key, { origin: this.origin, username: this.username, project, row: this.table.get(call), items: params, now, asked: true });
      const { status } = await this.provider.post("intents", jws, { origin: this.testServer.portal, "content-type": "application/jwt" });
      if (status !== 202) throw new Error(`${call}: the deposit was answered ${status}`);
      this.deposited.push({ call, project });
    }
    return null;
  }

  async #proof(token, piece = { offset: null, size: null, total: null, digest: null }) {
    const items = [{ token: await sha256(new TextEncoder().encode(token)), ...piece }];
    // The first request opens the session.
    const row = this.table.get((piece.offset ?? 0) === 0 ? "session.open" : "session.continue");
    return signIntent(this.key, { origin: this.origin, username: this.username, project: null, row, items, now: Date.now() / 1000 });
  }

  async #owner(kind, id, bearer) {
    if (kind !== "drive") return null;
    const { owner, specification } = await this.#ask(`/api/files/collections/retrieve?id=${encodeURIComponent(id)}`, bearer);
    return owner === undefined ? null : { provider: specification.product.provider, project: owner.project };
  }

  async #ask(path, bearer) {
    const answer = await fetch(`${this.testServer.portal}${path}`, { headers: { authorization: `Bearer ${bearer}` } });
    return answer.json();
  }
}
