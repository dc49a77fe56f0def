// Describes what each call does. No part of a sentence comes from the page that asks. A site's own
// rows bring their descriptions with the table of calls. The signer does not sign a call without a
// description.

import { pieces } from "./confusables.js";
import { translated } from "./language.js";

/** @typedef {import("./table.js").Row} Row */

/**
 * The description of a call. `{n}` stands for the number of items; other names in braces are bound
 * parameters.
 * @typedef {object} Words
 * @property {string} one the sentence for one item
 * @property {string} [many] the sentence for several items
 * @property {string} [button] the label of the button that approves, if a person is asked
 * @property {string} [note] the consequence, if the sentence does not say it
 * @property {string[]} [subjects] the bound parameters that say *what* the call acts on; all others
 *   are shown below them
 */

/** @type {{[call: string]: Words}} */
const FILES = {
  "files.browse": { one: "Look into a folder", subjects: ["path"] },
  "files.retrieve": { one: "Look at a file or folder", subjects: ["id"] },
  "files.visualize": { one: "See what takes up space in a folder", subjects: ["path"] },
  "files.streamingSearch": { one: "Search for files", subjects: ["query"] },
  "files.createFolder": { one: "Make a folder", many: "Make {n} folders", subjects: ["id"] },
  "files.move": { one: "Move or rename a file or folder", many: "Move or rename {n} files and folders", subjects: ["oldId", "newId"] },
  "files.copy": { one: "Copy a file or folder", many: "Copy {n} files and folders", subjects: ["oldId", "newId"] },
  "files.createUpload": { one: "Upload a file", many: "Upload {n} files", subjects: ["id"] },
  "files.createDownload": { one: "Download a file", many: "Download {n} files", subjects: ["id"] },
  "files.transfer": { one: "Transfer files between centres", many: "Make {n} transfers between centres", subjects: ["sourcePath", "destinationPath"] },
  "files.trash": {
    one: "Move an item to the trash", many: "Move {n} items to the trash", button: "Move to trash", subjects: ["id"],
    note: "A folder goes with everything in it. What is in the trash can be brought back until the trash is emptied.",
  },
  "files.emptyTrash": {
    one: "Empty the trash", many: "Empty the trash of {n} folders", button: "Delete for good", subjects: ["id"],
    note: "Everything in it is deleted for good.",
  },
  "files.delete": {
    one: "Delete a file or folder for good", many: "Delete {n} files or folders for good", button: "Delete for good", subjects: ["id"],
    note: "It does not go to the trash. A folder goes with everything in it.",
  },
};

/** @type {{[call: string]: Words}} */
const DRIVES = {
  "files.collections.create": { one: "Make a drive", many: "Make {n} drives", subjects: ["specification"] },
  "files.collections.rename": { one: "Rename a drive", many: "Rename {n} drives", subjects: ["id", "newTitle"] },
  "files.collections.delete": {
    one: "Delete a drive with all its files", many: "Delete {n} drives with all their files", button: "Delete for good", subjects: ["id"],
    note: "Every file on it is deleted for good.",
  },
};

/** @type {{[call: string]: Words}} */
const JOBS = {
  "jobs.create": {
    one: "Start a job", many: "Start {n} jobs", button: "Start", subjects: ["specification"],
    note: "A job runs programs in your name: they can read, change and delete what you can, and use up your allocation. " +
      "This includes files that you chose as read-only: UCloud does not pass that choice on.",
  },
  "jobs.terminate": {
    one: "Stop a job", many: "Stop {n} jobs", button: "Stop", subjects: ["id"], note: "What it has not saved is lost.",
  },
  "jobs.extend": { one: "Give a job more time", many: "Give {n} jobs more time", subjects: ["jobId"] },
  "jobs.suspend": { one: "Suspend a job", many: "Suspend {n} jobs", subjects: ["id"] },
  "jobs.unsuspend": {
    one: "Resume a suspended job", many: "Resume {n} suspended jobs", button: "Resume", subjects: ["id"],
    note: "A job runs programs in your name and uses up your allocation.",
  },
  "jobs.openInteractiveSession": {
    one: "Open a session in a running job", many: "Open {n} sessions in running jobs", button: "Open", subjects: ["id"],
    note: "Anyone who controls this session can run commands as you.",
  },
  "jobs.openTerminalInFolder": {
    one: "Open a terminal in a folder", many: "Open terminals in {n} folders", button: "Open", subjects: ["folder"],
    note: "Anyone who controls this terminal can run commands as you.",
  },
  "session.open": { one: "Start the requested transfer or terminal", subjects: ["token"] },
  "session.continue": { one: "Continue a transfer", subjects: ["token", "offset"] },
  "jobs.follow": { one: "Follow a job's output", subjects: ["id"] },
  "jobs.attachResource": {
    one: "Give a running job another resource", button: "Attach", subjects: ["jobId"], note: "The job's programs can then use and change it, even a file that you chose as read-only: UCloud does not pass that choice on.",
  },
  "jobs.detachResource": { one: "Take a resource from a running job", subjects: ["jobId"] },
};

/**
 * Kinds of resources whose calls differ only in the noun: singular and plural.
 * @type {[string, string, string][]}
 */
const RESOURCES = [
  ["ingresses", "a public link", "public links"],
  ["networkips", "a public IP address", "public IP addresses"],
  ["licenses", "a licence", "licences"],
  ["private-networks", "a private network", "private networks"],
  ["shares", "a share", "shares"],
];

/** The consequence of creating a resource. @type {{[path: string]: string}} */
const CREATED = {
  ingresses: "Jobs with it can be reached from the whole internet.",
  networkips: "Jobs with it can be reached from the whole internet.",
  shares: "Other users can then use your files.",
};

