// When a question can be approved: after a second of quiet, with the times given here.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";
import { QUIET_MS, Quiet, misplace } from "../../web/js/quiet.js";

const HERE = "520 680";
const click = ["pointerdown", "pointerup", "click"];

/**
 * Checks every 10 ms until `until`, with these events at their times. Returns the times at which
 * the button could be pressed.
 */
function play(events, { until = 5_000, seen = () => true, where = () => HERE } = {}) {
  const quiet = new Quiet();
  const open = [];
  for (let now = 0; now <= until; now += 10) {
    for (const [at, event] of events) {
      if (at === now) quiet.stir({ pointerId: 1, code: "Enter", ...(typeof event === "string" ? { type: event } : event) }, now);
    }
    if (quiet.look(seen(now), where(now), now)) open.push(now);
  }
  return open;
}
const first = (...played) => play(...played)[0];

test("v68_s07 it takes at least a second", () => {
  assert.ok(QUIET_MS >= 1_000);
  assert.equal(first([]), QUIET_MS);
});

test("v68_s07 clicks every 130 ms at one place approve nothing, however many", () => {
  const events = [];
  for (let at = 0; at < 5_000; at += 130) events.push(...click.map((type) => [at, type]));
  assert.deepEqual(play(events), []);
  assert.equal(first(events, { until: 10_000 }), 4_940 + QUIET_MS, "a second after the last");
});

test("v68_s07 whatever is pressed, turned or moved begins the second again", () => {
  for (const type of ["pointerdown", "pointerup", "pointermove", "click", "auxclick", "contextmenu", "wheel", "touchstart", "touchend", "keydown", "keyup", "input"]) {
    const events = type === "pointerdown" ? [[900, type], [910, "pointerup"]] : type === "keydown" ? [[900, type], [910, "keyup"]] : [[900, type]];
    const at = first(events);
    assert.ok(at >= 900 + QUIET_MS && at <= 920 + QUIET_MS, `${type}: ${at}`);
  }
});

test("v68_s07 what is held down is no quiet", () => {
  assert.deepEqual(play([[100, "pointerdown"]]), []);
  assert.equal(first([[100, "pointerdown"], [3_000, "pointerup"]]), 3_000 + QUIET_MS);
  assert.equal(first([[100, { type: "keydown", code: "KeyA" }], [200, { type: "keydown", code: "KeyB" }], [300, { type: "keyup", code: "KeyB" }],
    [2_000, { type: "keyup", code: "KeyA" }]]), 2_000 + QUIET_MS);
});

test("v68_s07 a hand that trembles rests, and one that goes anywhere does not", () => {
  const moves = (step) => Array.from({ length: 400 }, (_, n) => [n * 10, { type: "pointermove", clientX: (n % 2) * step, clientY: 0 }]);
  assert.equal(first(moves(3)), QUIET_MS);
  assert.ok(first(moves(9)) >= 3_980 + QUIET_MS);
});

test("v68_s07 a window that is hidden, loses focus, is moved or resized begins again, also after the second", () => {
  assert.deepEqual(play([], { seen: () => false }), []);
  assert.equal(first([], { seen: (now) => now >= 2_000 }), 2_000 + QUIET_MS);
  const left = play([], { seen: (now) => now < 1_500 || now >= 1_600 });
  assert.ok(left.includes(1_490) && !left.includes(1_500) && !left.includes(2_590) && left.includes(2_600));
  const moved = play([], { where: (now) => (now < 2_000 ? HERE : "520 681") });
  assert.ok(moved.includes(1_990) && !moved.includes(2_000) && !moved.includes(2_990) && moved.includes(3_000));
});

test("v68_s07 the click that answers is no reason to begin again", () => {
  const open = play([...click.map((type) => [1_200, type])]);
  assert.ok(open.includes(1_200) && open.includes(1_210));
});

test("v68_s07 the buttons stand where no page can expect them", () => {
  const seen = new Set();
  for (let round = 0; round < 200; round += 1) {
    const buttons = { style: {} };
    misplace(/** @type {any} */ (buttons));
    seen.add(JSON.stringify(buttons.style));
  }
  assert.ok(seen.size > 150, `${seen.size} places in 200`);
});
