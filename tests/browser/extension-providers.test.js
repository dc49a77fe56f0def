// The extension with two providers of one UCloud: each gets an intent of its own, and one that is down
// does not keep the other from working.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Extended, connect } from "./support/extension.js";
import { TestServer } from "./support/test-server.js";
import { HOME, Ucloud, items } from "./support/ucloud.js";

const ALICE = "alice#1234";
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJvzIkdKx0ZQ4xXJ3l1q5tq3c8x0m9ZyQ1y8m3yH0m9Z alice";
let hpc;
let other;
let ucloud;
let alice;

before(async () => {
  hpc = await TestServer.start();
  other = await TestServer.start({ provider: "other", accounts: "shared" });
  ucloud = await Ucloud.start(hpc);
  const sites = [hpc, other].map((server) => ({ address: server.page(""), ucloud: hpc.portal }));
  alice = await Extended.open([hpc, other], ucloud, sites);
  await connect(alice, "alice", hpc);
  await connect(alice, "alice", other);
});
after(async () => {
  await alice?.close();
  await ucloud?.end();
  await Promise.all([hpc, other].map((server) => server?.end()));
});

const depositsAt = async (server) => (await server.must({ do: "decisions" })).decisions.filter(({ decision }) => decision === "deposit").map(({ call }) => call);

test("extension: what goes to every provider is asked about once, and left at each", async () => {
  const page = await alice.atUcloud(ALICE);
  const answered = alice.call(page, "POST", "ssh", items({ title: "laptop", key: KEY }));
  const approval = await alice.approval();
  await approval.locator("section.question").waitFor();
  const text = await approval.locator("main").innerText();
  for (const part of ["hpc (", "other (", "Replace your SSH keys", KEY.slice(0, 40)]) assert.ok(text.includes(part), `${part}: ${text}`);
  await approval.bringToFront();
  await approval.getByRole("button", { name: "Approve all" }).click();
  assert.equal((await answered).status, 200);
  for (const server of [hpc, other]) assert.deepEqual(await depositsAt(server), ["ssh.keyUploaded"], server.id);
  await page.close();
});

test("extension: one that is down does not keep the other from working", async () => {
  await other.must({ do: "stop", what: "server" });
  await alice.stopWorker();
  const page = await alice.atUcloud(ALICE);
  const { status, body } = await alice.call(page, "GET", `files/browse?path=${encodeURIComponent(HOME)}`);
  assert.equal(status, 200, JSON.stringify(body));
  await page.close();
});
