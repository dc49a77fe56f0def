// Formats times for people.

import { languageTag, translated } from "./language.js";

const DAY_S = 24 * 60 * 60;

/**
 * Warn this long before a key ends, in seconds: two weeks, so that a user who returns from a
 * holiday still has time.
 */
export const SOON_S = 14 * DAY_S;

/** @param {Intl.DateTimeFormatOptions} how @param {number} seconds since 1970 */
const formatted = (how, seconds) => new Intl.DateTimeFormat(languageTag(), how).format(seconds * 1000);

/** @param {number} count @param {Intl.RelativeTimeFormatUnit} unit */
const relative = (count, unit) => new Intl.RelativeTimeFormat(languageTag(), { numeric: "auto" }).format(count, unit);

/** @param {number} seconds since 1970 */
export function onDay(seconds) {
  return formatted({ dateStyle: "long" }, seconds);
}

/** "14:05". @param {number} seconds since 1970 */
export function atTime(seconds) {
  return formatted({ timeStyle: "short" }, seconds);
}

/** @param {number} seconds since 1970 */
export function exactly(seconds) {
  return formatted({ dateStyle: "long", timeStyle: "short" }, seconds);
}

/** "3 days ago", "in 5 months". @param {number} seconds since 1970 @param {number} now */
export function fromNow(seconds, now) {
  const away = seconds - now;
  const size = Math.abs(away);
  if (size < 60) return translated(away <= 0 ? "just now" : "in less than a minute");
  if (size < 60 * 60) return relative(Math.round(away / 60), "minute");
  if (size < DAY_S) return relative(Math.round(away / 3600), "hour");
  if (size < 60 * DAY_S) return relative(Math.round(away / DAY_S), "day");
  return relative(Math.round(away / (30.44 * DAY_S)), "month");
}

/**
 * How long ago a key was last used. The provider records the hour, by its beginning.
 * @param {number} hour seconds since 1970
 * @param {number} now
 */
export function lastUse(hour, now) {
  return now - hour < 60 * 60 ? translated("in the last hour") : fromNow(hour, now);
}

/** "4 minutes". @param {number} seconds */
export function duration(seconds) {
  const size = Math.round(Math.abs(seconds));
  /** @type {(count: number, unit: string) => string} */
  const count = (count, unit) => new Intl.NumberFormat(languageTag(), { style: "unit", unit, unitDisplay: "long" }).format(count);
  if (size < 90) return count(size, "second");
  if (size < 90 * 60) return count(Math.round(size / 60), "minute");
  if (size < 36 * 3600) return count(Math.round(size / 3600), "hour");
  return count(Math.round(size / DAY_S), "day");
}
