// A Chromium with the packed files of the extension, built for the test's providers as a site builds
// its own package: the browser then asks for no permission.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Browser } from "./browser.js";

const BUILD = fileURLToPath(new URL("../../../web/extension/build", import.meta.url));

/** Builds the extension for these providers. Returns the folder of both packages. */
export function buildFor(providers) {
  const folder = mkdtempSync(join(tmpdir(), "countersign-extension-"));
  writeFileSync(join(folder, "site.json"), JSON.stringify({ providers }));
  execFileSync(process.execPath, [BUILD, "--site", join(folder, "site.json"), "--to", folder]);
  return folder;
}

/** Leaves one language to the package: the test's Chromium knows English alone. */
function speakOnly(folder, language) {
  const path = join(folder, "chromium", "manifest.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), default_locale: language }));
  for (const other of readdirSync(join(folder, "chromium", "_locales"))) if (other !== language) rmSync(join(folder, "chromium", "_locales", other), { recursive: true });
}

/** A user whose browser has the extension. */
export class Extended {
  /**
   * @param {import("./test-server.js").TestServer | import("./test-server.js").TestServer[]} testServer
   * @param {import("./ucloud.js").Ucloud} ucloud
   * @param {object[]} providers that the extension knows
   */
  static async open(testServer, ucloud, providers, options = {}) {
    const folder = buildFor(providers);
    if (options.language !== undefined) speakOnly(folder, options.language);
    const servers = [testServer].flat();
    const extension = [join(folder, "chromium"), ...(options.extensions ?? [])].join(",");
    const browser = await Browser.open(servers, {}, [
      "--enable-features=ExtensionsOnChromeUrls", "--disable-features=DisableLoadExtensionCommandLineSwitch",
      `--disable-extensions-except=${extension}`, `--load-extension=${extension}`]);
    await ucloud?.serveIn(browser.context);
    const extended = new Extended(servers[0], ucloud, browser, folder);
    await extended.begin();
    return extended;
  }

  constructor(testServer, ucloud, browser, folder) {
    Object.assign(this, { testServer, ucloud, browser, folder });
  }

  async begin() {
    const { context } = this.browser;
    const isOurs = (worker) => worker.url().endsWith("/extension/worker/worker.js");
    this.worker = context.serviceWorkers().find(isOurs) ?? (await context.waitForEvent("serviceworker", { predicate: isOurs }));
    this.id = new URL(this.worker.url()).host;
    await this.worker.evaluate(async () => {
      const wanted = () => chrome.scripting.getRegisteredContentScripts();
      while ((await wanted()).length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
    });
  }

  /** The address of a page of the extension. */
  page(name) {
    return `chrome-extension://${this.id}/extension/windows/${name}`;
  }

  /** UCloud's page, with this user logged in. */
  async atUcloud(username) {
    const page = await this.browser.tab(this.ucloud.page);
    await page.locator("html[data-ready]").waitFor({ state: "attached" });
    await page.evaluate((username) => (globalThis.username = username), username);
    return page;
  }

  /** Sends a call as UCloud's page does. Resolves with its answer. */
  call(page, ...given) {
    return page.evaluate((given) => globalThis.call(...given), given);
  }

  /** Stops the worker, as the browser does when it has been idle. */
  async stopWorker() {
    const { context } = this.browser;
    const page = await this.browser.tab("about:blank");
    const session = await context.newCDPSession(page);
    await session.send("ServiceWorker.enable");
    await session.send("ServiceWorker.stopAllWorkers");
    await session.detach();
    await page.close();
  }

  /** The next approval window. */
  async approval() {
    const { context } = this.browser;
    const is = (page) => page.url().startsWith(this.page("approval.html"));
    const page = context.pages().find(is) ?? (await context.waitForEvent("page", { predicate: is }));
    return page;
  }

  /** What the toolbar's window lists. */
  async recent() {
    const page = await this.browser.tab(this.page("state.html"));
    await page.locator("#recent li").first().waitFor();
    const lines = await page.locator("#recent li").evaluateAll((all) => all.map((one) => `${one.dataset.what}: ${one.innerText.replaceAll(/\s+/g, " ")}`));
    await page.close();
    return lines;
  }

  async close() {
    await this.browser.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Connects a user through UCloud's page and the extension's own connection page. */
export async function connect(extended, account, server = extended.testServer, heading = "You are connected") {
  const { username } = server.user(account);
  const page = await extended.atUcloud(username);
  const { body } = server === extended.testServer
    ? await extended.call(page, "POST", "providers/integration/connect", { provider: server.id })
    : { body: await server.must({ do: "connect", username }) };
  await page.evaluate((to) => void (document.location.href = to), body.redirectTo);
  await page.waitForURL((url) => url.protocol === "chrome-extension:");
  const command = page.locator("#command:not(:empty)");
  await command.waitFor();
  const code = (await command.textContent()).split(" ").at(-1);
  const approved = await server.ask({ do: "approve", code, as: account });
  if (!approved.ok) throw new Error(JSON.stringify(approved));
  await page.getByRole("heading", { name: heading }).waitFor();
  return page;
}

/** The text of a file that the extension's build wrote. */
export const built = (folder, name) => readFileSync(join(folder, name), "utf8");
