// The extension's background worker: takes the messages of its own content scripts and windows, and
// of no one else. For each it takes the sender from the browser, not from the message: a page of a
// configured UCloud may ask for signatures, a provider's connection page may hand over a ticket, the
// extension's own windows may decide. Other extensions and web pages cannot send it anything.

import { openStorage, onKeysChanged } from "../../js/storage.js";
import { browser } from "./browser.js";
import { ConnectedProvider } from "./connected-provider.js";
import { register } from "./content-scripts.js";
import { Holds, whyNot } from "./holds.js";
import { speakBrowserLanguage } from "./language.js";
import { planner } from "./plan.js";
import { note } from "./record.js";
import { Routes } from "./routes.js";
import { permittedSites } from "./settings.js";
import { Tokens } from "./tokens.js";
import { onClosed, showQuestions } from "./window.js";

/** @typedef {import("../../js/storage.js").KeyRecord} KeyRecord */
/** @typedef {import("./settings.js").Site} Site */

// --- The ground: settings, keys, providers, the session's storage. ---

/** The settings, until they change. @type {Promise<Site[]> | null} */
let settings = null;

/** The providers of these settings. @type {ConnectedProvider[]} */
let current = [];

async function providers() {
  const isSame = (/** @type {Site} */ a, /** @type {Site} */ b) => a.id === b.id && a.origin === b.origin && a.ucloud === b.ucloud;
  settings ??= permittedSites();
  const sites = await settings.catch((error) => {
    settings = null;
    throw error;
  });
  current = sites.map((site) => current.find((one) => isSame(one.site, site)) ?? new ConnectedProvider(site, browser.runtime.getURL("extension/calls.json")));
  return current;
}

/** @type {Promise<KeyRecord[]> | null} */
let kept = null;
onKeysChanged(() => (kept = null));

/** @returns {Promise<KeyRecord[]>} */
async function keys() {
  kept ??= openStorage().then((storage) => storage.keys());
  const own = await kept.catch(() => []);
  if (own.length === 0) kept = null;
  return own;
}

const session = {
  get: async (/** @type {string} */ name) => (await browser.storage.session.get(name))[name],
  set: async (/** @type {string} */ name, /** @type {any} */ value) => browser.storage.session.set({ [name]: value }),
  remove: async (/** @type {string} */ name) => browser.storage.session.remove(name),
  all: async () => browser.storage.session.get(null),
};

const routes = new Routes(session);
const holds = new Holds({
  plan: planner({ providers, keys, routes }),
  provider: (id) => {
    const found = current.find(({ site }) => site.id === id);
    if (found === undefined) throw new Error(`no provider ${id}`);
    return found;
  },
  keys, session, note,
  openWindow: showQuestions,
  now: () => Date.now(),
});
const tokens = new Tokens({
  providers, keys, session, note,
  failed: (error) => void note({ what: "unsigned", call: "", subject: "", provider: "", why: whyNot(error) }),
});

// --- Messages. ---

/** What a page of a configured UCloud may ask. @type {{[type: string]: (message: any, ucloud: string) => unknown}} */
const FROM_UCLOUD = {
  hold: (message, ucloud) => holds.hold(message, ucloud),
  withdraw: ({ name }, ucloud) => holds.withdraw(String(name), ucloud),
  seen: ({ path, text }, ucloud) => routes.learn(ucloud, path, text),
  tokens: ({ text, encs }, ucloud) => tokens.withProofs({ text: String(text), encs: encs ?? {} }, ucloud).catch(() => ({})),
  sealable: async ({ address, token }, ucloud) => ({ sealable: await tokens.sealable({ address, token }, ucloud) }),
  taken: async ({ token }) => void (await tokens.taken(token)),
  prove: async ({ address, token, piece, enc }, ucloud) => {
    const proof = await tokens.prove({ address, token, piece, enc }, ucloud);
    return { proof: proof?.intent ?? null, enc: proof?.enc ?? null };
  },
};

/** What the extension's own windows may ask. @type {{[type: string]: (message: any) => unknown}} */
const FROM_WINDOWS = {
  questions: async () => ({
    questions: await holds.questions(),
    origins: Object.fromEntries((await providers()).map(({ site }) => [site.id, site.origin])),
  }),
  decide: ({ id, approved }) => holds.decide(String(id), approved === true),
  show: () => showQuestions(),
};

/** The origin of a sender, as the browser says. @param {any} sender */
function originOf({ origin, url }) {
  const said = typeof origin === "string" ? origin : url;
  return typeof said === "string" && URL.canParse(said) ? new URL(said).origin : "";
}

const WINDOWS = browser.runtime.getURL("extension/windows/");

/** @param {any} message @param {any} sender @returns {Promise<unknown>} */
async function answer(message, sender) {
  const { type } = message ?? {};
  if (sender.id !== browser.runtime.id || typeof type !== "string") return {};
  if (typeof sender.url === "string" && sender.url.startsWith(WINDOWS)) return Object.hasOwn(FROM_WINDOWS, type) ? FROM_WINDOWS[type]?.(message) : {};
  // Of a page, the top document alone.
  if (sender.tab === undefined || sender.frameId !== 0) return {};
  const origin = originOf(sender);
  // The record is in words.
  const [all] = await Promise.all([providers(), speakBrowserLanguage()]);
  const isAt = (/** @type {Site} */ site, /** @type {string} */ page) => site.origin === origin && new URL(sender.url).pathname === `/ucloud/${site.id}/${page}`;
  if (type === "ticket") return takeTicket(message, sender, all.map(({ site }) => site).find((site) => isAt(site, "connect")));
  if (type === "interface") return openInterface(message, all.find(({ site }) => isAt(site, "interface")));
  if (!Object.hasOwn(FROM_UCLOUD, type) || !all.some(({ site }) => site.ucloud === origin)) return {};
  return FROM_UCLOUD[type]?.(message, origin);
}

/**
 * Continues a connection on the extension's own page, in the same tab.
 * @param {any} message
 * @param {any} sender
 * @param {Site | undefined} site
 */
async function takeTicket({ ticket }, sender, site) {
  if (site === undefined || !/^[A-Za-z0-9_-]{43}$/.test(ticket)) return;
  const page = browser.runtime.getURL("extension/windows/connect.html");
  await browser.tabs.update(sender.tab.id, { url: `${page}?provider=${encodeURIComponent(site.id)}#${ticket}` });
}

/**
 * The address of a job's interface, signed, or why there is none.
 * @param {any} message
 * @param {ConnectedProvider | undefined} provider
 */
async function openInterface({ token }, provider) {
  if (provider === undefined) return {};
  try {
    return { address: await tokens.openInterface(token, provider) };
  } catch (error) {
    const why = whyNot(error);
    void note({ what: "unsigned", call: "", subject: "", provider: provider.site.id, why });
    return { why: browser.i18n.getMessage(why) || why };
  }
}

browser.runtime.onMessage.addListener((/** @type {any} */ message, /** @type {any} */ sender, /** @type {(answer: unknown) => void} */ reply) => {
  answer(message, sender).then((said) => reply(said ?? {}), (error) => {
    console.error(error);
    reply({});
  });
  return true;
});

// Closing the window refuses what it asks.
onClosed(() => void holds.refuseAll());

// --- Content scripts. ---

for (const event of [browser.runtime.onInstalled, browser.runtime.onStartup, browser.permissions.onAdded, browser.permissions.onRemoved, browser.storage.onChanged]) {
  event?.addListener((/** @type {any} */ _what, /** @type {string} */ area) => {
    if (area === "session") return;
    settings = null;
    void register();
  });
}
void register();
