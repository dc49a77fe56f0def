// Decides when a button that approves is enabled: after a second in which the window was visible,
// kept its place and size, and received no press and no pointer movement beyond a tremble. So a
// click or key meant for another window, or for the previous question, cannot approve
// (clickjacking).

/**
 * Length of the quiet period, in milliseconds: longer than the time between fast repeated clicks in
 * one place.
 */
export const QUIET_MS = 1_000;

/** Pointer movement below this counts as rest, in CSS pixels, because hands tremble. */
const REST_PX = 8;

/** Interval at which the window is checked, in milliseconds. No event reports that it was moved. */
const LOOK_MS = 50;

/** Events that restart the quiet period. Pointer movement is judged by its distance. */
const STIRRING = ["pointerdown", "pointerup", "pointercancel", "click", "auxclick", "contextmenu", "dblclick", "wheel", "touchstart", "touchmove", "touchend", "keydown", "keyup", "input", "drop"];

/** Whether an event begins (true) or ends (false) a press. @type {{[type: string]: boolean}} */
const PRESSES = { pointerdown: true, keydown: true, pointerup: false, pointercancel: false, keyup: false };

/** The decision, independent of the page: time is an argument. */
export class Quiet {
  /** Start of the quiet period; `null` while it is not quiet. @type {number | null} */
  #since = null;
  /** Keys and pointers that are held down. @type {Set<string>} */
  #held = new Set();
  /** Last position of the resting pointer. @type {{x: number, y: number} | null} */
  #rest = null;
  #surroundings = "";
  #isOver = false;

  /**
   * Records an event in the window.
   * @param {{type: string, pointerId?: number, code?: string, clientX?: number, clientY?: number}}
   *   event
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
   * Checks the window and returns whether the button may be pressed.
   * @param {boolean} isSeen whether it is visible and in focus
   * @param {string} surroundings its place and size, in any format
   * @param {number} now milliseconds
   */
  look(isSeen, surroundings, now) {
    if (!isSeen || surroundings !== this.#surroundings) {
      this.#isOver = false;
      this.#since = isSeen ? now : null;
      this.#surroundings = surroundings;
      // A release outside the window is not reported, so presses are forgotten when it loses focus.
      if (!isSeen) this.#held.clear();
    }
    this.#since ??= isSeen ? now : null;
    if (this.#held.size > 0) this.#since = now;
    this.#isOver ||= this.#since !== null && now - this.#since >= QUIET_MS;
    return this.#isOver;
  }

  /** Restarts the quiet period, for example after a loss of focus. */
  restart() {
    this.#isOver = false;
    this.#since = null;
    this.#held.clear();
  }
}

/**
 * Enables a button while it may be pressed.
 * @param {HTMLButtonElement} button
 * @returns {() => void} stops watching
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

/**
 * Limits of the random offset of the buttons, downwards and above the window's edge, in CSS pixels.
 */
const DOWN_MAX_PX = 160;
const UP_MAX_PX = 120;
const ASIDE = ["start", "center", "end"];

/**
 * Puts the buttons at a random place, so that no page can predict it.
 * @param {HTMLElement} buttons
 */
export function misplace(buttons) {
  const [down = 0, up = 0, aside = 0] = crypto.getRandomValues(new Uint16Array(3));
  buttons.style.marginBlockStart = `${down % DOWN_MAX_PX}px`;
  buttons.style.paddingBlockEnd = `${up % UP_MAX_PX}px`;
  buttons.style.justifyContent = ASIDE[aside % ASIDE.length] ?? "start";
}
