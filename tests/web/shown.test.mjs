// Formats of times, names of keys, and QR codes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NAME_MAX, keyName } from "../../web/js/keyname.js";
import { duration, fromNow, onDay } from "../../web/js/relative-time.js";
import { isQr, qrPath } from "../../web/js/qr.js";

test("times are said from now", () => {
  const now = 1_800_000_000;
  const check = (away, want) => assert.equal(fromNow(now + away, now), want);
  check(0, "just now");
  check(-59, "just now");
  check(30, "in less than a minute");
  check(-90, "1 minute ago");
  check(-3600 * 5, "5 hours ago");
  check(-86_400, "yesterday");
  check(86_400 * 9, "in 9 days");
  check(86_400 * 180, "in 6 months");
  assert.equal(onDay(now), "15 January 2027");
});

test("how long something is", () => {
  const check = (seconds, want) => assert.equal(duration(seconds), want);
  check(1, "1 second");
  check(-65, "65 seconds");
  check(420, "7 minutes");
  check(-7200, "2 hours");
  check(86_400 * 3, "3 days");
});

test("a key is called what its user knows it by, and never more than the provider takes", () => {
  const check = (userAgent, want) => assert.equal(keyName(userAgent), want);
  check("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux");
  check("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15", "Safari on macOS");
  check("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge on Windows");
  check("Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36", "Chrome on Android");
  check("Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 Version/18.3 Mobile/15E148 Safari/604.1", "Safari on iOS");
  check("curl", "Browser");
  assert.ok(new TextEncoder().encode(keyName("Firefox/ Windows ".repeat(99))).length <= NAME_MAX);
});

test("a QR code is drawn from rows that are one, run by run", () => {
  assert.ok(isQr(["10", "01"]));
  for (const rows of [null, [], [["1"]], ["10", "0"], ["12", "00"], ["10", 5], Array.from({ length: 200 }, () => "1".repeat(200))]) {
    assert.equal(isQr(rows), false, JSON.stringify(rows).slice(0, 40));
  }
  assert.equal(qrPath(["110", "000", "101"]), "M4 4h2v1h-2zM4 6h1v1h-1zM6 6h1v1h-1z");
});
