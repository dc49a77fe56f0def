// The connection page: creates this browser's key, offers it, and follows the connection.

import { Clock } from "./clock.js";
import { Connection, Problem } from "./connection.js";
import { shownText } from "./display.js";
import { byId, fill, h } from "./dom.js";
import { isTicket, ticketHash } from "./enrolment.js";
import { inWords, toldOf } from "./errors.js";
import { keyName } from "./keyname.js";
import { DirectChannel } from "./direct.js";
import { translated } from "./language.js";
import { WrongAddress, keysPage, readPage } from "./page.js";
import { enrolButton } from "./passkeys.js";
import { Provider } from "./provider.js";
import { isQr, qrCode } from "./qr.js";
import { atTime, duration, onDay } from "./relative-time.js";
import { lend } from "./session.js";
import { NoStorage, SessionStorage, openStorage } from "./storage.js";
import { hasPasskeys } from "./webauthn.js";

/** @typedef {import("./storage.js").Storage} Storage */
/** @typedef {import("./connection.js").View} View */

/**
 * Session storage key for the connection of this tab, so that a reload finds it: the ticket's hash.
 */
const THIS_TAB = "countersign.connection";

const clock = new Clock();
/** @type {View} */
const view = {};
/**
 * Last value shown of each part. A part is rebuilt only when its value changes, so that the user
 * can still click or select in it.
 * @type {Map<string, unknown>}
 */
const shown = new Map();

/** @param {string} part @param {unknown} what */
function isNew(part, what) {
  const is = shown.get(part) !== what;
  shown.set(part, what);
  return is;
}

/** @param {import("./page.js").Page} page */
async function main(page) {
  const provider = new Provider(page, clock);
  const direct = new DirectChannel({ page, clock, provider });
  const written = location.hash.slice(1);
  if (written !== "") history.replaceState(null, "", location.pathname + location.search);
  /** @type {Storage} */
  let storage;
  try {
    storage = await openStorage();
  } catch (error) {
    if (!(error instanceof NoStorage)) throw error;
    if (!isTicket(written)) return showProblem(new Problem("no-ticket"));
    return showProblem(new Problem("no-storage"), { session: () => connect(new SessionStorage(), written) });
  }
  const ticket = written === "" ? await resumed(storage) : written;
  if (ticket === null) return showProblem(new Problem("no-ticket"));
  return connect(storage, ticket);

  /** @param {Storage} storage @param {string} ticket */
  async function connect(storage, ticket) {
    fill(byId("problem"));
    byId("connection").hidden = false;
    const connection = new Connection({ page, clock, provider, storage, show, agree });
    byId("retry").onclick = () => connection.retryNow();
    if (isTicket(ticket)) remember(await ticketHash(ticket));
    try {
      await connection.run(ticket, keyName(navigator.userAgent));
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem(error instanceof NoStorage ? "no-storage" : "no-key");
      showProblem(problem, { session: () => connect(new SessionStorage(), ticket) });
    }
  }

  /** @param {View} news */
  function show(news) {
    if (news.ticketHash !== undefined) remember(news.ticketHash);
    Object.assign(view, news);
    showConnection(view, direct);
  }

  /**
   * The ticket of this tab's connection, or of the latest one under way.
   * @param {Storage} storage
   */
  async function resumed(storage) {
    const all = await storage.connections(page.provider, clock.now()).catch(() => []);
    const ofTab = all.find((one) => one.ticketHash === remembered());
    const open = all.find((one) => one.state === "open" && clock.now() < one.expiresAt);
    return (ofTab ?? open)?.ticket ?? null;
  }
}

/**
 * Asks whether the account at the centre belongs to the user.
 * @param {string} account
 * @returns {Promise<void>}
 */
function agree(account) {
  fill(byId("account"), shownText(account));
  const question = byId("account-question");
  question.hidden = false;
  byId("account-heading").focus();
  return new Promise((resolve) => {
    byId("account-yes").onclick = () => {
      question.hidden = true;
      resolve();
    };
  });
}

function remembered() {
  try {
    return sessionStorage.getItem(THIS_TAB);
  } catch {
    return null;
  }
}

/** @param {string} hash */
function remember(hash) {
  try {
    sessionStorage.setItem(THIS_TAB, hash);
  } catch {
    // Then a reload finds it among the connections under way.
  }
}

/** @param {View} view @param {DirectChannel} direct */
function showConnection(view, direct) {
  if (view.username !== undefined && isNew("username", view.username)) fill(byId("username"), shownText(view.username));
  const { made, offer, approved, told, tested } = view;
  const steps = { made, offered: offer !== undefined, approved, told, tested };
  const isDoing = { made: true, offered: made, approved: offer !== undefined, told: approved, tested: approved };
  for (const [name, isDone] of Object.entries(steps)) {
    const step = byId(`step-${name}`);
    const state = isDone ? "done" : isDoing[/** @type {keyof typeof isDoing} */ (name)] ? "doing" : "todo";
    step.dataset.state = state;
    const status = step.querySelector(".state");
    if (status !== null) status.textContent = translated({ done: "done", doing: "under way", todo: "not yet" }[state]);
  }
  const heard = tested ? "You are connected." : approved ? "Approved." : view.unconfirmed ? "The key is offered. UCloud must still confirm who you are."
    : offer ? "The key is offered. Approve it at the computing centre." : "";
  if (isNew("heard", heard)) byId("heard").textContent = heard === "" ? "" : translated(heard);
  if (view.expiresAt !== undefined && isNew("until", view.expiresAt)) {
    byId("good-until").textContent = translated("The command is valid until {time}.", { time: atTime(view.expiresAt - clock.ahead) });
  }
  byId("unreachable").hidden = (view.retryAt ?? null) === null;
  showClock(view);
  byId("unconfirmed").hidden = view.unconfirmed !== true;
  byId("approve").hidden = offer === undefined || approved === true || view.unconfirmed === true;
  if (offer !== undefined && isNew("offer", offer.code)) showOffer(offer);
  byId("second-offer").hidden = view.secondOffer !== true;
  byId("waiting-for-ucloud").hidden = tested !== true || told === true;
  byId("finished").hidden = tested !== true;
  if (tested === true && view.key !== undefined && isNew("key", view.key.kid)) showFinished(view.key, direct);
}

