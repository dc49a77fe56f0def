// axe-core in a page: what somebody with a screen reader, a keyboard or weak eyes would stumble over.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const SOURCE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Faults that count: what keeps people from using the page. */
const SERIOUS = ["serious", "critical"];

/** Every serious fault of a page, a line each; frames are looked at as pages of their own. */
export async function faults(page) {
  const session = await page.context().newCDPSession(page);
  // Through the debugger, because the pages' own policy lets no script in; that policy is what is tested elsewhere.
  const run = (expression) => session.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  await run(SOURCE);
  const { result, exceptionDetails } = await run("axe.run(document, { iframes: false, resultTypes: ['violations'] })");
  await session.detach();
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value.violations
    .filter(({ impact }) => SERIOUS.includes(impact))
    .flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`));
}
