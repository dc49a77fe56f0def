// The extension in Danish: its pages, and those that it shares with the
// provider.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { faults } from "./support/axe.js";
import { Extended, connect } from "./support/extension.js";
import { TestServer } from "./support/test-server.js";
import { HOME, Ucloud, items } from "./support/ucloud.js";

let testServer;
let ucloud;
let alice;

before(async () => {
  testServer = await TestServer.start();
  ucloud = await Ucloud.start(testServer);
  alice = await Extended.open(testServer, ucloud, [{ address: testServer.page(""), ucloud: testServer.portal }], { language: "da" });
});
after(async () => {
  await alice?.close();
  await ucloud?.end();
  await testServer?.end();
});

test("extension: a Danish browser is spoken to in Danish, from Connect to a question", async () => {
  const connection = await connect(alice, "alice", testServer, "Du er forbundet");
  assert.equal(await connection.locator("html").getAttribute("lang"), "da");
  const shown = await connection.locator("main").innerText();
  assert.match(shown, /Forbind til hpc[^]*UCloud-brugeren alice#1234 får en nøgle[^]*Browserens nøgle virker/);
  const keys = await alice.browser.tab(alice.page("keys.html?provider=hpc"));
  await keys.getByText("forseglede, hvor centret tilbyder det").waitFor();
  assert.match(await keys.locator("main").innerText(), /Dine nøgler hos hpc[^]*denne browser[^]*Udløber\s*om \d+ (måneder|dage)/);
  for (const page of [connection, keys]) assert.deepEqual(await faults(page), []);

  const page = await alice.atUcloud("alice#1234");
  const answered = alice.call(page, "POST", "files/trash", items({ id: `${HOME}/.bashrc` }));
  const approval = await alice.approval();
  await approval.locator("section.question").waitFor();
  assert.match(await approval.locator("main").innerText(), /Flyt et element til papirkurven[^]*Som alice#1234, i dit eget arbejdsområde\. Spurgt af[^]*Flyt til papirkurven/);
  await approval.getByRole("button", { name: "Afvis" }).click();
  assert.equal((await answered).status, 403);
  assert.match((await alice.recent())[0], /^refused: .*Flyt et element til papirkurven.*afvist af dig/);
});
