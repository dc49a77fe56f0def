// Texts for every failure: what happened, and what to do.

import { translated } from "./language.js";
import { Refused, Unreachable } from "./provider.js";
import { Differs } from "./table.js";
import { Declined } from "./webauthn.js";

/** @typedef {import("./connection.js").ProblemKind} ProblemKind */

/**
 * @typedef {object} Told
 * @property {string} title
 * @property {string[]} text
 * @property {boolean} [again] whether the user should begin again
 * @property {boolean} [session] whether a key for this session only would work
 * @property {boolean} [reload] whether the user should reload the page
 */

/** @type {{[kind in ProblemKind]: Told}} */
const TOLD = {
  "no-ticket": {
    title: "Nothing to connect yet",
    text: ["This page connects a UCloud user to an account at this computing centre, and needs a link that says which."],
    again: true,
  },
  "begin-at-centre": {
    title: "Begin at the computing centre",
    text: [
      "At this centre, connections begin only in your own login there. Log in with SSH, run countersign connect start with your UCloud username, "
        + "and open the link that it prints in this browser.",
      "UCloud has confirmed who you are. That is valid for fifteen minutes, in this browser.",
    ],
  },
  unknown: {
    title: "This link no longer works",
    text: ["It was used, is older than fifteen minutes, or was not copied whole. Nothing has changed."],
    again: true,
  },
  expired: { title: "This link has expired", text: ["A link is valid for fifteen minutes. Nothing has changed."], again: true },
  withdrawn: {
    title: "A newer link has replaced this one",
    text: ["The connection was started again after this page was opened, or was ended. Only the newest link works."],
    again: true,
  },
  "second-offer": {
    title: "Another browser offered a key with this link",
    text: [
      "Two keys were offered for one connection, so both were refused and the link no longer works. Neither browser got access.",
      "If the other browser is yours, begin again. If it is not, another person has seen your link: do not approve anything, "
        + "tell the computing centre, and begin there, where only you see the link.",
    ],
    again: true,
  },
  interrupted: {
    title: "The connection was interrupted",
    text: ["The key reached the provider, but its answer did not reach this browser. A link works for one key only, so you need a new one."],
    again: true,
  },
  used: {
    title: "This link has been used",
    text: ["A key was connected with it, and this browser does not have that key. If that was not you, tell the computing centre."],
    again: true,
  },
  "no-storage": {
    title: "This browser does not keep keys",
    text: [
      "It is in a private window, out of room, or set not to keep what sites store. In an ordinary window you connect once for half a year.",
      "You can also use a key for this session only: it works while this tab is open and is lost when you close it.",
    ],
    session: true,
    reload: true,
  },
  "no-key": {
    title: "This browser cannot make the key",
    text: ["It does not support the cryptography, or has it switched off. Use a current Firefox, Chrome, Edge or Safari."],
    reload: true,
  },
  "key-refused": { title: "The provider refused the key", text: ["Nothing has changed."], again: true },
  busy: { title: "Too many attempts", text: ["The provider limits the attempts in a minute. Wait a minute, then try again."], reload: true },
  "test-failed": {
    title: "The key was approved, but its first signature was refused",
    text: ["The key may have been removed since, or the provider's clock may be wrong. Try again. If it still fails, tell the computing centre."],
    reload: true,
  },
  "other-provider": { title: "This link belongs to another provider", text: ["Nothing has changed."], again: true },
};

/** @param {ProblemKind} kind */
export function toldOf(kind) {
  const { title, text, ...more } = TOLD[kind];
  return { ...more, title: translated(title), text: text.map((sentence) => translated(sentence)) };
}

/** Describes an error to the user in one sentence. @param {unknown} error */
export function inWords(error) {
  if (error instanceof Declined) return translated("No passkey was used: the browser's question was closed, or took too long. You can try again.");
  if (error instanceof Unreachable) return translated("The provider does not answer. Try again in a moment.");
  if (error instanceof Refused && error.code === "INTENT_INVALID") {
    return translated("The provider does not accept this browser's key: it may have been removed or have expired.");
  }
  if (error instanceof Refused && error.code === "INTENT_STALE") return translated("The provider refused the signature as too old or too new. Check this computer's clock.");
  if (error instanceof Refused && error.code === "INTENT_STEP_UP") return translated("This was not confirmed with one of your passkeys.");
  if (error instanceof Refused && error.code === "APPLICATION_NOT_APPROVED") {
    return translated("This application is not approved at the computing centre yet, so the job will not start. If you try to start it, the centre's staff are asked to review the application.");
  }
  if (error instanceof Refused && error.code === "ANOTHER_SCRIPT") {
    return translated("The job would not run the script that you approved: the application has changed, or the page showed another. No job was started. Start it again.");
  }
  if (error instanceof Refused && error.status === 404) return translated("This provider does not offer that.");
  if (error instanceof Refused && error.status >= 500) return translated("The provider is not available at the moment. Try again in a minute.");
  if (error instanceof Differs) return translated(`${error.message}.`);
  if (error instanceof Refused) return translated("The provider refused: {why}.", { why: error.message });
  if (error instanceof DOMException && error.name === "InvalidStateError") return translated("This device already has a passkey for you here.");
  return translated("This browser could not do it.");
}
