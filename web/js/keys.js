// The page of keys: this browser's, the user's others, and passkeys. This browser's key signs every
// request of the page.

import { Clock } from "./clock.js";
import { shownText } from "./display.js";
import { byId, fill, h } from "./dom.js";
import { inWords } from "./errors.js";
import { DirectChannel } from "./direct.js";
import { translated } from "./language.js";
import { WrongAddress, readPage } from "./page.js";
import { passkeyList } from "./passkeys.js";
import { Provider, Refused } from "./provider.js";
import { SOON_S, exactly, fromNow, lastUse, onDay } from "./relative-time.js";
import { borrow } from "./session.js";
import { SessionStorage, openStorage } from "./storage.js";

/** @typedef {import("./storage.js").KeyRecord} KeyRecord */
/** @typedef {import("./storage.js").Storage} Storage */
/** @typedef {import("./direct.js").ListedKey} ListedKey */

/** Where a key is kept that this page can sign with. */
const HERE = "this browser";

const clock = new Clock();

/**
 * Asks in the page's dialog.
 * @param {string} question
 * @param {string} button
 * @returns {Promise<boolean>}
 */
function confirm(question, button) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  byId("confirm-question").textContent = question;
  byId("confirm-yes").textContent = button;
  return new Promise((resolve) => {
    byId("confirm-yes").onclick = () => dialog.close("yes");
    byId("confirm-no").onclick = () => dialog.close("no");
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.returnValue = "no";
    dialog.showModal();
    byId("confirm-no").focus();
  });
}

