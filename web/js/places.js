// Explains why an item is dangerous: what happens to a file in the place that it names. No part of
// a sentence comes from the page that asks.

import { met } from "./ask.js";
import { translated } from "./language.js";

/** @typedef {import("./ask.js").Condition} Condition */
/** @typedef {import("./table.js").Row} Row */
/** @typedef {import("./jcs.js").Json} Json */

/** Files that a login shell or a desktop session runs. */
const LOGIN_FILES = [
  ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile", ".zshrc", ".zshenv", ".zprofile", ".zlogin", ".login", ".cshrc", ".tcshrc",
  ".kshrc", ".xprofile", ".xsession", ".xsessionrc", ".xinitrc", ".pam_environment",
];

/**
 * Known places, the most specific first: a pattern for a component of a path in lower case, and the
 * effect.
 * @type {[RegExp, string][]}
 */
const PLACES = [
  [/\/\.ssh(\/|$)/, "What is in this folder decides who can log in as you."],
  [/\/\.config\/countersign(\/|$)/, "What is in this folder decides whose keys can act as you."],
  [new RegExp(`/(${LOGIN_FILES.map((name) => name.replace(".", "\\.")).join("|")})(/|$)`), "This file runs when you log in."],
  [/\/\.config\/(autostart|systemd)(\/|$)|\/autostart(\/|$)|\/launchagents(\/|$)/, "Programs in this folder start automatically when you log in."],
  [/\/s?bin(\/|$)/, "A program in this folder runs when its name is typed."],
  [/\/(public_html|cgi-bin)(\/|$)/, "A web server may run what is in this folder, as you."],
  [/\/ondemand(\/|$)/, "Open OnDemand runs the applications in this folder, as you."],
  [/\.desktop(\/|$)/, "This is a launcher: opening it starts a program."],
  [/\/(startup|matlabrc)\.m(\/|$)/, "MATLAB runs this file when it starts."],
  [/\/\.git(\/|$)/, "Git runs programs from this folder."],
];

/** The explanation for all other places. @type {{[condition in Condition]: string}} */
const OTHERWISE = {
  hidden: "This is a hidden place: programs keep their settings there, and some start from it when you log in.",
  startup: "Programs start from this place.",
  replaces: "If an item has this name already, it is replaced and lost.",
};

/** The explanation for a drive from which programs start. */
const DRIVE = "This drive lies in a place from which programs start.";

/**
 * Sentences that say why an item is dangerous although its call is not. None for a harmless item.
 * @param {Row} row
 * @param {{[parameter: string]: Json}} item
 * @param {boolean} [isOnStartupDrive] whether programs start from the item's drive, as the provider
 *   says
 * @returns {string[]}
 */
export function dangers(row, item, isOnStartupDrive = false) {
  const found = met(row, item).map(({ parameter, when }) => {
    const value = item[parameter];
    const path = when !== "replaces" && typeof value === "string" ? value.toLowerCase() : "";
    return PLACES.find(([place]) => place.test(path))?.[1] ?? OTHERWISE[when];
  });
  if (isOnStartupDrive) found.push(DRIVE);
  // A known hidden place needs no general sentence as well.
  const told = new Set(found);
  if (told.size > 1) told.delete(OTHERWISE.hidden);
  return [...told].map((sentence) => translated(sentence));
}

/**
 * Whether the item stands for files that it does not name.
 * @param {{[parameter: string]: Json}} item
 */
export function bringsUnnamedFiles({ type = null }) {
  return type === "FOLDER";
}
