// A small page of UCloud for the tests of the extension: it sends what UCloud's real page sends, in
// the same way, and knows nothing of signatures. Its server passes the calls on to the test Core,
// which drops intents as today's Core does.

import { createServer, request } from "node:http";

const PAGE = `<!doctype html><html lang="en"><title>UCloud</title><body><h1>UCloud</h1><script type="module" src="/page.js"></script>`;

/** Runs in the page: UCloud's way of calling its Core (an XMLHttpRequest of which only onload is set). */
const SCRIPT = `
const encode = (value) => btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
globalThis.username = null;
globalThis.call = (method, path, body, project) => new Promise((resolve, reject) => {
  const xhr = new XMLHttpRequest();
  xhr.open(method, location.origin + "/api/" + path);
  const claims = { sub: globalThis.username, exp: Math.floor(Date.now() / 1000) + 600 };
  xhr.setRequestHeader("Authorization", "Bearer e30." + encode(claims) + ".signature");
  xhr.setRequestHeader("Content-Type", "application/json; charset=utf-8");
  if (project) xhr.setRequestHeader("Project", project);
  xhr.responseType = "text";
  xhr.onload = () => resolve({ status: xhr.status, body: JSON.parse(xhr.responseText || "null"), type: xhr.getResponseHeader("content-type") });
  for (const event of ["error", "abort", "timeout"]) xhr.addEventListener(event, () => reject(new Error("UCloud's page would wait for ever: " + event)));
  xhr.send(body === undefined ? undefined : JSON.stringify(body));
});
document.documentElement.dataset.ready = "";
`;

/** The calls of the test Core, by method and path at UCloud. */
const CALLS = {
  "GET files/browse": (query) => ({ call: "files.browse", path: query.get("path") }),
  "POST files/folder": (_query, { items }) => ({ call: "files.createFolder", items: items.map(({ id }) => ({ id })) }),
  "POST files/move": (_query, { items }) => ({ call: "files.move", items: items.map(({ oldId, newId }) => ({ oldId, newId })) }),
  "POST files/trash": (_query, { items }) => ({ call: "files.trash", items: items.map(({ id }) => ({ id })) }),
  "POST files/download": (_query, { items }) => ({ call: "files.createDownload", items: items.map(({ id }) => ({ id })) }),
  "POST files/upload": (_query, { items }) => ({
    call: "files.createUpload", items: items.map(({ id, type, conflictPolicy }) => ({ id, type, conflictPolicy })),
  }),
  "POST jobs/openTerminalInFolder": (_query, { items }) => ({ call: "jobs.openTerminalInFolder", items: items.map(({ folder }) => ({ folder })) }),
  "POST providers/integration/connect": () => ({ call: "connect" }),
};

/** Where users' files begin: the drive of the test provider, which its Core knows by the provider's name. */
export const HOME = "/home";

/** A bulk request, as UCloud's page writes it. */
export const items = (...all) => ({ type: "bulk", items: all });

export class Ucloud {
  /** Requests that reached the server, for the tests. */
  requests = [];
  #server;
  #portal;

  /** @param {import("./test-server.js").TestServer} testServer */
  static async start(testServer) {
    const ucloud = new Ucloud(testServer.portal);
    await ucloud.#listen();
    return ucloud;
  }

  constructor(portal) {
    this.#portal = portal;
  }

  async #listen() {
    this.#server = createServer((asked, answer) => void this.#answer(asked, answer).catch((error) => {
      answer.writeHead(502, { "content-type": "application/json" }).end(JSON.stringify({ why: String(error) }));
    }));
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.origin = `http://localhost:${this.#server.address().port}`;
    this.page = this.origin;
  }

  /**
   * Serves the page in this browser at the origin that the provider knows as UCloud's, so that the
   * page can exchange files with the provider.
   */
  async serveIn(context) {
    const server = this.origin;
    const isOurs = ({ origin, pathname }) => origin === this.#portal && (pathname.startsWith("/api/") || pathname === "/unmodified" || pathname === "/page.js");
    await context.route(isOurs, async (route) => {
      const asked = route.request();
      const { pathname, search } = new URL(asked.url());
      const { host, ...headers } = await asked.allHeaders();
      const answer = await fetch(`${server}${pathname === "/unmodified" ? "/" : pathname}${search}`, {
        method: asked.method(), headers, body: asked.postData() ?? undefined,
      });
      await route.fulfill({ status: answer.status, contentType: answer.headers.get("content-type"), body: Buffer.from(await answer.arrayBuffer()) });
    });
    this.origin = this.#portal;
    this.page = `${this.#portal}/unmodified`;
  }

  async #answer(asked, answer) {
    const url = new URL(asked.url, this.origin);
    const send = (status, type, text) => answer.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(text);
    if (url.pathname === "/") return send(200, "text/html; charset=utf-8", PAGE);
    if (url.pathname === "/page.js") return send(200, "text/javascript", SCRIPT);
    if (!url.pathname.startsWith("/api/")) return send(404, "application/json", "{}");
    let text = "";
    for await (const piece of asked) text += piece;
    const name = `${asked.method} ${url.pathname.slice("/api/".length)}`;
    const body = text === "" ? null : JSON.parse(text);
    this.requests.push({ name, body, headers: asked.headers });
    if (name === "GET ssh/browse") return send(200, "application/json; charset=utf-8", JSON.stringify({ items: [], itemsPerPage: 250, next: null }));
    if (name === "POST ssh") return send(200, "application/json; charset=utf-8", JSON.stringify({ responses: [{ id: "1" }] }));
    if (!CALLS[name]) return send(404, "application/json", JSON.stringify({ why: "not in this stand-in" }));
    const claims = JSON.parse(Buffer.from((asked.headers.authorization ?? "").split(".")[1] ?? "", "base64url").toString() || "{}");
    const { status, body: said } = await this.#core({ as: claims.sub, core: "deposits", ...CALLS[name](url.searchParams, body) });
    send(status, "application/json; charset=utf-8", JSON.stringify(said));
  }

  #core(call) {
    const { hostname, port, host } = new URL(this.#portal);
    return new Promise((resolve, reject) => {
      const asking = request({ hostname, port, path: "/call", method: "POST", headers: { host, origin: this.#portal, "content-type": "application/json" } }, (response) => {
        let text = "";
        response.on("data", (piece) => (text += piece));
        response.on("end", () => {
          const { answer, why } = JSON.parse(text);
          resolve(answer ?? { status: 502, body: { why } });
        });
      });
      asking.on("error", reject);
      asking.end(JSON.stringify(call));
    });
  }

  async end() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
