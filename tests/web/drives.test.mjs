// The provider's names of drives, as the signer requests them.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";
import { KnownDrives, driveIn, drivesIn, readDrives } from "../../web/js/drives.js";

const ANSWER = { drives: [
  { id: "home", numbers: ["5001", "77"], title: "Home", startup: false },
  { id: "tools", numbers: [], title: "Tools", startup: true },
] };
const key = /** @type {any} */ ({ username: "alice" });

test("s16 a drive is known by its id and by each of its numbers", () => {
  const drives = readDrives(ANSWER);
  assert.deepEqual([...drives.keys()], ["home", "5001", "77", "tools"]);
  assert.deepEqual(drives.get("5001"), { title: "Home", startup: false });
  assert.deepEqual(drives.get("tools"), { title: "Tools", startup: true });
});

test("what is not of the answer's form names no drive", () => {
  for (const answer of [null, {}, { drives: {} }, { drives: [null, 7, { id: "x" }, { id: "x", title: 7, numbers: [] }, { id: "x", title: "X", numbers: 7 }] }]) {
    assert.equal(readDrives(answer).size, 0, JSON.stringify(answer));
  }
  assert.equal(readDrives({ drives: [{ id: "x", title: "y".repeat(5_000), numbers: [] }] }).get("x").title.length, 200);
});

test("the drive of a path is what it begins with", () => {
  assert.equal(driveIn("/5001/a/b"), "5001");
  assert.equal(driveIn("/5001"), "5001");
  assert.equal(driveIn("//a"), "");
  assert.equal(driveIn("5001/a"), null);
  assert.equal(driveIn(7), null);
  assert.deepEqual(drivesIn({ oldId: "/1/a", newId: "/2/b", conflictPolicy: "RENAME", other: null }), ["1", "2"]);
});

test("it is asked once, and again for a name that was not in the answer, but not without end", async () => {
  let [asked, now] = [0, 0];
  const drives = new KnownDrives(async () => ((asked += 1), ANSWER), () => now);
  assert.equal(drives.known(key, ["5001"]), null, "nothing is waited for");
  assert.equal((await drives.of(key, ["5001"])).get("5001").title, "Home");
  await drives.of(key, ["77"]);
  assert.equal(asked, 1);
  now += 1_000;
  await drives.of(key, ["4711"]);
  assert.equal(asked, 1, "a moment ago");
  now += 5_000;
  assert.equal((await drives.of(key, ["4711"])).get("4711"), undefined);
  assert.equal(asked, 2);
  now += 300_000;
  await drives.of(key, ["5001"]);
  assert.equal(asked, 3, "a title may have changed");
});

test("a provider that does not say is not waited for for ever, and what it said before holds", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const silent = new KnownDrives(() => new Promise(() => {}), () => 0);
  const answer = silent.of(key, ["5001"]);
  t.mock.timers.tick(3_000);
  assert.equal(await answer, null);
  let [works, now] = [true, 0];
  const gone = new KnownDrives(async () => { if (works) return ANSWER; throw new Error("gone"); }, () => now);
  await gone.of(key, ["5001"]);
  [works, now] = [false, 400_000];
  assert.equal((await gone.of(key, ["5001"])).get("5001").title, "Home");
});
