// Chromium that trusts only the test server's certificate, and records the errors that pages report.

import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Timeout for anything on a page, in milliseconds. */
export const PATIENCE_MS = 45_000;

/**
 * Chromium's own message about an answer that is not a success. The tests check what the page makes
 * of it.
 */
const ANSWERS = /^Failed to load resource: the server responded with a status of \d+/;

/** A user's browser, with a profile of its own. */
export class Browser {
  /** Errors that pages reported since the last check. */
  #complaints = [];
  #profile = mkdtempSync(join(tmpdir(), "countersign-browser-"));
  #testServer;
  #more = [];
  context;

  /**
   * @param {import("./test-server.js").TestServer | import("./test-server.js").TestServer[] | null} testServer
   *   whose certificate the browser trusts
   * @param {object} [options] of the context
   * @param {string[]} [args] more arguments of the browser
   */
  static async open(testServer, options = {}, args = []) {
    const browser = new Browser(testServer);
    browser.#more = args;
    await browser.#launch(options);
    return browser;
  }

  constructor(testServer) {
    this.#testServer = testServer;
  }

  async #launch(options) {
    const servers = this.#testServer === null ? [] : [this.#testServer].flat();
    const trust = servers.length === 0 ? [] : [`--ignore-certificate-errors-spki-list=${(await Promise.all(servers.map(keyOf))).join(",")}`];
    this.context = await chromium.launchPersistentContext(this.#profile, {
      executablePath: EXECUTABLE,
      headless: true,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        ...trust,
        ...this.#more,
      ],
      // Playwright turns extensions off.
      ...(this.#more.length > 0 ? { ignoreDefaultArgs: ["--disable-extensions"], channel: "chromium" } : {}),
      viewport: { width: 1280, height: 900 },
      ...options,
    });
    this.context.setDefaultTimeout(PATIENCE_MS);
    await this.context.addInitScript(() => {
      addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
        console.error(`CSP: ${violatedDirective} ${blockedURI}`);
      });
    });
    this.context.on("console", (message) => {
      if (!["error", "warning"].includes(message.type()) || ANSWERS.test(message.text())) return;
      this.#complaints.push(`${message.page()?.url().split("#")[0]}: ${message.text()}`);
    });
    this.context.on("weberror", (error) => this.#complaints.push(`uncaught: ${error.error()?.stack}`));
  }

  /** Closes it and opens it again with the same profile. */
  async restart(options = {}) {
    await this.context.close();
    await this.#launch(options);
  }

  /**
   * Returns the errors that pages reported, and clears them. A test that expects none compares with
   * [].
   */
  complaints(expected = null) {
    const all = this.#complaints.splice(0);
    return expected === null ? all : all.filter((complaint) => !expected.test(complaint));
  }

  /** Opens a new tab at this address. */
  async tab(address) {
    const page = await this.context.newPage();
    if (address) await page.goto(address);
    return page;
  }

  async close() {
    await this.context.close();
    rmSync(this.#profile, { recursive: true, force: true });
  }
}

/**
 * SHA-256 of the public key in the test server's certificate, which the server's own authority has signed.
 */
async function keyOf(testServer) {
  const { port, hostname } = new URL(testServer.provider);
  const certificate = await new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: hostname, servername: hostname, ca: readFileSync(testServer.ca) });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      resolve(new X509Certificate(socket.getPeerCertificate().raw));
      socket.end();
    });
  });
  return createHash("sha256").update(certificate.publicKey.export({ type: "spki", format: "der" })).digest("base64");
}
