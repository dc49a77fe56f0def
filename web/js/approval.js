// Asks a person to approve a request: describes the call and shows everything that is signed. The
// button that approves is enabled only after a quiet second (quiet.js), so that a click meant for
// another window, or for the previous question, cannot approve.

import { sentence, wordsOf } from "./call-descriptions.js";
import { countHinted, isOnStartupDrive, shownItems, shownText, twinsIn } from "./display.js";
import { fill, h } from "./dom.js";
import { translated } from "./language.js";
import { bringsUnnamedFiles, dangers } from "./places.js";
import { enableWhenQuiet, misplace } from "./quiet.js";
import { shownScripts } from "./review-script.js";
import { Declined } from "./webauthn.js";

/** @typedef {import("./signer.js").Question} Question */
/** @typedef {import("./signer.js").Described} Described */
/** @typedef {import("./call-descriptions.js").Words} Words */
/** @typedef {import("./drives.js").Drives} Drives */

/**
 * Shows the question and waits for the answer.
 * @param {HTMLElement} place
 * @param {Question} question
 * @returns {Promise<boolean>}
 */
export function ask(place, question) {
  const told = question.requests.map((request) => ({ request, words: wordsOf(request.row) ?? { one: request.row.call } }));
  const button = told.length === 1 ? (told[0]?.words.button ?? translated("Approve")) : translated("Approve all");
  const twins = twinsIn(question.requests);
  const hinted = countHinted(question.requests, twins);
  const raised = question.requests.reduce((sum, { row, items }) => sum + items.filter((item) => dangers(row, item, isOnStartupDrive(item, question.drives)).length > 0).length, 0);

  return new Promise((resolve) => {
    const yes = h("button", { class: "danger", disabled: true, "aria-describedby": "wait", onclick: () => end(true) }, button);
    const no = h("button", { class: "quiet", onclick: () => end(false) }, translated("Refuse"));
    const heading = h("h2", { id: "question", tabindex: -1 }, ...headline(told));
    const buttons = h("div", { class: "buttons" }, no, yes);
    misplace(buttons);
    const stopWatching = enableWhenQuiet(yes);
    const title = document.title;

    /** @param {boolean} approved */
    function end(approved) {
      stopWatching();
      question.withdrawn.removeEventListener("abort", withdraw);
      document.title = title;
      fill(place);
      resolve(approved);
    }
    const withdraw = () => end(false);
    question.withdrawn.addEventListener("abort", withdraw);

    fill(place,
      h("section", { class: "question", "aria-labelledby": "question" },
        heading,
        h("p", { class: "who" }, translated("As"), " ", shownText(question.username), ", ", ...inProject(question.requests), ". ", translated("Asked by"), " ",
          shownText(question.origin), "."),
        raised > 0 && h("p", { class: "notice warning" }, raised === 1
          ? translated("One of these items can start a program as you, or replaces something. It is listed first.")
          : translated("{raised} of these items can start a program as you, or replace something. They are listed first.", { raised })),
        hinted > 0 && h("p", { class: "notice warning" }, hinted === 1
          ? translated("One of the names below needs a closer look.")
          : translated("{hinted} of the names below need a closer look.", { hinted })),
        ...told.map(({ request, words }) => part(request, words, twins, told.length > 1, question.drives)),
        question.drives === null && h("p", { class: "notice warning" }, translated("The provider did not say which drives these are.")),
        h("p", { id: "wait", class: "quiet" }, translated("The button works after a second without movement or clicks.")),
        buttons));
    document.title = `${translated("Approve?")} ${sentence(told[0]?.words ?? { one: "" }, told[0]?.request.items ?? [])}`;
    heading.focus();
  });
}

/** @param {{request: Described, words: Words}[]} told */
function headline(told) {
  const [first] = told;
  if (told.length === 1 && first !== undefined) return [sentence(first.words, first.request.items)];
  return [translated("Do these {count} things", { count: told.length })];
}

/**
 * @param {Described} request
 * @param {Words} words
 * @param {Set<string>} twins
 * @param {boolean} isOneOfMany
 * @param {Drives | null} drives
 */
function part(request, words, twins, isOneOfMany, drives) {
  return h("div", { class: "part" },
    isOneOfMany && h("h3", {}, sentence(words, request.items)),
    shownItems(request, words, twins, drives),
    ...shownScripts(request),
    request.items.some(bringsUnnamedFiles) && h("p", { class: "note" },
      translated("The folder's files are not listed here. Some may be hidden, or programs that start when you log in.")),
    words.note !== undefined && h("p", { class: "note" }, words.note));
}

/** @param {Described[]} requests @returns {(Node | string)[]} */
function inProject(requests) {
  const projects = [...new Set(requests.map(({ project }) => project))];
  const shown = projects.map((project) => project === null ? translated("in your own workspace") : h("span", {}, translated("in the project"), " ", shownText(project)));
  return shown.flatMap((one, at) => at === 0 ? [one] : [` ${translated("and")} `, one]);
}

/**
 * Says why the browser asks for a passkey. If none was used, offers to try again, because some
 * browsers ask only after a new click.
 * @param {HTMLElement} place
 * @param {Described} request
 * @param {Drives | null} drives
 * @param {() => Promise<object>} use
 * @returns {Promise<object>} the credential
 * @throws {Declined} if the person gives up
 */
export async function askForPasskey(place, request, drives, use) {
  const words = wordsOf(request.row) ?? { one: request.row.call };
  const heading = h("h2", { id: "question", tabindex: -1 }, "Confirm with your passkey");
  const say = (/** @type {Node} */ what, /** @type {Node | null} */ buttons = null) => fill(place,
    h("section", { class: "question", "aria-labelledby": "question" }, heading, what, part(request, words, twinsIn([request]), true, drives), buttons));
  try {
    for (;;) {
      say(h("p", {}, "This centre also needs your passkey for this. Your browser is asking for it."));
      try {
        return await use();
      } catch (error) {
        if (!(error instanceof Declined)) throw error;
        const again = await new Promise((/** @type {(again: boolean) => void} */ resolve) => {
          say(h("p", {}, "The passkey was not used."),
            h("div", { class: "buttons" },
              h("button", { class: "quiet", onclick: () => resolve(false) }, "Refuse"),
              h("button", { onclick: () => resolve(true) }, "Try again")));
          heading.focus();
        });
        if (!again) throw error;
      }
    }
  } finally {
    fill(place);
  }
}