/** @param {View} view */
function showClock({ window }) {
  const ahead = -clock.ahead;
  const isOff = window !== undefined && (ahead > window.futureSkew || -ahead > window.lifetimeMax / 2);
  byId("clock").hidden = !isOff;
  if (isOff && isNew("clock", Math.round(ahead / 10))) {
    fill(byId("clock"), h("strong", {}, translated(ahead > 0 ? "This computer's clock is {duration} ahead." : "This computer's clock is {duration} behind.", { duration: duration(ahead) }), " "),
      translated("Signatures contain the time. Set this computer's clock to update automatically; until then these pages use the provider's clock."));
  }
}

/** @param {import("./storage.js").Offer} offer */
function showOffer({ command, fingerprint, words, qr }) {
  fill(byId("command"), command);
  const button = byId("copy");
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(command);
      byId("copied").textContent = translated("Copied.");
    } catch {
      getSelection()?.selectAllChildren(byId("command"));
      byId("copied").textContent = translated("Selected: copy it with your keyboard.");
    }
  };
  fill(byId("words"), ...(words ?? []).map((word) => h("li", {}, word)));
  byId("words").hidden = (words ?? []).length === 0;
  fill(byId("fingerprint"), fingerprint);
  byId("qr-part").hidden = !isQr(qr);
  if (isQr(qr)) fill(byId("qr"), /** @type {any} */ (qrCode(qr, translated("QR code of the command"))));
}

/** @param {import("./storage.js").KeyRecord} key @param {DirectChannel} direct */
function showFinished(key, direct) {
  byId("finished-heading").focus();
  byId("session-only").hidden = !key.sessionOnly;
  byId("can-close").hidden = key.sessionOnly;
  if (key.sessionOnly) {
    let isOver = false;
    const offer = lend(async () => (isOver ? [] : [key]));
    // The key is lost when this tab closes, so the browser asks the user before it closes it.
    const warn = (/** @type {Event} */ event) => event.preventDefault();
    addEventListener("beforeunload", warn);
    byId("end-session").onclick = async () => {
      try {
        await direct.removeKey(key, key.kid);
        isOver = true;
        removeEventListener("beforeunload", warn);
        void offer();
        fill(byId("session-only"), translated("The session is over: the key is gone, here and at the computing centre."));
      } catch (error) {
        byId("session-message").textContent = inWords(error);
      }
    };
  } else {
    // Persistent storage: a browser that is short of room evicts other sites first.
    void navigator.storage?.persist?.().catch(() => false);
    void (async () => {
      const listed = (await direct.keys(key)).find((one) => one.kid === key.kid);
      if (listed === undefined) return;
      key.expires = listed.expires;
      const storage = await openStorage();
      await storage.putKey(key);
      fill(byId("expires"), translated("The key is valid until {day}. Renewing it takes one click on", { day: onDay(listed.expires) }), " ", h("a", { href: keysPage() }, translated("your keys")), ".");
    })().catch(() => {});
  }
  if (!hasPasskeys() || key.sessionOnly) return;
  byId("passkey").hidden = false;
  const say = (/** @type {string} */ text) => (byId("passkey-message").textContent = text);
  fill(byId("passkey-button"), enrolButton(direct, key, () => {
    say(translated("The passkey is added."));
    fill(byId("passkey-button"));
  }, say));
}

/** @param {Problem} problem @param {{session?: () => void}} [actions] */
function showProblem({ kind, why }, actions = {}) {
  const told = toldOf(kind);
  byId("connection").hidden = true;
  const heading = h("h2", { tabindex: -1 }, told.title);
  fill(byId("problem"), h("section", { class: "problem", "data-kind": kind },
    heading,
    ...told.text.map((text) => h("p", {}, text)),
    why !== "" && h("p", { class: "quiet" }, translated("The provider says: {why}.", { why })),
    told.again === true && howToBegin(),
    h("div", { class: "buttons" },
      told.session === true && actions.session !== undefined
        && h("button", { onclick: actions.session }, translated("Use a key for this session only")),
      told.reload === true && h("button", { class: "quiet", onclick: () => location.reload() }, translated("Try again")))));
  heading.focus();
}

function howToBegin() {
  const template = /** @type {HTMLTemplateElement} */ (byId("how-to-begin"));
  return template.content.cloneNode(true);
}

// Opening another link in the same tab changes only the fragment and does not load the page.
addEventListener("hashchange", () => location.reload());

try {
  await main(readPage());
} catch (error) {
  const text = error instanceof WrongAddress ? error.message : translated("This page could not start");
  fill(byId("problem"), h("section", { class: "problem", "data-kind": "address" }, h("h2", {}, translated("Wrong address")), h("p", {}, `${text}.`)));
}
