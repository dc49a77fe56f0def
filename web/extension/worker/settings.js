// The providers that this extension signs for, and the UCloud of each. They come from three places:
// the package (a site's own build), the administrator's policy, and the options page. The first
// that names a provider's id decides. A provider is used only if the browser lets the extension
// reach it and its UCloud.

import { browser } from "./browser.js";

/**
 * @typedef {object} Site
 * @property {string} id the provider's id
 * @property {string} origin the provider's origin
 * @property {string} ucloud UCloud's origin
 * @property {"package" | "policy" | "user"} by where it is named
 */

/** An address that cannot be used. */
export class BadSite extends Error {
  name = "BadSite";

  /** @param {"address" | "ucloud" | "same"} what */
  constructor(what) {
    super(what);
    this.what = what;
  }
}

const PROVIDER_PATH = /^\/ucloud\/([A-Za-z0-9][A-Za-z0-9._-]{0,63})(\/|$)/;
const LOOPBACK = ["127.0.0.1", "localhost"];

/**
 * An origin from an address as a person copies it: `https`, or a page of this computer.
 * @param {unknown} text
 * @returns {URL | null}
 */
function web(text) {
  if (typeof text !== "string") return null;
  const trimmed = text.trim();
  const written = /^[a-z]+:\/\//i.test(trimmed) ? trimmed : `https://${trimmed}`;
  if (!URL.canParse(written)) return null;
  const url = new URL(written);
  const isWeb = url.protocol === "https:" || (url.protocol === "http:" && LOOPBACK.includes(url.hostname));
  return isWeb && url.username === "" && url.password === "" ? url : null;
}

/**
 * Reads a provider's address, `https://host/ucloud/id`, and that of its UCloud.
 * @param {any} entry
 * @param {Site["by"]} by
 * @returns {Site}
 */
export function readSite(entry, by) {
  const address = web(entry?.address);
  const id = PROVIDER_PATH.exec(address?.pathname ?? "")?.[1];
  if (address === null || id === undefined) throw new BadSite("address");
  const ucloud = web(entry?.ucloud);
  if (ucloud === null) throw new BadSite("ucloud");
  // One host for both would give UCloud's pages the provider's origin.
  if (address.origin === ucloud.origin) throw new BadSite("same");
  return { id, origin: address.origin, ucloud: ucloud.origin, by };
}

/**
 * Reads a list, and skips entries that cannot be used.
 * @param {any} list
 * @param {Site["by"]} by
 */
function readSites(list, by) {
  return (Array.isArray(list) ? list : []).flatMap((entry) => {
    try {
      return [readSite(entry, by)];
    } catch {
      return [];
    }
  });
}

/** All providers that are named, by rank. @returns {Promise<Site[]>} */
export async function sites() {
  const [packaged, policy, own] = await Promise.all([
    fetch(browser.runtime.getURL("extension/site.json")).then((answer) => answer.json(), () => ({})),
    browser.storage.managed?.get("providers").catch(() => ({})) ?? {},
    browser.storage.local.get("providers"),
  ]);
  const all = [...readSites(packaged.providers, "package"), ...readSites(policy?.providers, "policy"), ...readSites(own.providers, "user")];
  return all.filter(({ id }, at) => all.findIndex((other) => other.id === id) === at);
}

/**
 * What the browser must permit for a site. Its patterns have no ports: the worker compares whole
 * origins by itself.
 * @param {Site} site
 */
export function patternsOf({ origin, ucloud }) {
  return [origin, ucloud].map((of) => `${new URL(of).protocol}//${new URL(of).hostname}/*`);
}

/** The providers that the browser lets the extension reach, with their UCloud. */
export async function permittedSites() {
  const all = await sites();
  const permitted = await Promise.all(all.map((site) => browser.permissions.contains({ origins: patternsOf(site) })));
  return all.filter((_site, at) => permitted[at]);
}

/** Names a provider on the options page. @param {Site} site */
export async function addSite({ id, origin, ucloud }) {
  const { providers = [] } = await browser.storage.local.get("providers");
  const others = readSites(providers, "user").filter((other) => other.id !== id);
  await keep([...others, { id, origin, ucloud, by: "user" }]);
}

/** @param {string} id */
export async function removeSite(id) {
  const { providers = [] } = await browser.storage.local.get("providers");
  await keep(readSites(providers, "user").filter((other) => other.id !== id));
}

/** @param {Site[]} own */
async function keep(own) {
  await browser.storage.local.set({ providers: own.map(({ id, origin, ucloud }) => ({ address: `${origin}/ucloud/${id}`, ucloud })) });
}
