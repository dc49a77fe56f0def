// Mozilla's linter, which decides what Mozilla signs, finds nothing in the package for Firefox.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildFor } from "./support/extension.js";

const LINTER = fileURLToPath(new URL("node_modules/.bin/addons-linter", import.meta.url));

/** Firefox before 140 does not know the manifest's statement that nothing is collected, and ignores it. */
const KNOWN = ["KEY_FIREFOX_UNSUPPORTED_BY_MIN_VERSION", "KEY_FIREFOX_ANDROID_UNSUPPORTED_BY_MIN_VERSION"];

test("extension: Mozilla's linter has no error, and no warning but of a key that old versions ignore", () => {
  const folder = buildFor([]);
  try {
    const { stdout, stderr } = spawnSync(LINTER, ["--output", "json", "--self-hosted", join(folder, "countersign-firefox.zip")], { encoding: "utf8" });
    const { errors, warnings } = JSON.parse(stdout || JSON.stringify({ errors: [stderr] }));
    assert.deepEqual([errors, warnings.filter(({ code }) => !KNOWN.includes(code))], [[], []]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
