// When a button that says yes may be pressed: after a second in which the window was seen, kept its place and size, and nothing was pressed or
// moved. So no click or key that was meant for another window, or for the question before, can say it.

/** How long it has to be quiet, in milliseconds: longer than between the clicks of somebody who clicks at one place in a hurry. */
export const QUIET_MS = 1_000;

/** How far a pointer may move and count as resting, in CSS pixels: hands tremble. */
const REST_PX = 8;

/** How often the window is looked at, in milliseconds: nothing tells that it was moved. */
const LOOK_MS = 50;

/** What is pressed, released or turned. A pointer that moves is looked at by its way. */
const STIRRING = ["pointerdown", "pointerup", "pointercancel", "click", "auxclick", "contextmenu", "dblclick", "wheel", "touchstart", "touchmove", "touchend", "keydown", "keyup", "input", "drop"];

/** What begins a press, and what ends it. @type {{[type: string]: boolean}} */
const PRESSES = { pointerdown: true, keydown: true, pointerup: false, pointercancel: false, keyup: false };

/** The decision, without a page: time is an argument. */
export class Quiet {
  /** When it became quiet; `null` while it is not. @type {number | null} */
  #since = null;
  /** What is held down. @type {Set<string>} */
  #held = new Set();
  /** Where the pointer rested last. @type {{x: number, y: number} | null} */
  #rest = null;
  #surroundings = "";
  #isOver = false;

  /**
   * Something happened in the window.
   * @param {{type: string, pointerId?: number, code?: string, clientX?: number, clientY?: number}} event
   * @param {number} now milliseconds
   */
  stir({ type, pointerId, code, clientX = 0, clientY = 0 }, now) {
    if (this.#isOver) return;
    if (type === "pointermove") {
      const from = this.#rest;
      if (from !== null && Math.hypot(clientX - from.x, clientY - from.y) < REST_PX) return;
      this.#rest = { x: clientX, y: clientY };
    }
    const held = type.startsWith("key") ? `key ${code}` : `pointer ${pointerId}`;
    if (PRESSES[type] === true) this.#held.add(held);
    if (PRESSES[type] === false) this.#held.delete(held);
    this.#since = now;
  }

  /**
   * Looks at the window; says whether the button may be pressed.
   * @param {boolean} isSeen whether it is visible and in focus
   * @param {string} surroundings its place and size, in any spelling
   * @param {number} now milliseconds
   */
  look(isSeen, surroundings, now) {
    if (!isSeen || surroundings !== this.#surroundings) {
      this.#isOver = false;
      this.#since = isSeen ? now : null;
      this.#surroundings = surroundings;
      // What was pressed here and released elsewhere is not heard of.
      if (!isSeen) this.#held.clear();
    }
    this.#since ??= isSeen ? now : null;
    if (this.#held.size > 0) this.#since = now;
    this.#isOver ||= this.#since !== null && now - this.#since >= QUIET_MS;
    return this.#isOver;
  }

  /** It is not quiet any more: the window lost its focus, say. */
  restart() {
    this.#isOver = false;
    this.#since = null;
    this.#held.clear();
  }
}

/**
 * Enables a button while it may be pressed.
 * @param {HTMLButtonElement} button
 * @returns {() => void} stops it
 */
export function enableWhenQuiet(button) {
  const quiet = new Quiet();
  const look = () => {
    const isSeen = document.visibilityState === "visible" && document.hasFocus();
    const surroundings = [innerWidth, innerHeight, outerWidth, outerHeight, screenX, screenY, devicePixelRatio].join(" ");
    button.disabled = !quiet.look(isSeen, surroundings, performance.now());
  };
  const stir = (/** @type {any} */ event) => {
    quiet.stir(event, performance.now());
    look();
  };
  const restart = () => {
    quiet.restart();
    look();
  };
  const heard = [...STIRRING, "pointermove"];
  const changes = ["focus", "blur", "resize", "pageshow", "pagehide"];
  look();
  const looking = setInterval(look, LOOK_MS);
  for (const type of heard) addEventListener(type, stir, { capture: true, passive: true });
  for (const type of changes) addEventListener(type, restart);
  document.addEventListener("visibilitychange", restart);
  return () => {
    clearInterval(looking);
    for (const type of heard) removeEventListener(type, stir, { capture: true });
    for (const type of changes) removeEventListener(type, restart);
    document.removeEventListener("visibilitychange", restart);
  };
}

/** Most that the buttons stand lower than they would, and above the window's edge, in CSS pixels. */
const DOWN_MAX_PX = 160;
const UP_MAX_PX = 120;
const ASIDE = ["start", "center", "end"];

/** Puts the buttons where no page can expect them. @param {HTMLElement} buttons */
export function misplace(buttons) {
  const [down = 0, up = 0, aside = 0] = crypto.getRandomValues(new Uint16Array(3));
  buttons.style.marginBlockStart = `${down % DOWN_MAX_PX}px`;
  buttons.style.paddingBlockEnd = `${up % UP_MAX_PX}px`;
  buttons.style.justifyContent = ASIDE[aside % ASIDE.length] ?? "start";
}
