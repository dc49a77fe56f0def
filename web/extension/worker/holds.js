// Requests that UCloud's page wants to send. Decides whether they are signed, asks a person first if
// the rules of the signer's window say so, and leaves the intents at the providers. A request that
// cannot be signed is sent unsigned, and the user can read why. A request that the user refuses is
// answered here and not sent.
//
// The browser may stop the worker at any step. So what a person is asked, the answer, and then the
// finished intents are in the session's storage, and the bridge repeats its question under the same
// name. What was shown is what is signed: it is read from that storage, never from the repeated
// question. A repeated question leaves the same intents again, each of which a provider takes once.

import { sentence, wordsOf } from "../../js/call-descriptions.js";
import { sha256 } from "../../js/digest.js";
import { drivesIn } from "../../js/drives.js";
import { NotSigned } from "../../js/messages.js";
import { Refused, Unreachable } from "../../js/provider.js";
import { withScripts } from "../../js/review-script.js";
import { isOnStartupDrive, keyOf, needsAPerson } from "../../js/review.js";
import { Differs } from "../../js/table.js";
import { NeedsPasskey } from "./connected-provider.js";
import { NeedsList, NotPlanned } from "./plan.js";

/** @typedef {import("../../js/storage.js").KeyRecord} KeyRecord */
/** @typedef {import("../../js/review.js").Described} Described */
/** @typedef {import("../../js/drives.js").Drive} Drive */
/** @typedef {import("./connected-provider.js").ConnectedProvider} ConnectedProvider */
/** @typedef {import("./plan.js").UserRequest} UserRequest */
/** @typedef {import("./record.js").Entry} Entry */

/** One intent: a request that one provider will get. @typedef {{provider: string, request: Described}} Part */

/**
 * A question to a person, as it is kept.
 * @typedef {object} Kept
 * @property {string} name what the bridge calls it: a page can use a name again
 * @property {string} id drawn here: an answer of the window is for this question and no other
 * @property {string} asked the digest of the page's request, to recognise the repeated question
 * @property {string} ucloud the page's origin
 * @property {string} username
 * @property {Part[]} parts
 * @property {{[number: string]: Drive}} drives the providers' titles
 * @property {string[]} silent providers that did not say which drives these are
 * @property {number} until milliseconds since 1970
 * @property {"asking" | "approved" | "refused"} state
 */

/**
 * A question whose intents are signed, as it is kept until the bridge has its answer.
 * @typedef {object} Finished
 * @property {string} id
 * @property {string} asked
 * @property {number} until
 * @property {"signing"} state
 * @property {{provider: string, jws: string}[]} intents
 * @property {Omit<Entry, "at" | "what">[]} told what the record says of them
 */

/**
 * What the worker stands on.
 * @typedef {object} Ground
 * @property {(request: UserRequest, ucloud: string) => Promise<Part[]>} plan
 * @property {(id: string) => ConnectedProvider} provider
 * @property {() => Promise<KeyRecord[]>} keys
 * @property {{get: (name: string) => Promise<any>, set: (name: string, value: any) => Promise<void>, remove: (name: string) => Promise<void>, all: () => Promise<{[name: string]: any}>}} session
 * @property {() => Promise<void>} openWindow shows the questions that wait
 * @property {(entry: Omit<Entry, "at">) => unknown} note
 * @property {() => number} now milliseconds since 1970
 */

/**
 * The answer to the bridge: nothing (send the request), an answer of the extension's own, or a list
 * of UCloud's that the page has to bring.
 */
/** @typedef {{answer?: {status: number, body: string}, need?: string}} Verdict */

/** Questions that wait at most, of all pages. */
const WAITING_MAX = 20;

/** Questions whose intents are kept at most: those of two documents. */
const FINISHED_MAX = 400;

/** How long these are kept after the page has stopped waiting, in milliseconds. */
const GRACE_MS = 5_000;

/** Requests to providers at once. A deletion of many drives is a deposit for each. */
const AT_ONCE = 8;

/** How long a refusal counts for the same request, in milliseconds: the page repeats some itself. */
const REFUSED_MS = 15_000;

/** The name under which a question is kept. @param {string} name */
export const keptAs = (name) => `question/${name}`;

/** @param {string} text */
const refusedAs = (text) => `refused/${text}`;

