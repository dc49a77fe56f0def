// The default name of a key: the browser and its system, as its user would recognise them in a
// list.

/** Longest name that the provider accepts, in bytes. */
export const NAME_MAX = 64;

/** @type {[RegExp, string][]} */
const BROWSERS = [[/Edg\//, "Edge"], [/OPR\//, "Opera"], [/Firefox\//, "Firefox"], [/Chrom(e|ium)\//, "Chrome"], [/Safari\//, "Safari"]];

/** @type {[RegExp, string][]} */
const SYSTEMS = [
  [/Android/, "Android"], [/iPhone|iPad/, "iOS"], [/Mac OS X/, "macOS"], [/Windows/, "Windows"], [/CrOS/, "ChromeOS"], [/Linux/, "Linux"],
];

/** @param {string} userAgent */
export function keyName(userAgent) {
  const find = (/** @type {[RegExp, string][]} */ table) => table.find(([pattern]) => pattern.test(userAgent))?.[1];
  const browser = find(BROWSERS) ?? "Browser";
  const system = find(SYSTEMS);
  return system === undefined ? browser : `${browser} on ${system}`;
}
