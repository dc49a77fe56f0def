// Registers the content scripts: hook and bridge at the configured UClouds, and at the providers' own
// pages those that take a ticket or the token of a job's interface. Nowhere else does the extension
// run in a page.

import { browser } from "./browser.js";
import { permittedSites } from "./settings.js";

const of = (/** @type {string[]} */ ...names) => names.map((name) => `extension/page/${name}.js`);

/** The files of each script, in their order. */
const BRIDGE = of("bytes", "seal", "sealed", "bridge");
const HOOK = of("hook-bytes", "hook", "hook-pieces", "hook-requests", "hook-seals", "hook-sockets");

/** @param {string} origin */
const host = (origin) => `${new URL(origin).protocol}//${new URL(origin).hostname}`;

/** @param {import("./settings.js").Site[]} sites */
export function scriptsFor(sites) {
  if (sites.length === 0) return [];
  const common = { runAt: "document_start", allFrames: false };
  const at = (/** @type {string} */ page) => sites.map(({ id, origin }) => `${host(origin)}/ucloud/${id}/${page}`);
  const uclouds = [...new Set(sites.map(({ ucloud }) => `${host(ucloud)}/*`))];
  return [
    { id: "bridge", matches: uclouds, js: BRIDGE, ...common },
    { id: "hook", matches: uclouds, js: HOOK, world: "MAIN", ...common },
    { id: "ticket", matches: at("connect"), js: of("ticket"), ...common },
    { id: "interface", matches: at("interface"), js: of("interface"), ...common },
  ];
}

/** Ends with the last registration: they run one after the other. @type {Promise<unknown>} */
let turn = Promise.resolve();

/** Registers the scripts for the providers that are configured and permitted now. */
export function register() {
  turn = turn.then(async () => {
    const scripts = scriptsFor(await permittedSites());
    const known = await browser.scripting.getRegisteredContentScripts();
    const isSame = known.length === scripts.length && scripts.every(({ id, matches }) => {
      const before = known.find((/** @type {any} */ one) => one.id === id);
      return before !== undefined && JSON.stringify([...before.matches].sort()) === JSON.stringify([...matches].sort());
    });
    if (isSame) return;
    if (known.length > 0) await browser.scripting.unregisterContentScripts();
    if (scripts.length > 0) await browser.scripting.registerContentScripts(scripts);
  }).catch((error) => console.error("cannot register content scripts", error));
  return turn;
}