/** Why a request is not signed: the key of a message. @param {unknown} error */
export function whyNot(error) {
  if (error instanceof NotPlanned) return error.why;
  if (error instanceof NotSigned) return { no_key: "whyNoKey", unknown_user: "whyNoKey", key_expired: "whyKeyExpired", bad_parameters: "whyParameters" }[/** @type {string} */ (error.code)] ?? "whyUnknownCall";
  if (error instanceof Differs) return { behind: "whyProviderBehind", ahead: "whyProviderAhead", unlike: "whyProviderUnlike" }[error.how];
  if (error instanceof NeedsPasskey) return "whyPasskey";
  if (error instanceof Unreachable) return "whyUnreachable";
  if (error instanceof Refused && error.code === "INTENT_STALE") return "whyClock";
  if (error instanceof Refused && error.code === "INTENT_STEP_UP") return "whyPasskey";
  if (error instanceof Refused) return "whyRefusedByProvider";
  return "whyOther";
}

export class Holds {
  #ground;
  /** Those who wait for a person's answer, by the question's name. @type {Map<string, () => void>} */
  #waiting = new Map();
  /** Questions that are judged now, by name: a repeated one waits for the same verdict. @type {Map<string, Promise<Verdict>>} */
  #underWay = new Map();
  /** The ends of the questions whose intents are kept, by name; read once by each worker. @type {Promise<Map<string, number>> | null} */
  #finished = null;

  /** @param {Ground} ground */
  constructor(ground) {
    this.#ground = ground;
  }

  /**
   * Judges a request of UCloud's page, and signs it.
   * @param {{name: string, until: number, request: UserRequest}} question
   * @param {string} ucloud the page's origin, as the browser says
   * @returns {Promise<Verdict>}
   */
  hold({ name, until, request }, ucloud) {
    const under = `${ucloud} ${name}`;
    const known = this.#underWay.get(under);
    if (known !== undefined) return known;
    const verdict = this.#judged(under, until, request, ucloud).finally(() => this.#underWay.delete(under));
    this.#underWay.set(under, verdict);
    return verdict;
  }

