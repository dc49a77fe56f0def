// The signer's window. UCloud's page opens it and sends what is to be signed. It answers two
// origins, UCloud's and its direct, and always names the origin that it answers.

import { ask, askForPasskey } from "./approval.js";
import { sentence, wordsOf } from "./call-descriptions.js";
import { Clock } from "./clock.js";
import { shownPath, shownText } from "./display.js";
import { byId, fill, h } from "./dom.js";
import { KnownDrives } from "./drives.js";
import { inWords } from "./errors.js";
import { VERSION } from "./messages.js";
import { DirectChannel } from "./direct.js";
import { readPage } from "./page.js";
import { Provider, Refused } from "./provider.js";
import { SOON_S, duration, fromNow } from "./relative-time.js";
import { borrow } from "./session.js";
import { Signer } from "./signer.js";
import { onKeysChanged, openStorage } from "./storage.js";
import { Declined, usePasskey } from "./webauthn.js";

/** @typedef {import("./storage.js").KeyRecord} KeyRecord */
/** @typedef {import("./signer.js").Described} Described */

/** How many of the last signatures are listed. */
const SHOWN_MAX = 12;

/** How often a key's last use is stored, in seconds. */
const NOTED_S = 60;

const page = readPage();
const clock = new Clock();
const provider = new Provider(page, clock);
const storage = await openStorage().catch(() => null);

/** Keys lent by other tabs. @type {KeyRecord[]} */
let lent = [];
/**
 * Stored keys of this browser. Read again after another page changes them.
 * @type {Promise<KeyRecord[]> | null}
 */
let kept = null;
onKeysChanged(() => (kept = null));

async function keys() {
  kept ??= storage === null ? Promise.resolve([]) : storage.keys();
  let own = await kept.catch(() => []);
  if (own.length === 0) {
    // A key may have been stored since the last read.
    kept = null;
    own = storage === null ? [] : await storage.keys().catch(() => []);
  }
  return [...own, ...lent];
}

/** Hides the idle view while it runs `work`. @template T @param {() => Promise<T>} work */
async function inFront(work) {
  byId("idle").hidden = true;
  try {
    return await work();
  } finally {
    byId("idle").hidden = false;
  }
}

const direct = new DirectChannel({ page, clock, provider });
const drives = new KnownDrives((key) => direct.drives(key));

const signer = new Signer({
  page, clock, provider, keys, drives, preview: (key, specification) => direct.preview(key, specification), signed, failed, stranger, clockJumped,
  ask: (question) => inFront(() => ask(byId("approval"), question)),
  usePasskey: (options, request, drives) => inFront(() => askForPasskey(byId("approval"), request, drives, () => usePasskey(options))),
});

/** @param {string} origin */
function stranger(origin) {
  notice("stranger", "A page at ", shownText(origin), " tried to use this window. It got no answer.");
}

/** @param {number} seconds */
function clockJumped(seconds) {
  notice("clock", `This computer's clock was ${seconds > 0 ? "put forward" : "put back"} by ${duration(seconds)}, or the computer slept. `,
    "Signatures use the provider's clock, so they stay valid.");
}

/** @param {unknown} error */
function failed(error) {
  if (error instanceof Declined) return;
  const link = (/** @type {string} */ to, /** @type {string} */ text) => h("a", { href: to, target: "_blank", rel: "noopener" }, text);
  if (error instanceof Refused && error.code === "INTENT_STEP_UP") {
    notice("failure", "This centre needs a passkey for that, and has none of yours. ", link("keys", "Add a passkey"), ", then try again.");
  } else if (error instanceof Refused && error.code === "INTENT_INVALID") {
    notice("failure", "The provider no longer accepts this browser's key. ", link("keys", "Look at your keys"), ", or connect again from UCloud.");
  } else {
    notice("failure", inWords(error));
  }
}

/** @param {"stranger" | "failure" | "clock"} place @param {...(Node | string)} what */
function notice(place, ...what) {
  fill(byId(place), h("p", { class: "notice warning" }, ...what));
}

/** @param {KeyRecord} key @param {Described[]} requests @param {boolean} deposited */
function signed(key, requests, deposited) {
  const list = byId("signed");
  for (const { row, items } of requests) {
    const words = wordsOf(row) ?? { one: row.call };
    const subject = items[0]?.[words.subjects?.[0] ?? ""];
    list.prepend(h("li", {},
      h("span", { class: "what" }, sentence(words, items)),
      typeof subject === "string" && shownPath(subject, drives.known(key, [])),
      deposited && h("span", { class: "tag" }, "left at the provider")));
  }
  while (list.childElementCount > SHOWN_MAX) list.lastElementChild?.remove();
  byId("nothing-yet").hidden = true;
  fill(byId("failure"));
  showKey(key);
  const now = Math.floor(clock.now());
  if (storage !== null && !key.sessionOnly && now - (key.lastUsed ?? 0) > NOTED_S) {
    key.lastUsed = now;
    storage.putKey(key).catch(() => {});
  }
}

/** @param {KeyRecord} key */
function showKey(key) {
  const soon = key.expires !== null && key.expires - clock.now() < SOON_S;
  fill(byId("key"), "Signing as ", h("strong", {}, shownText(key.username)),
    key.sessionOnly ? " with a key for this session only." : ".",
    soon && key.expires !== null && h("span", { class: "notice warning" }, `This browser's key expires ${fromNow(key.expires, clock.now())}. `,
      h("a", { href: "keys", target: "_blank", rel: "noopener" }, "Renew it")));
}

/**
 * Announces that the window listens to the page that opened it, if its origin is one that is
 * answered.
 */
function hello() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const from = asked.get("from") ?? "";
  const isForUs = window.opener !== null && asked.get("v") === String(VERSION) && signer.admits(from);
  byId("alone").hidden = isForUs;
  byId("listening").hidden = !isForUs;
  if (from !== "" && !signer.admits(from)) {
    notice("stranger", "This window was opened by a page that says it is ", shownText(from), ". It works for ", shownText(page.coreOrigin), " only.");
  }
  if (isForUs) window.opener.postMessage({ countersign: VERSION, channel: asked.get("channel"), type: "hello", seals: true }, from);
}

addEventListener("message", (event) => {
  const source = event.source;
  if (source === null || source === window) return;
  void signer.take(event, (answer) => source.postMessage(answer, { targetOrigin: event.origin }));
});
addEventListener("hashchange", hello);

fill(byId("for"), shownText(page.coreOrigin));
// If the table does not load, the first request loads it again. If no tab lends a key, `borrow`
// times out.
const prepared = signer.prepare().catch(() => {});
const borrowed = borrow((keys) => (lent = keys));
if ((await keys()).length === 0) await borrowed;
await prepared;
const [first] = await keys();
if (first !== undefined) showKey(first);
hello();
