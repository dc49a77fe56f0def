// Runs axe-core in a page: obstacles for users of a screen reader or a keyboard, or with low
// vision.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const SOURCE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The faults that fail a test: those that keep people from using the page. */
const SERIOUS = ["serious", "critical"];

/** Every serious fault of a page, one per line. Frames are checked as pages of their own. */
export async function faults(page) {
  const session = await page.context().newCDPSession(page);
  // Injected through the debugger, because the pages' own policy allows no such script. Other tests
  // test that policy.
  const run = (expression) => session.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  await run(SOURCE);
  const { result, exceptionDetails } = await run("axe.run(document, { iframes: false, resultTypes: ['violations'] })");
  await session.detach();
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value.violations
    .filter(({ impact }) => SERIOUS.includes(impact))
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
}
