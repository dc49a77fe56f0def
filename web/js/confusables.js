// Finds characters that can mislead a reader: invisible ones, bidirectional controls, and
// look-alikes (homographs). They are shown by name, with a hint beside the text. No text is
// rejected: a file may have any name.

import { translated } from "./language.js";

/**
 * A piece of a text: literal text, or the name of a character that is not shown as itself
 * (`marked`).
 * @typedef {{text: string, marked: boolean}} Piece
 */

/** Bidirectional formatting characters (UAX 9). */
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

/**
 * Invisible characters: controls, joiners, fillers, tags, variation selectors, unassigned and
 * private-use ones. The same Unicode classes as in `src/os/quoted.rs`.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}\u2800]/u;

/** Spaces other than U+0020. */
const SPACE = /(?! )\p{Zs}/u;

/** Characters that look like a slash or a dot, and so like a separator in a path. */
const LIKE_A_SEPARATOR = /[\u2044\u2215\u29f8\u29f5\ufe68\uff0f\uff3c\u2571\u2024\u2025\u2026\ufe52\uff0e\u3002\uff61]/u;

/** A byte that is not UTF-8, as the provider encodes it: U+10FE00 plus the byte. */
const BYTE_FIRST = 0x10fe00;
const BYTE_LAST = 0x10feff;

/** Names of the characters that attackers use. Others are shown by code point. */
const NAMES = new Map([
  [0x0009, "tab"], [0x000a, "line feed"], [0x000d, "carriage return"], [0x0000, "nul"], [0x001b, "escape"], [0x007f, "delete"],
  [0x00a0, "no-break space"], [0x00ad, "soft hyphen"], [0x061c, "arabic letter mark"], [0x200b, "zero-width space"],
  [0x200c, "zero-width non-joiner"], [0x200d, "zero-width joiner"], [0x200e, "left-to-right mark"], [0x200f, "right-to-left mark"],
  [0x202a, "left-to-right embedding"], [0x202b, "right-to-left embedding"], [0x202c, "end of embedding"],
  [0x202d, "left-to-right override"], [0x202e, "right-to-left override"], [0x2060, "word joiner"], [0x2066, "left-to-right isolate"],
  [0x2067, "right-to-left isolate"], [0x2068, "first-strong isolate"], [0x2069, "end of isolate"], [0x2800, "blank braille"],
  [0x3000, "wide space"], [0x3164, "hangul filler"], [0xfeff, "byte-order mark"], [0x2028, "line separator"],
  [0x2029, "paragraph separator"],
]);

/** Scripts with letters that can be mistaken for one another. */
const ALIKE = /** @type {const} */ ([
  ["Latin", /\p{Script=Latin}/u],
  ["Cyrillic", /\p{Script=Cyrillic}/u],
  ["Greek", /\p{Script=Greek}/u],
  ["Armenian", /\p{Script=Armenian}/u],
  ["Cherokee", /\p{Script=Cherokee}/u],
  ["Coptic", /\p{Script=Coptic}/u],
  ["Lisu", /\p{Script=Lisu}/u],
]);

/**
 * Letters of other scripts that are drawn as Latin ones. A word of only these can pass for a Latin
 * word.
 */
const DRAWN_AS_LATIN = /^[\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u04bb\u0501\u051b\u051d\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0405\u0406\u0408\u03bf\u03bd\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7]+$/u;

/** Latin letters of unusual form: wide, mathematical and the like. */
const DRESSED_UP = /[\uff21-\uff3a\uff41-\uff5a\uff10-\uff19\u{1d400}-\u{1d7ff}\u2460-\u24ff\ufb00-\ufb06]/u;

/**
 * Whether a text is read as a path. A line break in a path is always suspicious.
 * @param {string} text
 */
export function isPath(text) {
  return text.startsWith("/");
}

/**
 * Splits a text into pieces, with invisible characters spelt out.
 * @param {string} text
 * @returns {Piece[]}
 */
export function pieces(text) {
  /** @type {Piece[]} */
  const found = [];
  let plain = "";
  const characters = [...text];
  characters.forEach((character, at) => {
    const isAtAnEnd = character === " " && (at === 0 || at === characters.length - 1);
    if (!isAtAnEnd && !isMarked(character)) {
      plain += character;
      return;
    }
    if (plain !== "") found.push({ text: plain, marked: false });
    found.push({ text: nameOf(character), marked: true });
    plain = "";
  });
  if (plain !== "") found.push({ text: plain, marked: false });
  return found;
}

/**
 * The texts that can be mistaken for another of them.
 * @param {string[]} texts
 * @returns {Set<string>}
 */
