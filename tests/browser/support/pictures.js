// Takes pictures of every page, light and dark, for docs/screenshots/README.md: the user's way from
// Connect to a refused forgery.

import { execFileSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Evil, ticketIn } from "./evil.js";
import { TestServer } from "./test-server.js";
import { User, finished } from "./user.js";

/** Maximum size of a picture, in bytes, to keep the repository small. */
const PICTURE_MAX = 150_000;

const [, , folder] = process.argv;
mkdirSync(folder, { recursive: true });

async function take(page, name, size) {
  await page.bringToFront();
  await page.setViewportSize(size);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const path = join(folder, `${name}-${colorScheme}.png`);
    await page.screenshot({ path, animations: "disabled", caret: "hide" });
    // 256 colours are enough for pages of text, and take a third of the bytes.
    execFileSync("pngquant", ["--force", "--output", path, "--strip", "--speed", "1", "256", path]);
    const { size: bytes } = statSync(path);
    if (bytes > PICTURE_MAX) throw new Error(`${path}: ${bytes} bytes`);
    console.log(`${path}: ${bytes} bytes`);
  }
  await page.emulateMedia({ colorScheme: null });
}

const testServer = await TestServer.start();
const alice = await User.at(testServer, "alice");
try {
  const page = await alice.clickConnect();
  const command = await alice.commandOn(page);
  await take(page, "connect", { width: 800, height: 860 });
  const desk = alice.portal.frameLocator("#desk");
  await alice.approveAtDesk(command);
  await finished(page);
  await page.locator("#expires:not(:empty)").waitFor();
  await take(page, "connected", { width: 800, height: 720 });
  await page.close();

  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
  await alice.makeFolder("results");
  await alice.file("results").waitFor();
  await take(alice.signer, "signer", { width: 520, height: 680 });
  await alice.trash("results.csv");
  await alice.question.waitFor();
  await alice.signer.bringToFront();
  await alice.signer.locator("section.question button.danger:enabled").waitFor();
  await take(alice.signer, "signer-asks", { width: 520, height: 680 });
  await alice.sayNo();

  await alice.letCore("path");
  await alice.makeFolder("thesis");
  await alice.told("Refused.");
  await desk.locator("li.bad").first().waitFor();
  await take(alice.portal, "ucloud", { width: 1200, height: 1330 });

  const keys = await alice.browser.tab(testServer.page("keys"));
  await keys.getByText("In words").first().waitFor();
  await take(keys, "keys", { width: 800, height: 720 });
  await keys.close();

  const { redirectTo } = await testServer.must({ do: "connect", username: "alice#1234" });
  await new Evil(testServer).offer(ticketIn(redirectTo));
  const warned = await alice.browser.tab(redirectTo);
  await warned.locator("section.problem").waitFor();
  await take(warned, "somebody-else", { width: 800, height: 620 });
} finally {
  await alice.leave();
  await testServer.end();
}
