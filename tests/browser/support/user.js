// A user at a browser: their clicks, and their commands at the computing centre.

import { readFileSync } from "node:fs";
import { Browser } from "./browser.js";

export class User {
  /** UCloud's page. */
  portal;
  /** The signer's window, once it is open. */
  signer = null;

  /**
   * A user with an account at the centre, at UCloud's page.
   * @param {import("./test-server.js").TestServer} testServer
   * @param {string} account
   */
  static async at(testServer, account, options = {}) {
    const user = new User(testServer, account, await Browser.open(testServer, options));
    await user.openPortal();
    return user;
  }

  constructor(testServer, account, browser) {
    this.testServer = testServer;
    this.account = account;
    this.username = testServer.user(account).username;
    this.browser = browser;
  }

  async openPortal() {
    this.portal = await this.browser.tab(this.testServer.portal);
    await this.portal.locator("html[data-ready]").waitFor({ state: "attached" });
    await this.portal.getByRole("group", { name: "Logged in as" }).getByLabel(this.username).check();
  }

  /**
   * Brings UCloud's page to the front, as when a user looks at it. A page in the background is
   * drawn rarely.
   */
  async lookAtPortal() {
    await this.portal.bringToFront();
  }

  /** Clicks Connect, and returns the tab that opens. */
  async clickConnect() {
    await this.lookAtPortal();
    const opening = this.browser.context.waitForEvent("page");
    await this.portal.getByRole("button", { name: "Connect", exact: true }).click();
    return opening;
  }

  /** The command that the connection page shows, once it does. */
  async commandOn(page) {
    const command = page.locator("#command:not(:empty)");
    await command.waitFor();
    return command.textContent();
  }

  /** Runs that command at the centre. */
  approve(command, account = this.account) {
    return this.testServer.ask({ do: "approve", code: command.split(" ").at(-1), as: account });
  }

  /**
   * Runs it in the terminal on UCloud's page, as a person would: reads the output, and answers yes
   * when asked.
   * @returns {Promise<string>} what the terminal showed before the answer
   */
  async approveAtDesk(command) {
    await this.lookAtPortal();
    const desk = this.portal.frameLocator("#desk");
    await desk.getByLabel("alice$").fill(command);
    await desk.getByRole("button", { name: "Run" }).click();
    const shown = desk.getByRole("log", { name: "What the terminal shows" });
    await shown.filter({ hasText: "?" }).waitFor();
    const asked = await shown.innerText();
    await desk.getByLabel("Answer:").fill("yes");
    await desk.getByRole("button", { name: "Enter" }).click();
    return asked;
  }

  /** The whole connection. Returns its tab. */
  async connect() {
    const page = await this.clickConnect();
    const approved = await this.approve(await this.commandOn(page));
    if (!approved.ok) throw new Error(JSON.stringify(approved));
    await finished(page);
    return page;
  }

  /** Sets the switch for Core's behaviour. */
  async letCore(behaviour) {
    await this.lookAtPortal();
    await this.portal.locator(`input[name=behaviour][value=${behaviour}]`).check();
  }

  /** Opens the files, and the signer's window if it is not open. */
  async openFiles() {
    await this.lookAtPortal();
    const opening = this.signer ? null : this.browser.context.waitForEvent("page");
    await this.portal.getByRole("button", { name: "Open my files" }).click();
    this.signer ??= await opening;
  }

  /** A file in the list. */
  file(name) {
    return this.portal.getByRole("button", { name: `Rename ${name}`, exact: true });
  }

  async makeFolder(name) {
    await this.lookAtPortal();
    await this.portal.getByRole("button", { name: "Make folder" }).click();
    await this.#giveName(name);
  }

  async rename(from, to) {
    await this.lookAtPortal();
    await this.portal.getByRole("button", { name: `Rename ${from}`, exact: true }).click();
    await this.#giveName(to);
  }

  async copy(from, to) {
    await this.lookAtPortal();
    await this.portal.getByRole("button", { name: `Copy ${from}`, exact: true }).click();
    await this.#giveName(to);
  }

  async trash(name) {
    await this.lookAtPortal();
    await this.portal.getByRole("button", { name: `Move to trash: ${name}` }).click();
  }

  /** Opens a folder of the list. */
  async enter(name) {
    await this.lookAtPortal();
    await this.portal.getByRole("button", { name: `${name}/`, exact: true }).click();
    await this.portal.locator("#place [aria-current]").getByText(name, { exact: true }).waitFor();
  }

