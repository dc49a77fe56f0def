// UCloud's page that knows nothing of signatures (portal/page/plain), as a user sees it.

import { PATIENCE_MS } from "./browser.js";

export class PlainUcloud {
  /** The answered requests to `/api`: method, path, status. */
  requests = [];

  /**
   * Opens the page, and logs in.
   * @param {import("./test-server.js").TestServer} testServer
   * @param {import("./browser.js").Browser} browser
   * @param {string} username
   */
  static async open(testServer, browser, username, page = null, project = "") {
    const ucloud = new PlainUcloud(page ?? (await browser.tab()));
    await ucloud.logIn(testServer, username, project);
    return ucloud;
  }

  constructor(page) {
    this.page = page;
    page.on("response", (response) => {
      const { pathname } = new URL(response.url());
      if (pathname.startsWith("/api/")) this.requests.push({ method: response.request().method(), path: pathname, status: response.status() });
    });
  }

  async logIn(testServer, username, project) {
    await this.page.goto(`${testServer.portal}/app`);
    await this.page.locator("html[data-ready]").waitFor({ state: "attached" });
    await this.page.getByLabel("Username").fill(username);
    await this.page.getByLabel("Project").fill(project);
    await this.click("Log in");
    await this.page.locator(`html[data-user="${username}"]`).waitFor({ state: "attached" });
  }

  /** The button that opens a drive, once the provider has registered the drive at Core. */
  async drive(title) {
    const button = this.page.locator("#drive-list").getByRole("button", { name: title, exact: true });
    for (const end = Date.now() + PATIENCE_MS; (await button.count()) === 0 && Date.now() < end;) {
      const listed = this.page.waitForResponse((response) => response.url().includes("/collections/browse"));
      await this.click("Drives");
      await listed;
    }
    return button;
  }

  /** Types the name that the next action uses. */
  async name(text) {
    await this.page.getByLabel("Name", { exact: true }).and(this.page.locator("#name")).fill(text);
  }

  async click(name) {
    await this.page.getByRole("button", { name, exact: true }).click();
  }

  /** Clicks, and waits for the answer of Core to this path. */
  async act(name, path) {
    const answered = this.page.waitForResponse((response) => new URL(response.url()).pathname === path && response.request().method() !== "GET");
    await this.click(name);
    await answered;
  }

  /** A file in the list: its button to rename it. */
  file(name) {
    return this.page.getByRole("button", { name: `Rename ${name}`, exact: true });
  }

  /** Waits for a notification. */
  async notified(text) {
    await this.page.locator("#notifications li", { hasText: text }).first().waitFor();
  }
}