/** @param {import("./page.js").Page} page */
async function main(page) {
  const direct = new DirectChannel({ page, clock, provider: new Provider(page, clock) });
  /** @type {Storage} */
  const storage = await openStorage().catch(() => new SessionStorage());
  /** @type {KeyRecord[]} */
  let lent = [];
  await borrow((keys) => (lent = keys));
  const place = byId("keys");
  await show();

  async function show() {
    const kept = (await storage.keys().catch(() => [])).filter((key) => key.provider === page.provider && key.state === "active");
    const keys = [...kept, ...lent];
    const usernames = [...new Set(keys.map((key) => key.username))];
    place.removeAttribute("aria-busy");
    if (usernames.length === 0) {
      const template = /** @type {HTMLTemplateElement} */ (byId("no-keys"));
      return fill(place, h("p", {}, translated("This browser has no key for {provider}.", { provider: page.provider })), template.content.cloneNode(true));
    }
    const sections = usernames.map((username) => userSection(username, keys.filter((key) => key.username === username)));
    fill(place, ...sections.map(({ section }) => section));
    await Promise.all(sections.map(({ load }) => load()));
  }

  /** @param {string} username @param {KeyRecord[]} keys this browser's of that user */
  function userSection(username, keys) {
    const message = h("p", { class: "message", role: "status" });
    const say = (/** @type {string} */ text) => (message.textContent = text);
    const list = h("ul", { class: "cards" });
    const passkeys = h("div", {});
    const gone = h("div", {});
    const section = h("section", {}, h("h2", {}, shownText(username)), list, message, gone, passkeys);
    const newestFirst = [...keys].sort((a, b) => b.created - a.created);
    list.append(...newestFirst.map((key) => card(key, HERE, key.sessionOnly, null)));

    const load = async () => {
      for (const key of newestFirst) {
        try {
          showListed(key, await direct.keys(key));
          return;
        } catch (error) {
          if (isNotAccepted(error)) continue;
          say(inWords(error));
          return;
        }
      }
      list.replaceChildren(...newestFirst.map((key) => card({ ...key, state: "not accepted" }, HERE, key.sessionOnly, null, forgetButton(key, say))));
      const template = /** @type {HTMLTemplateElement} */ (byId("no-keys"));
      fill(gone, h("p", { class: "notice warning" }, translated("The computing centre does not accept this browser's key: it was removed there, or has expired.")),
        h("p", {}, translated("To connect this browser again:")), template.content.cloneNode(true));
    };
    return { section, load };

    /** @param {KeyRecord} key that signed the request @param {ListedKey[]} listed */
    function showListed(key, listed) {
      const oursOf = (/** @type {ListedKey} */ one) => keys.find((ours) => ours.kid === one.kid);
      listed.sort((a, b) => Number(oursOf(b) !== undefined) - Number(oursOf(a) !== undefined) || b.created - a.created);
      const cardOf = (/** @type {ListedKey} */ one) => {
        const ours = oursOf(one);
        return ours === undefined ? otherCard(one, key, say) : ownCard(ours, one, say, key);
      };
      const isOver = (/** @type {ListedKey} */ one) => one.state !== "active" && oursOf(one) === undefined;
      const over = listed.filter(isOver);
      list.replaceChildren(...listed.filter((one) => !isOver(one)).map(cardOf));
      fill(gone, over.length > 0 && h("details", {}, h("summary", {}, translated("Keys that were removed ({count})", { count: over.length })),
        h("ul", { class: "cards" }, ...over.map(cardOf))));
      fill(passkeys, h("h3", {}, translated("Passkeys")), h("p", { class: "quiet" }, translated("For actions that need more than this browser's key.")),
        passkeyList(direct, key, () => clock.now(), confirm));
    }
  }

  /**
   * A key of this browser.
   * @param {KeyRecord} key
   * @param {ListedKey} listed
   * @param {(text: string) => void} say
   * @param {KeyRecord} signer
   */
  function ownCard(key, listed, say, signer) {
    if (!key.sessionOnly && key.expires !== listed.expires) storage.putKey(Object.assign(key, { expires: listed.expires })).catch(() => {});
    const seal = (key.instanceKey ?? null) !== null;
    if (listed.state !== "active") return card(listed, HERE, key.sessionOnly, null, forgetButton(key, say));
    const renew = h("button", { onclick: () => act(renew, say, () => renewed(key)) }, translated("Renew"));
    const question = translated("Remove this browser's key? You then have to connect this browser again to use the computing centre from it.");
    const remove = h("button", { class: "quiet", onclick: () => act(remove, say, () => removed(key.kid, signer, question)) }, translated("Remove"));
    return card(listed, HERE, key.sessionOnly, seal, !key.sessionOnly && renew, remove);
  }

  /**
   * For a key that the provider does not accept, so that it is removed only in this browser.
   * @param {KeyRecord} key
   * @param {(text: string) => void} say
   */
  function forgetButton(key, say) {
    const forget = h("button", { class: "quiet", onclick: () => act(forget, say, async () => {
      await storage.removeKey(key.kid);
      await show();
    }) }, translated("Forget it"));
    return !key.sessionOnly && forget;
  }

  /**
   * A key of another browser.
   * @param {ListedKey} listed
   * @param {KeyRecord} signer
   * @param {(text: string) => void} say
   */
  function otherCard(listed, signer, say) {
    const question = translated("Remove this key? The browser that has it can no longer sign for you.");
    const remove = h("button", {
      class: "quiet", "aria-label": translated("Remove the key {name}", { name: listed.name }), onclick: () => act(remove, say, () => removed(listed.kid, signer, question)),
    }, translated("Remove"));
    return card(listed, listed.state === "active" ? "another browser" : null, false, null, listed.state === "active" && remove);
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {(text: string) => void} say
   * @param {() => Promise<void>} work
   */
  async function act(button, say, work) {
    button.disabled = true;
    say("");
    try {
      await work();
    } catch (error) {
      say(inWords(error));
    }
    button.disabled = false;
  }

  /**
   * Renews a key. The old one is removed after the new one has proved that it works.
   * @param {KeyRecord} old
   */
  async function renewed(old) {
    const key = await direct.renew(old, storage);
    await direct.removeKey(key, old.kid);
    await storage.removeKey(old.kid);
    await show();
  }

  /** @param {string} kid @param {KeyRecord} signer @param {string} question */
  async function removed(kid, signer, question) {
    if (!(await confirm(question, translated("Remove")))) return;
    await direct.removeKey(signer, kid);
    await storage.removeKey(kid);
    await show();
  }
}

/** @param {unknown} error */
function isNotAccepted(error) {
  return error instanceof Refused && error.code === "INTENT_INVALID";
}

/**
 * @param {{name: string, state: string, created: number, expires: number | null, lastUsed: number |
 *   null, words?: string[], fingerprint?: string}} key
 * @param {string | null} where
 * @param {boolean} isSessionOnly
 * @param {boolean | null} seal whether this browser can seal sessions with this key; null if that is not known
 * @param {...(HTMLElement | false)} buttons
 */
function card({ name, state, created, expires, lastUsed, words, fingerprint }, where, isSessionOnly, seal, ...buttons) {
  const now = clock.now();
  const isOver = expires !== null && expires <= now;
  const isSoon = expires !== null && !isOver && expires - now < SOON_S;
  const is = state === "active" ? (isOver ? "expired" : "active") : state;
  return h("li", { class: "card", "data-state": is },
    h("div", {},
      h("div", { class: "name" }, h("strong", {}, shownText(name)), " ", where !== null && h("span", { class: "tag" }, translated(where)), " ",
        is !== "active" && h("span", { class: "tag off" }, translated(is)), isSessionOnly && h("span", { class: "tag off" }, translated("this session only"))),
      h("dl", { class: "facts" },
        h("dt", {}, translated("Made")), h("dd", { title: exactly(created) }, `${fromNow(created, now)}`),
        h("dt", {}, translated(isOver ? "Ended" : "Ends")), h("dd", { class: isSoon || isOver ? "soon" : null },
          expires === null ? translated("not known") : translated("{relative}, on {day}", { relative: fromNow(expires, now), day: onDay(expires) })),
        h("dt", {}, translated("Last used")), h("dd", {}, lastUsed === null ? translated("not yet") : lastUse(lastUsed, now)),
        ...(seal === null ? [] : [h("dt", {}, translated("Sessions")), h("dd", {}, translated(seal ? "sealed, where the centre offers it" : "not sealed: connect this browser again"))]),
        ...(words === undefined ? [] : [h("dt", {}, translated("In words")), h("dd", { title: fingerprint }, words.join(" "))])),
      isSoon && is === "active" && where === HERE && h("p", { class: "notice warning" }, translated("This key expires soon. Renew it: nothing else changes."))),
    h("div", { class: "buttons" }, ...buttons));
}

try {
  await main(readPage());
} catch (error) {
  fill(byId("keys"), h("p", { class: "notice warning" }, error instanceof WrongAddress ? `${error.message}.` : translated("This page could not start.")));
}