  /** Goes back to the parent folder. */
  async leaveFolder() {
    const crumbs = this.portal.locator("#place button");
    const name = await crumbs.nth(-2).innerText();
    await crumbs.nth(-2).click();
    await this.portal.locator("#place [aria-current]").getByText(name, { exact: true }).waitFor();
  }

  /** Uploads a file of this machine to the folder that is open. */
  upload(path) {
    return this.#choose("Upload file", path);
  }

  /** Uploads a folder of this machine. */
  uploadFolder(path) {
    return this.#choose("Upload folder", path);
  }

  async #choose(button, path) {
    await this.lookAtPortal();
    // The answer to the previous action must not be taken for the answer to this one.
    await this.portal.locator("#result").evaluate((result) => result.replaceChildren());
    const choosing = this.portal.waitForEvent("filechooser");
    await this.portal.getByRole("button", { name: button }).click();
    await (await choosing).setFiles(path);
  }

  /** Downloads a file. Returns its bytes, its name and its address. */
  async download(name) {
    await this.lookAtPortal();
    await this.portal.locator("#result").evaluate((result) => result.replaceChildren());
    const downloading = this.portal.waitForEvent("download");
    const asking = this.portal.waitForRequest(/\/ucloud\/[^/]+\/download\?/);
    await this.portal.getByRole("button", { name: `Download ${name}`, exact: true }).click();
    const download = await downloading;
    return { content: readFileSync(await download.path()), name: download.suggestedFilename(), address: (await asking).url() };
  }

  async openTerminal() {
    await this.lookAtPortal();
    await this.portal.locator("#result").evaluate((result) => result.replaceChildren());
    await this.portal.getByRole("button", { name: "Open terminal here" }).click();
  }

  /** Types a line into the terminal. Characters that an English keyboard lacks are pasted. */
  async type(line) {
    await this.lookAtPortal();
    const input = this.portal.getByRole("textbox", { name: "Terminal input" });
    await input.focus();
    for (const part of line.split(/([^\x20-\x7e]+)/)) {
      if (/^[\x20-\x7e]*$/.test(part)) await this.portal.keyboard.type(part);
      else await input.evaluate((element, text) => {
        const clipboardData = new DataTransfer();
        clipboardData.setData("text/plain", text);
        element.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
      }, part);
    }
    await this.portal.keyboard.press("Enter");
  }

  /** Waits until the terminal shows this. */
  async shows(text) {
    await this.portal.locator(".xterm-rows", { hasText: text }).waitFor();
  }

  async #giveName(name) {
    const dialog = this.portal.getByRole("dialog");
    await dialog.getByLabel("Name").fill(name);
    await dialog.getByRole("button", { name: "OK" }).click();
  }

  /** Waits for the page's message about the last action, and returns its text. */
  async told(headline) {
    await this.portal.locator("#result .verdict", { hasText: headline }).waitFor();
    return this.portal.locator("#result").innerText();
  }

  /** The question in the signer's window. */
  get question() {
    return this.signer.locator("section.question");
  }

  /** Approves it, once that is possible. */
  async sayYes() {
    await this.signer.bringToFront();
    await this.question.locator("button.danger").click();
  }

  async sayNo() {
    await this.question.getByRole("button", { name: "Refuse" }).click();
  }

  /** The user's keys in this browser, as a page of the provider sees them. */
  async keys() {
    const page = await this.browser.tab(this.testServer.page("keys"));
    const keys = await page.evaluate(keysOfThisOrigin);
    await page.close();
    return keys;
  }

  async leave() {
    await this.browser.close();
  }
}

/** Waits until a connection page says that it has finished. */
export async function finished(page) {
  await page.getByRole("heading", { name: "You are connected" }).waitFor();
}

/**
 * Runs in a page: lists the keys that its origin stores, and whether the private key can be
 * exported.
 */
export async function keysOfThisOrigin() {
  const database = await new Promise((resolve, reject) => {
    const opening = indexedDB.open("countersign");
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  const keys = await new Promise((resolve, reject) => {
    const asking = database.transaction("keys").objectStore("keys").getAll();
    asking.onsuccess = () => resolve(asking.result);
    asking.onerror = () => reject(asking.error);
  });
  database.close();
  const exported = ({ privateKey }) =>
    Promise.any(["jwk", "pkcs8", "raw"].map((format) => crypto.subtle.exportKey(format, privateKey))).then(
      () => true,
      () => false,
    );
  return Promise.all(
    keys.map(async (key) => ({
      kid: key.kid,
      username: key.username,
      extractable: key.privateKey.extractable,
      usages: key.privateKey.usages,
      exported: await exported(key),
    })),
  );
}
