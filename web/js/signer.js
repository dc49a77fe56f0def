// The signer's window: opened by UCloud's page, which says what is to be signed. It answers two origins, UCloud's and its own, each by name.

import { ask } from "./approval.js";
import { Clock } from "./clock.js";
import { byId, fill, h } from "./dom.js";
import { VERSION } from "./messages.js";
import { SOON_S, fromNow } from "./moments.js";
import { readPage } from "./page.js";
import { Provider } from "./provider.js";
import { borrow } from "./session.js";
import { shownText } from "./shown.js";
import { Signer } from "./signing.js";
import { openStorage } from "./storage.js";
import { usePasskey } from "./webauthn.js";
import { sentence, wordsFor } from "./words.js";

/** @typedef {import("./storage.js").KeyRecord} KeyRecord */
/** @typedef {import("./signing.js").Described} Described */

/** How many of the last signatures are shown. */
const SHOWN_MAX = 12;

/** How often a key's last use is written down, in seconds. */
const NOTED_S = 60;

const page = readPage();
const clock = new Clock();
const provider = new Provider(page, clock);
const storage = await openStorage().catch(() => null);

/** Keys that other tabs lend. @type {KeyRecord[]} */
let lent = [];
/** Keys of this browser, read again whenever something may have changed. @type {Promise<KeyRecord[]> | null} */
let kept = null;
addEventListener("focus", () => (kept = null));

async function keys() {
  kept ??= storage === null ? Promise.resolve([]) : storage.keys();
  let own = await kept.catch(() => []);
  if (own.length === 0) {
    // It may have come to be a moment ago.
    kept = null;
    own = storage === null ? [] : await storage.keys().catch(() => []);
  }
  return [...own, ...lent];
}

const signer = new Signer({
  page, clock, provider, keys,
  ask: async (question) => {
    byId("idle").hidden = true;
    const answer = await ask(byId("approval"), question);
    byId("idle").hidden = false;
    return answer;
  },
  usePasskey: async (options) => {
    fill(byId("approval"), h("section", { class: "question" }, h("h2", {}, "Confirm with your passkey"),
      h("p", {}, "This centre wants your passkey as well. Your browser is asking for it.")));
    try {
      return await usePasskey(options);
    } finally {
      fill(byId("approval"));
    }
  },
  signed,
  stranger: (origin) => {
    fill(byId("stranger"), h("p", { class: "notice warning" }, "A page at ", shownText(origin), " wanted to use this window. It got no answer."));
  },
});

/** @param {KeyRecord} key @param {Described[]} requests @param {boolean} deposited */
function signed(key, requests, deposited) {
  const list = byId("signed");
  for (const { row, items } of requests) {
    const words = wordsFor(row.call) ?? { one: row.call };
    const subject = items[0]?.[words.subjects?.[0] ?? ""];
    list.prepend(h("li", {},
      h("span", { class: "what" }, sentence(words, items.length)),
      typeof subject === "string" && shownText(subject),
      deposited && h("span", { class: "tag" }, "left at the provider")));
  }
  while (list.childElementCount > SHOWN_MAX) list.lastElementChild?.remove();
  byId("nothing-yet").hidden = true;
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
    soon && key.expires !== null && h("span", { class: "notice warning" }, `This browser's key ends ${fromNow(key.expires, clock.now())}. `,
      h("a", { href: "keys", target: "_blank", rel: "noopener" }, "Renew it")));
}

/** Says to the page that opened this window that it listens: to that page's origin, if it is one that is answered, and to nobody else. */
function hello() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const from = asked.get("from") ?? "";
  const isForUs = window.opener !== null && asked.get("v") === String(VERSION) && signer.admits(from);
  byId("alone").hidden = isForUs;
  byId("listening").hidden = !isForUs;
  if (from !== "" && !signer.admits(from)) {
    fill(byId("stranger"), h("p", { class: "notice warning" }, "This window was opened by a page that says it is ", shownText(from),
      ". It works for ", shownText(page.coreOrigin), " only."));
  }
  if (isForUs) window.opener.postMessage({ countersign: VERSION, channel: asked.get("channel"), type: "hello" }, from);
}

addEventListener("message", (event) => {
  const source = event.source;
  if (source === null || source === window) return;
  void signer.take(event, (answer) => source.postMessage(answer, { targetOrigin: event.origin }));
});
addEventListener("hashchange", hello);

fill(byId("for"), shownText(page.coreOrigin));
await borrow((keys) => (lent = keys));
const [first] = await keys();
if (first !== undefined) showKey(first);
await signer.prepare().catch(() => {});
hello();