/** Kinds that can be shared with other users by an access list. @type {[string, string][]} */
const SHARED = [
  ["files.collections", "a drive"],
  ["jobs", "a job"],
  ["ingresses", "a public link"],
  ["networkips", "a public IP address"],
  ["licenses", "a licence"],
  ["private-networks", "a private network"],
];

/** @type {{[call: string]: Words}} */
const OTHERS = {
  "networkips.updateFirewall": {
    one: "Change a public IP address's firewall", many: "Change the firewalls of {n} public IP addresses", button: "Change",
    subjects: ["id"], note: "Open ports can be reached from the whole internet.",
  },
  "ssh.keyUploaded": {
    one: "Replace your SSH keys at the centre", button: "Replace keys", subjects: ["keys"],
    note: "Anyone who has one of these keys can log in as you. Keys that are not listed here lose their access.",
  },
  "tasks.pauseOrCancel": { one: "Pause, resume or cancel a background task", subjects: ["id"] },
  "tokens.create": {
    one: "Make an access token", button: "Make the token", subjects: ["specification"],
    note: "Anyone who has the token can use the centre as you.",
  },
  "tokens.revoke": { one: "Revoke an access token", subjects: ["id"] },
  "iapps.syncthing.retrieve": { one: "Look at your Syncthing settings", subjects: ["productId"] },
  "iapps.syncthing.update": {
    one: "Change your Syncthing settings", button: "Change", subjects: ["config"],
    note: "Devices that are listed can read and change the folders that are listed.",
  },
  "iapps.syncthing.reset": { one: "Reset Syncthing", button: "Reset", subjects: ["productId"], note: "Its settings and devices are lost." },
  "iapps.syncthing.restart": { one: "Restart Syncthing", subjects: ["productId"] },
};

/** @type {Map<string, Words>} */
const ALL = new Map(Object.entries({ ...FILES, ...DRIVES, ...JOBS, ...OTHERS }));
for (const [path, one, many] of RESOURCES) {
  ALL.set(`${path}.create`, {
    one: `Make ${one}`, many: `Make {n} ${many}`, button: "Make", subjects: ["specification"],
    ...(CREATED[path] === undefined ? {} : { note: CREATED[path] }),
  });
  ALL.set(`${path}.delete`, {
    one: `Delete ${one}`, many: `Delete {n} ${many}`, button: "Delete", subjects: ["id"], note: "Jobs that use it lose it.",
  });
}
for (const [path, one] of SHARED) {
  ALL.set(`${path}.updateAcl`, {
    one: `Change who may use ${one}`, many: `Change who may use {n} of your resources (${one} each)`, button: "Change access",
    subjects: ["id"], note: "Users whom you add can use it as the permissions say.",
  });
  ALL.set(`${path}.updateLabels`, { one: `Change the labels of ${one}`, many: "Change labels of {n} resources", subjects: ["id"] });
}

/**
 * Labels of parameters. A parameter without a label is shown by its name.
 * @type {{[parameter: string]: string}}
 */
const LABELS = {
  id: "Which", oldId: "From", newId: "To", path: "Folder", folder: "Folder", jobId: "Job", conflictPolicy: "If the name is taken",
  newTitle: "New name", sourcePath: "From", destinationPath: "To", query: "Search for", currentFolder: "In", keys: "Keys",
  specification: "What it is", added: "Who is added", deleted: "Who is removed", labels: "Labels", requestedTime: "Time",
  sessionType: "Kind", rank: "Node", target: "Target", resource: "Resource", firewall: "Firewall", requestedState: "To be",
  productId: "Product", config: "Settings", script: "Script (SHA-256)", name: "Name", version: "Version", type: "Kind",
};

/** The description of a standard call, in the page's language; undefined if it has none. @param {string} call */
export function wordsFor(call) {
  const words = ALL.get(call);
  if (words === undefined) return undefined;
  const { one, many, button, note, subjects } = words;
  return {
    one: translated(one),
    ...(many === undefined ? {} : { many: translated(many) }),
    ...(button === undefined ? {} : { button: translated(button) }),
    ...(note === undefined ? {} : { note: translated(note) }),
    ...(subjects === undefined ? {} : { subjects }),
  };
}

/**
 * The description of a row. Ours takes precedence, so that a site's table cannot redescribe a
 * standard call.
 * @param {Row} row
 * @returns {Words | undefined}
 */
export function wordsOf(row) {
  return wordsFor(row.call) ?? row.words ?? undefined;
}

/** The longest value in a sentence, in characters. The whole value stands below. */
const VALUE_MAX = 60;

/**
 * Describes the call and its items in one sentence.
 * @param {Words} words
 * @param {{[parameter: string]: unknown}[]} items
 */
export function sentence(words, items) {
  const [only] = items;
  if (items.length !== 1 || only === undefined) {
    const many = words.many ?? translated("{sentence}, {n} times", { sentence: words.one.replaceAll(/\{\w+\}/g, "…") });
    return many.replace("{n}", String(items.length));
  }
  // One pass, so that braces in a value stay as they are.
  return words.one.replaceAll(/\{(\w+)\}/g, (_, name) => inSentence(only[name] ?? null));
}

/**
 * A value in a sentence: names invisible characters, and cuts the text to the length of a line.
 * @param {unknown} value
 */
function inSentence(value) {
  if (value === null) return translated("(not given)");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const shown = pieces(text).map(({ text, marked }) => (marked ? `⟨${text}⟩` : text)).join("");
  const characters = [...shown];
  return `“${characters.length > VALUE_MAX ? `${characters.slice(0, VALUE_MAX).join("")}…` : shown}”`;
}

/** @param {string} parameter */
export function labelOf(parameter) {
  const label = LABELS[parameter];
  return label === undefined ? parameter : translated(label);
}
