// Requests and pages of an attacker: a taken-over Core, or any page elsewhere, with keys of its
// own.

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import https from "node:https";
import { webcrypto } from "node:crypto";

const encode = (bytes) => Buffer.from(bytes).toString("base64url");
const part = (value) => encode(JSON.stringify(value));

/** An attacker's key. */
export class EvilKey {
  static async make() {
    const key = new EvilKey();
    key.pair = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
    const { kty, crv, x, y } = await webcrypto.subtle.exportKey("jwk", key.pair.publicKey);
    key.jwk = { kty, crv, x, y };
    return key;
  }

  async sign(header, claims) {
    const input = `${part(header)}.${part(claims)}`;
    const algorithm = { name: "ECDSA", hash: "SHA-256" };
    return `${input}.${encode(await webcrypto.subtle.sign(algorithm, this.pair.privateKey, Buffer.from(input)))}`;
  }
}

/** The attacker's connection to the provider. */
export class Evil {
  #agent;

  /** @param {import("./test-server.js").TestServer} testServer */
  constructor(testServer) {
    this.testServer = testServer;
    this.#agent = new https.Agent({ ca: readFileSync(testServer.ca) });
  }

  /** Posts to the provider, for example to `connect/offer`. Returns status, body and headers. */
  post(path, body, headers = { origin: this.testServer.provider, "content-type": "application/json" }) {
    const sent = typeof body === "string" ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const request = https.request(this.testServer.page(path), { method: "POST", agent: this.#agent, headers }, (answer) => {
        let text = "";
        answer.on("data", (bytes) => (text += bytes));
        answer.on("end", () => {
          let json = null;
          try {
            json = JSON.parse(text);
          } catch {
            // Some refusals have no body.
          }
          resolve({ status: answer.statusCode, body: json, headers: answer.headers });
        });
      });
      request.on("error", reject);
      request.end(sent);
    });
  }

  /**
   * Offers an attacker's key with this ticket, as a browser would. Returns the key with its id, and
   * the answer.
   */
  async offer(ticket) {
    const { body: described } = await this.post("connect/describe", { ticket });
    const key = await EvilKey.make();
    const hash = encode(await webcrypto.subtle.digest("SHA-256", Buffer.from(ticket, "base64url")));
    const proof = await key.sign(
      { alg: "ES256", typ: "ucloud-enrol+jwt" },
      { aud: this.testServer.provider, ticket: hash, username: described.username, nonce: described.nonce },
    );
    const answer = await this.post("connect/offer", { ticket, jwk: key.jwk, alg: "ES256", proof, name: "Chrome" });
    key.kid = answer.body?.kid;
    return { key, answer };
  }

  /**
   * The request that Core sends to the centre with a signature of this key: a listing of `/home` in
   * that user's name.
   */
  async intent(key, username) {
    const now = Math.floor(Date.now() / 1000);
    const digest = encode(await webcrypto.subtle.digest("SHA-256", Buffer.from('{"path":"/home"}')));
    return key.sign(
      { alg: "ES256", kid: key.kid, typ: "ucloud-intent+jwt" },
      {
        aud: this.testServer.provider, username, project: null, call: "files.browse", iat: now, exp: now + 30,
        jti: encode(webcrypto.getRandomValues(new Uint8Array(16))), params: [digest],
      },
    );
  }

  /** Has Core send that listing, and returns the gateway's answer. */
  async list(key, username) {
    const response = await fetch(`${this.testServer.portal}/call`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        origin: this.testServer.portal,
        "ucloud-signed-intent": await this.intent(key, username),
      },
      body: JSON.stringify({ as: username, core: "honest", call: "files.browse", path: "/home" }),
    });
    const { answer } = await response.json();
    return answer;
  }
}

/** The ticket in an address that Core gives a browser. */
export const ticketIn = (address) => new URL(address).hash.slice(1);
