// The rules that raise single items to dangerous ones: predicates over bound parameters (protocol,
// section 9). The gateway and the instance evaluate the same rules of the same table
// (keys/src/call/ask.rs). Both are tested with keys/tests/vectors/asked.json. A value that a
// predicate cannot read raises its item.

/** @typedef {"hidden" | "startup" | "replaces"} Condition */
/** @typedef {{parameter: string, when: Condition}} Rule */

/** The conditions that this code knows. A table with any other is rejected. @type {Condition[]} */
export const CONDITIONS = ["hidden", "startup", "replaces"];

/** Conflict policies that keep an existing file of the same name. */
const KEEPS = ["RENAME", "REJECT", "MERGE_RENAME"];

/** Folders whose files run by name, at login, or on a request from the network. */
const STARTUP_FOLDERS = ["bin", "sbin", "autostart", "public_html", "cgi-bin", "ondemand", "launchagents"];

/** Files that MATLAB runs by name. */
const STARTUP_FILES = ["startup.m", "matlabrc.m"];

/** Suffix of a launcher's name. */
const LAUNCHER = ".desktop";

/** `%2e` or `%2f`, percent-encoded at least once. */
const ENCODED_SEPARATOR = /%(?:25)*2[ef]/i;

/**
 * Unicode's property Default_Ignorable_Code_Point. File systems that ignore case ignore these
 * characters too.
 */
const IGNORABLE =
  /[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;

/**
 * The components of a path as a file system that ignores case compares them.
 * @param {string} path
 */
function components(path) {
  return path.split("/").map((component) => component.replace(IGNORABLE, "").toUpperCase().toLowerCase());
}

/** Whether a component of the path begins with a dot. @param {string} path */
export function isHidden(path) {
  return path.includes("\0") || ENCODED_SEPARATOR.test(path) || components(path).some((component) => component.startsWith("."));
}

/** Whether a component of the path names a place from which programs start. @param {string} path */
export function isStartup(path) {
  return components(path).some((component) => {
    const name = component.replace(/[. ]+$/, "");
    return STARTUP_FOLDERS.includes(name) || STARTUP_FILES.includes(name) || name.endsWith(LAUNCHER);
  });
}

/**
 * Whether a condition holds for a bound parameter's value.
 * @param {Condition} condition
 * @param {unknown} value
 */
export function holds(condition, value) {
  if (condition === "replaces") return value !== null && !KEEPS.includes(/** @type {string} */ (value));
  if (typeof value !== "string") return true;
  return condition === "hidden" ? isHidden(value) : isStartup(value);
}

/**
 * The rules of a row that an item meets. None: the item is as harmless as its call.
 * @param {{askIf: Rule[]}} row
 * @param {{[parameter: string]: unknown}} item a projection: every bound parameter, null if absent
 */
export function met({ askIf }, item) {
  return askIf.filter(({ parameter, when }) => holds(when, item[parameter] ?? null));
}
