// A user's passkeys: lists, adds and removes them. Part of the page of keys, and of the end of the
// connection page.

import { shownText } from "./display.js";
import { h } from "./dom.js";
import { inWords } from "./errors.js";
import { keyName } from "./keyname.js";
import { exactly, fromNow } from "./relative-time.js";
import { translated } from "./language.js";
import { hasPasskeys } from "./webauthn.js";

/** @typedef {import("./direct.js").DirectChannel} DirectChannel */
/** @typedef {import("./storage.js").KeyRecord} KeyRecord */

/**
 * The button that enrols a passkey.
 * @param {DirectChannel} direct
 * @param {KeyRecord} key
 * @param {() => void} done
 * @param {(text: string) => void} say
 */
export function enrolButton(direct, key, done, say) {
  const button = h("button", { onclick: enrol }, translated("Add a passkey"));
  async function enrol() {
    button.disabled = true;
    say("");
    try {
      await direct.enrolPasskey(key, keyName(navigator.userAgent));
      done();
    } catch (error) {
      say(inWords(error));
    }
    button.disabled = false;
  }
  return button;
}

/**
 * The list of passkeys, with buttons.
 * @param {DirectChannel} direct
 * @param {KeyRecord} key
 * @param {() => number} now
 * @param {(question: string, button: string) => Promise<boolean>} confirm
 */
export function passkeyList(direct, key, now, confirm) {
  const message = h("p", { class: "message", role: "status" });
  const say = (/** @type {string} */ text) => (message.textContent = text);
  const list = h("ul", { class: "cards" });
  const buttons = h("div", { class: "buttons", hidden: true }, enrolButton(direct, key, () => void load(), say));
  const place = h("div", {}, list, message, buttons);
  /** @returns {Promise<void>} */
  async function load() {
    try {
      const passkeys = await direct.passkeys(key);
      list.replaceChildren(...passkeys.map(card));
      if (passkeys.length === 0) list.replaceChildren(h("li", { class: "none" }, translated("None yet.")));
      buttons.hidden = !hasPasskeys();
      if (!hasPasskeys()) say(translated("This browser does not support passkeys."));
    } catch (error) {
      say(inWords(error));
    }
  }
  /** @param {import("./direct.js").ListedPasskey} passkey */
  const card = (passkey) => h("li", { class: "card" },
    h("div", {}, h("strong", {}, shownText(passkey.name)), " ", isCopied(passkey) && h("span", { class: "tag off" }, "refused"),
      h("div", { class: "quiet", title: exactly(passkey.created) }, `${translated("Added {when}.", { when: fromNow(passkey.created, now()) })} `,
        passkey.lastUsed === null ? translated("Not used yet.") : translated("Last used {when}.", { when: fromNow(passkey.lastUsed, now()) }))),
    isCopied(passkey) && h("p", { class: "notice warning" }, translated("This passkey has been copied, so it is no longer accepted. Remove it, and check the device.")),
    h("button", { class: "quiet", "aria-label": translated("Remove the passkey {name}", { name: passkey.name }), onclick: () => remove(passkey) }, translated("Remove")));
  const isCopied = (/** @type {import("./direct.js").ListedPasskey} */ passkey) => passkey.state === "copied";
  /** @param {import("./direct.js").ListedPasskey} passkey */
  const remove = async (passkey) => {
    say("");
    if (!(await confirm(translated("Remove the passkey “{name}”? Actions that need a passkey then need another one.", { name: passkey.name }), translated("Remove")))) return;
    try {
      await direct.removePasskey(key, passkey.id);
      await load();
    } catch (error) {
      say(inWords(error));
    }
  };
  void load();
  return place;
}