export function twins(texts) {
  /** @type {Map<string, Set<string>>} */
  const alike = new Map();
  for (const text of texts) {
    const glance = atAGlance(text);
    alike.set(glance, (alike.get(glance) ?? new Set()).add(text));
  }
  return new Set([...alike.values()].filter((same) => same.size > 1).flatMap((same) => [...same]));
}

/**
 * What the reader should look out for, in sentences.
 * @param {string} text
 * @param {Set<string>} [withTwins] texts that can be mistaken for another one in the same question
 * @returns {string[]}
 */
export function hints(text, withTwins) {
  const found = [];
  if (withTwins?.has(text)) found.push(translated("Looks like another name in this question."));
  const characters = [...text];
  if (BIDI.test(text)) found.push(translated("Has marks that change the reading direction: it is not spelt the way it would look."));
  // A script may have line breaks and tabs.
  const isLayout = (/** @type {string} */ character) => !isPath(text) && /[\n\t]/.test(character);
  const isHidden = (/** @type {string} */ character) =>
    HIDDEN.test(character) && !BIDI.test(character) && !isByte(character) && !isLayout(character);
  if (characters.some(isHidden)) found.push(translated("Has characters that do not show."));
  if (characters.some(isByte)) found.push(translated("Has bytes that are not text."));
  if (SPACE.test(text)) found.push(translated("Has spaces of an unusual kind."));
  const names = isPath(text) ? text.split("/") : [text];
  if (names.some((name) => /^ | $/.test(name) || (isPath(text) && / {2}/.test(name)))) found.push(translated("Has spaces at an end, or several in a row."));
  if (LIKE_A_SEPARATOR.test(text)) found.push(translated("Has characters that look like a slash or a dot but are not."));
  const words = text.split(/[^\p{L}\p{M}\p{N}]+/u).filter((word) => word !== "");
  if (words.some(isMixed)) found.push(translated("Mixes letters of several alphabets that look alike."));
  else if (words.some((word) => DRAWN_AS_LATIN.test(word))) found.push(translated("Has a word in another alphabet that looks like Latin letters."));
  if (DRESSED_UP.test(text)) found.push(translated("Has letters or digits of an unusual form."));
  if (text.normalize("NFC") !== text) found.push(translated("Has letters that are composed in an unusual way: another name can look the same."));
  return found;
}

/** Groups of characters that are drawn alike. The first represents the group. */
const DRAWN_ALIKE = new Map(
  ["oO0\u043e\u041e\u03bf\u039f", "lI1|i\u0456\u0406\u04cf\u0399", "a\u0430", "e\u0435", "c\u0441", "p\u0440", "x\u0445", "y\u0443", "s\u0455", "j\u0458", "h\u04bb",
    "v\u03bd", "A\u0410\u0391", "B\u0412\u0392", "C\u0421", "E\u0415\u0395", "H\u041d\u0397", "K\u041a\u039a", "M\u041c\u039c", "N\u039d", "P\u0420\u03a1",
    "S\u0405", "T\u0422\u03a4", "X\u0425\u03a7", "Y\u03a5", "Z\u0396", "J\u0408", "-\u2010\u2011\u2012\u2013\u2014\u2212", "/\u2044\u2215", ".\u2024"]
    .flatMap((alike) => [...alike].map((character) => /** @type {[string, string]} */ ([character, alike[0] ?? character]))),
);

/**
 * A skeleton of the text: two texts with the same skeleton can be mistaken for one another.
 * @param {string} text
 */
function atAGlance(text) {
  const seen = [...text.normalize("NFKD")].filter((character) => !HIDDEN.test(character) && !BIDI.test(character) && !/[\p{M}\s]/u.test(character));
  return seen.map((character) => DRAWN_ALIKE.get(character) ?? character).join("").replaceAll("rn", "m");
}

/** @param {string} character */
function isMarked(character) {
  return BIDI.test(character) || HIDDEN.test(character) || SPACE.test(character) || LIKE_A_SEPARATOR.test(character);
}

/** @param {string} character */
function isByte(character) {
  const code = character.codePointAt(0) ?? 0;
  return code >= BYTE_FIRST && code <= BYTE_LAST;
}

/** @param {string} character */
function nameOf(character) {
  const code = character.codePointAt(0) ?? 0;
  if (isByte(character)) return `byte ${hex(code - BYTE_FIRST, 2)}`;
  if (character === " ") return "space";
  const name = NAMES.get(code);
  return name === undefined ? `U+${hex(code, 4)}` : `U+${hex(code, 4)} ${name}`;
}

/** @param {number} number @param {number} digits */
function hex(number, digits) {
  return number.toString(16).toUpperCase().padStart(digits, "0");
}

/** @param {string} word */
function isMixed(word) {
  return ALIKE.filter(([, script]) => script.test(word)).length > 1;
}