  /** @param {string} name @param {number} until @param {UserRequest} request @param {string} ucloud @returns {Promise<Verdict>} */
  async #judged(name, until, request, ucloud) {
    try {
      // A plan changes nothing, so it is made meanwhile.
      const planned = this.#ground.plan(request, ucloud);
      planned.catch(() => {});
      const asked = await sha256(new TextEncoder().encode(JSON.stringify(request)));
      const kept = /** @type {Kept | Finished | undefined} */ (await this.#ground.session.get(keptAs(name)));
      if (kept !== undefined && kept.asked !== asked) return {};
      if (kept?.state === "signing") return await this.#left(kept);
      if (kept !== undefined) return await this.#answered(kept);
      const parts = await planned;
      if (parts.length === 0) return {};
      const keys = await this.#ground.keys();
      for (const { provider } of parts) this.#keyOf(keys, provider, request.username);
      const { known, silent } = await this.#drivesOf(parts, keys, request.username);
      const marked = parts.map(({ provider, request: one }) => ({ provider, request: { ...one, ask: one.ask || isOnStartupDrive(one, known) } }));
      const judged = await this.#scripted(marked, keys, request.username);
      const question = { name, id: crypto.randomUUID(), asked, ucloud, username: request.username, parts: judged, until };
      if (!judged.some((part) => needsAPerson(part.request))) return await this.#signed(question, () => false);
      if (await this.#wasRefused(ucloud, request.username, judged)) return this.#refusal(judged);
      if ((await this.#waitingNow()) >= WAITING_MAX) throw new NotPlanned("whyTooMany");
      const drives = Object.fromEntries(judged.flatMap((part) => part.request.items.flatMap(drivesIn)).flatMap((number) => {
        const drive = known.get(number);
        return drive === undefined ? [] : [[number, drive]];
      }));
      /** @type {Kept} */
      const asking = { ...question, drives, silent, state: "asking" };
      await this.#ground.session.set(keptAs(name), asking);
      return await this.#answered(asking);
    } catch (error) {
      if (error instanceof NeedsList) return { need: error.path };
      const [first] = error instanceof Failed ? error.parts : [];
      this.#note("unsigned", first, request.path, whyNot(error instanceof Failed ? error.cause : error));
      return {};
    }
  }

  /** @param {KeyRecord[]} keys @param {string} provider @param {string} username */
  #keyOf(keys, provider, username) {
    return keyOf(keys, provider, username, this.#ground.provider(provider).clock.now());
  }

  /**
   * The drives of a changing request, as their providers name them.
   * @param {Part[]} parts
   * @param {KeyRecord[]} keys
   * @param {string} username
   */
  async #drivesOf(parts, keys, username) {
    /** @type {Map<string, Drive>} */
    const known = new Map();
    /** @type {string[]} */
    const silent = [];
    const changing = parts.filter(({ request }) => request.row.class !== "read");
    for (const provider of new Set(changing.map((part) => part.provider))) {
      const numbers = changing.filter((part) => part.provider === provider).flatMap((part) => part.request.items.flatMap(drivesIn));
      if (numbers.length === 0) continue;
      const drives = await this.#ground.provider(provider).drives.of(this.#keyOf(keys, provider, username), [...new Set(numbers)]);
      if (drives === null) silent.push(provider);
      for (const number of numbers) {
        const drive = drives?.get(number);
        if (drive !== undefined) known.set(number, drive);
      }
    }
    return { known, silent };
  }

  /**
   * The requests, with the scripts that their providers would run: these are shown, and signed by
   * their digests.
   * @param {Part[]} parts
   * @param {KeyRecord[]} keys
   * @param {string} username
   */
  async #scripted(parts, keys, username) {
    /** @type {Part[]} */
    const scripted = [];
    for (let at = 0; at < parts.length; at += AT_ONCE) {
      scripted.push(...await Promise.all(parts.slice(at, at + AT_ONCE).map(async ({ provider, request }) => {
        const preview = (/** @type {unknown} */ specification) => this.#ground.provider(provider).preview(this.#keyOf(keys, provider, username), specification);
        const [shown = request] = await withScripts([request], preview);
        return { provider, request: shown };
      })));
    }
    return scripted;
  }

  /**
   * Waits for the answer of a person, and acts on it.
   * @param {Kept} question
   * @returns {Promise<Verdict>}
   */
  async #answered(question) {
    const { name, id } = question;
    /** @type {Kept | undefined} */
    let kept = question;
    while (kept?.id === id && kept.state === "asking" && this.#ground.now() < kept.until) {
      const left = Math.max(0, kept.until - this.#ground.now());
      // If no window opens, the toolbar's window leads to the question.
      void this.#ground.openWindow().catch(() => {});
      await new Promise((resolve) => {
        const late = setTimeout(resolve, left);
        this.#waiting.set(name, () => {
          clearTimeout(late);
          resolve(undefined);
        });
      });
      kept = await this.#ground.session.get(keptAs(name));
    }
    if (kept?.id !== id) {
      // Withdrawn. Another question may stand under this name by now.
      this.#note("unsigned", question.parts[0], "", "whyWithdrawn");
      return {};
    }
    this.#waiting.delete(name);
    if (kept.state === "approved") return this.#signed(kept, () => this.#ground.now() >= question.until);
    // The refusal holds for this request even if it cannot be remembered for the next.
    if (kept.state === "refused") await this.#remember(kept).catch(() => {});
    await this.#ground.session.remove(keptAs(name));
    if (kept.state === "refused") return this.#refusal(kept.parts);
    this.#note("unsigned", question.parts[0], "", "whyNoAnswer");
    return {};
  }

  /**
   * Notes the answer of the approval window.
   * @param {string} id of the question that it showed
   * @param {boolean} isApproved
   */
  async decide(id, isApproved) {
    const kept = (await this.questions()).find((question) => question.id === id);
    if (kept === undefined) return;
    await this.#ground.session.set(keptAs(kept.name), { ...kept, state: isApproved ? "approved" : "refused" });
    this.#waiting.get(kept.name)?.();
  }

  /** Refuses all that waits: its window was closed. */
  async refuseAll() {
    for (const { id } of await this.questions()) await this.decide(id, false);
  }

  /** The page has its answer, or does not wait any more. @param {string} name @param {string} ucloud */
  async withdraw(name, ucloud) {
    await this.#ground.session.remove(keptAs(`${ucloud} ${name}`));
    (await this.#finished)?.delete(`${ucloud} ${name}`);
    this.#waiting.get(`${ucloud} ${name}`)?.();
  }

  /** The questions that wait for a person, the oldest first. @returns {Promise<Kept[]>} */
  async questions() {
    const all = Object.entries(await this.#ground.session.all()).filter(([name]) => name.startsWith(keptAs(""))).map(([, kept]) => kept);
    return all.filter(({ state, until }) => state === "asking" && this.#ground.now() < until).sort((a, b) => a.until - b.until);
  }

  async #waitingNow() {
    return (await this.questions()).length;
  }

  /**
   * Signs all parts, keeps the intents, then leaves them at their providers. None is left before all
   * are kept.
   * @param {Pick<Kept, "name" | "id" | "asked" | "username" | "parts" | "until">} question
   * @param {() => boolean} isTooLate
   * @returns {Promise<Verdict>}
   */
  async #signed({ name, id, asked, username, parts, until }, isTooLate) {
    try {
      const keys = await this.#ground.keys();
      const intents = await Promise.all(parts.map(async ({ provider, request }) => {
        const connected = this.#ground.provider(provider);
        await connected.table();
        return { provider, jws: await connected.sign(this.#keyOf(keys, provider, username), request) };
      }));
      if (isTooLate()) throw new NotPlanned("whyNoAnswer");
      /** @type {Finished} */
      const finished = { id, asked, until, state: "signing", intents, told: parts.map(toldOf) };
      await this.#keep(name, finished);
      return await this.#left(finished);
    } catch (error) {
      // An approval is of one try: a repeated question asks again.
      await this.#ground.session.remove(keptAs(name)).catch(() => {});
      throw new Failed(parts, error);
    }
  }

  /** Leaves the kept intents at their providers. @param {Finished} finished @returns {Promise<Verdict>} */
  async #left({ intents, told }) {
    for (let at = 0; at < intents.length; at += AT_ONCE) {
      await Promise.all(intents.slice(at, at + AT_ONCE).map(({ provider, jws }) => this.#ground.provider(provider).deposit(jws)));
    }
    for (const entry of told) this.#ground.note({ what: "signed", ...entry });
    return {};
  }

  /** Keeps finished intents, and forgets those of questions that are not repeated any more. @param {string} name @param {Finished} finished */
  async #keep(name, finished) {
    this.#finished ??= this.#ground.session.all().then((all) => new Map(Object.entries(all).flatMap(([key, kept]) =>
      (key.startsWith(keptAs("")) && kept.state === "signing" ? [[key.slice(keptAs("").length), Number(kept.until)]] : []))));
    const ends = await this.#finished;
    for (const [old, until] of ends) {
      if (this.#ground.now() < until + GRACE_MS) continue;
      ends.delete(old);
      await this.#ground.session.remove(keptAs(old));
    }
    if (ends.size >= FINISHED_MAX) throw new NotPlanned("whyTooMany");
    ends.set(name, finished.until);
    await this.#ground.session.set(keptAs(name), finished);
  }

  /** @param {Part[]} parts @returns {Verdict} */
  #refusal(parts) {
    for (const part of parts) this.#note("refused", part, "");
    const why = "You refused this in the Countersign extension. Nothing was sent.";
    return { answer: { status: 403, body: JSON.stringify({ why, errorCode: "REFUSED_BY_USER" }) } };
  }

  /** @param {string} ucloud @param {string} username @param {Part[]} parts */
  async #wasRefused(ucloud, username, parts) {
    const at = await this.#ground.session.get(refusedAs(await textOf(ucloud, username, parts)));
    return typeof at === "number" && this.#ground.now() - at < REFUSED_MS;
  }

  /** Remembers a refusal, and forgets old ones. @param {Kept} kept */
  async #remember({ ucloud, username, parts }) {
    for (const [name, at] of Object.entries(await this.#ground.session.all())) {
      if (name.startsWith(refusedAs("")) && this.#ground.now() - at >= REFUSED_MS) await this.#ground.session.remove(name);
    }
    await this.#ground.session.set(refusedAs(await textOf(ucloud, username, parts)), this.#ground.now());
  }

  /** @param {Entry["what"]} what @param {Part | undefined} part @param {string} path @param {string} [why] */
  #note(what, part, path, why) {
    const told = part === undefined ? { call: "", subject: path, provider: "" } : toldOf(part);
    this.#ground.note({ what, ...told, ...(why === undefined ? {} : { why }) });
  }
}

/** A planned request that could not be signed or left at its provider. */
class Failed extends Error {
  name = "Failed";

  /** @param {Part[]} parts @param {unknown} cause */
  constructor(parts, cause) {
    super("not signed", { cause });
    this.parts = parts;
  }
}

/** What the record says of a part. @param {Part} part */
function toldOf({ provider, request: { row, items } }) {
  const words = wordsOf(row) ?? { one: row.call };
  const subject = items[0]?.[words.subjects?.[0] ?? ""];
  return { call: sentence(words, items), subject: typeof subject === "string" ? subject : "", provider };
}

/** What a refusal is remembered by. @param {string} ucloud @param {string} username @param {Part[]} parts */
function textOf(ucloud, username, parts) {
  const text = JSON.stringify([ucloud, username, parts.map(({ provider, request }) => [provider, request.row.call, request.items])]);
  return sha256(new TextEncoder().encode(text));
}
