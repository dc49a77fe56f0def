// Jobs on a real Slurm, in a browser. Bob uses UCloud's page that knows nothing of signatures, with the
// extension: his jobs are asked about with their scripts, started, watched, entered, extended and ended.
// Alice uses the SDK's signer, at a Core that cheats.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { PATIENCE_MS } from "./support/browser.js";
import { faults } from "./support/axe.js";
import { Extended } from "./support/extension.js";
import { PlainUcloud } from "./support/plain-ucloud.js";
import { TestServer } from "./support/test-server.js";
import { User } from "./support/user.js";

const BOB = "bob#5678";
let testServer;
let alice;
let bob;
let ucloud;
let page;

before(async () => {
  testServer = await TestServer.start({ slurm: true });
  bob = await Extended.open(testServer, null, [{ address: testServer.page(""), ucloud: testServer.portal }]);
  ucloud = await PlainUcloud.open(testServer, bob.browser, BOB);
  page = ucloud.page;
  await ucloud.click("Connect to providers");
  await ucloud.click("Connect to hpc");
  await page.waitForURL((url) => url.protocol === "chrome-extension:");
  const command = page.locator("#command:not(:empty)");
  await command.waitFor();
  const approved = await testServer.ask({ do: "approve", code: (await command.textContent()).split(" ").at(-1), as: "bob" });
  assert.equal(approved.ok, true, JSON.stringify(approved));
  await page.getByRole("heading", { name: "You are connected" }).waitFor();
  await page.close();
  ucloud = await PlainUcloud.open(testServer, bob.browser, BOB);
  page = ucloud.page;
  await ucloud.drive("Home");
  await ucloud.click("Jobs");
});
afterEach(() => {
  for (const browser of [alice?.browser, bob?.browser]) assert.deepEqual(browser?.complaints() ?? [], [], "a page complained");
});
after(async () => {
  await alice?.leave();
  await bob?.close();
  await testServer?.end();
});

/** The extension's question, once it has this heading. */
async function asked(heading) {
  const approval = await bob.approval();
  await approval.getByRole("heading", { name: heading }).waitFor();
  return approval.locator("section.question");
}

async function approve(heading) {
  const question = await asked(heading);
  await question.page().bringToFront();
  await question.locator("button.danger").click();
  await page.bringToFront();
}

/** Approves what waits under this name and version, as the centre's administrator does. */
async function review(name, version) {
  const { stdout } = await testServer.must({ do: "administer", arguments: ["apps", "pending", "--json"] });
  const { digest } = JSON.parse(stdout).find((one) => one.name === name && one.version === version);
  await testServer.must({ do: "administer", arguments: ["apps", "approve", name, version, digest, "--yes"] });
}

/** The jobs that Core has of a user. */
const jobsOf = async (username) => (await testServer.must({ do: "jobs" })).jobs.filter(({ createdBy }) => createdBy === username);

/** Waits until it holds of Core's jobs of a user. */
async function until(username, what, holds) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const jobs = await jobsOf(username);
    if (holds(jobs)) return jobs;
    assert.ok(Date.now() < end, `${what}: ${JSON.stringify(jobs)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const deposits = async (call) => (await testServer.must({ do: "decisions" })).decisions.filter((one) => one.decision === "deposit" && one.call === call).length;

// --- Bob, with the extension -----------------------------------------------------------------------

test("j01 extension: an application that is not approved does not start, and the person is told before and after", async () => {
  await page.getByLabel("Application").selectOption("count");
  await ucloud.click("Start job");
  const question = await asked("Start a job");
  assert.match(await question.innerText(), /not approved at the computing centre yet[^]*without having seen its script/);
  await approve("Start a job");
  await ucloud.notified("not approved at this computing centre");
  assert.deepEqual(await jobsOf(BOB), [], "Core has forgotten it");
  await review("count", "2.1");
});

/** Core's number of the job that the following tests use. */
let number;

test("j01 extension: the script of a job is in the approval window, and what was shown runs", async () => {
  await page.getByLabel("Parameter").fill("600");
  const before = await deposits("jobs.create");
  await ucloud.click("Start job");
  const question = await asked("Start a job");
  const script = await question.locator(".script pre").innerText();
  assert.match(script, /^#!.*\n[^]*for i in \$\(seq 1 '?600'?\); do\n  echo "\$i"\n/);
  assert.match(await question.innerText(), /exactly this script, or nothing/);
  assert.deepEqual(await faults(question.page()), []);
  await approve("Start a job");
  const [job] = await until(BOB, "the job runs", ([job]) => job?.state === "RUNNING");
  number = job.id;
  assert.equal(await deposits("jobs.create"), before + 1);
});

test("j02 extension: its state and its log are followed without a question", async () => {
  await ucloud.click("Refresh jobs");
  await ucloud.click(`Open job ${number}`);
  await page.locator("#job-state", { hasText: "RUNNING" }).waitFor();
  await page.locator("#log", { hasText: /1\n[^]*number 1\n/ }).waitFor();
});

test("j02 extension: it is given more time without a question", async () => {
  await ucloud.click("Extend by one hour");
  await until(BOB, "it has two hours", ([job]) => job.timeAllocationMs === 2 * 3_600_000);
});

test("j04 extension: a shell in it is asked about, is a step of the job, and is sealed", async () => {
  await ucloud.click("Open shell");
  await approve("Open a session in a running job");
  await page.locator("#job-shell", { hasText: "$" }).waitFor();
  await page.getByLabel("Shell input").focus();
  await page.keyboard.type("echo on-$SLURMD_NODENAME");
  await page.keyboard.press("Enter");
  await page.locator("#job-shell", { hasText: /on-n[12]/ }).waitFor();
  assert.ok((await bob.recent()).some((line) => /^sealed: .*Open a session in a running job/.test(line)));
});

test("j02 extension: it is ended by its user, who was asked, and its log ends", async () => {
  await ucloud.click(`Stop job ${number}`);
  await approve("Stop a job");
  await until(BOB, "it has ended", ([job]) => job.state === "SUCCESS");
  // The page opens a lost shell again by itself.
  await (await asked("Open a session in a running job")).getByRole("button", { name: "Refuse" }).click();
  await page.locator("#job-shell", { hasText: "You refused this" }).waitFor();
  await page.locator("#job-state", { hasText: "SUCCESS" }).waitFor();
  await page.locator("#log", { hasText: "[The log has ended.]" }).waitFor({ timeout: 2 * PATIENCE_MS });
});

/** What a tab shows of the application "board", once it does. */
async function board(tab) {
  await tab.getByRole("heading", { name: "A board of mine" }).waitFor();
  const { hostname, pathname } = new URL(tab.url());
  return [hostname, pathname];
}

test("j08 extension: a web interface opens with a signature, again without a question, and ends with its job", async () => {
  await page.locator("#application").selectOption("board");
  await ucloud.click("Start job");
  await approve("Start a job");
  await ucloud.notified("not approved at this computing centre");
  await review("board", "1.0");
  await ucloud.click("Start job");
  await approve("Start a job");
  const jobs = await until(BOB, "the job runs", (all) => all.some(({ state }) => state === "RUNNING"));
  number = jobs.find(({ state }) => state === "RUNNING").id;
  await ucloud.click("Refresh jobs");
  await ucloud.click(`Open job ${number}`);
  // The page asks for the interface before anybody has clicked anything.
  await approve("Open a session in a running job");
  await page.bringToFront();
  await page.locator("#log", { hasText: "Serving HTTP" }).waitFor();
  for (let time = 0; time < 2; time += 1) {
    const opening = page.context().waitForEvent("page");
    await page.locator("#interface").click();
    const tab = await opening;
    assert.deepEqual(await board(tab), [`app-${number}-0.apps.localhost`, "/"]);
    assert.equal(await tab.evaluate(() => document.cookie), "");
    await tab.reload();
    await board(tab);
    await tab.close();
  }
  assert.ok((await bob.recent()).some((line) => /^unsealed: .*Open a session in a running job/.test(line)));
  await ucloud.click(`Stop job ${number}`);
  await approve("Stop a job");
  await until(BOB, "it has ended", (all) => all.find(({ id }) => id === number).state === "SUCCESS");
});

test("j08 without the extension nothing is opened, and a page says what is missing", async () => {
  const other = await User.at(testServer, "bob");
  try {
    const tab = await other.browser.tab(`${testServer.page("interface")}#a.b.c`);
    await tab.getByRole("heading", { name: "Opening an interface of your job" }).waitFor();
    await tab.getByText("Nothing was opened.").waitFor();
    assert.deepEqual(await faults(tab), []);
  } finally {
    await other.leave();
  }
});

test("j01 extension: of two jobs in one request both scripts are shown, and each has an intent of its own", async () => {
  const before = await deposits("jobs.create");
  await page.locator("#application").selectOption("count");
  const starting = page.evaluate(async () => {
    const [{ newJob, startJobs }, { callApi }] = await Promise.all([import("/app/jobs.js"), import("/app/api.js")]);
    const { productsByProvider } = await callApi({ method: "GET", path: "jobs/retrieveProducts" });
    const [{ product }] = Object.values(productsByProvider).flat();
    const jobs = ["4", "5"].map((count) => {
      document.getElementById("job-value").value = count;
      return newJob(product, null);
    });
    await startJobs(jobs, (why) => document.getElementById("notifications").append(why));
  });
  const question = await asked("Do these 2 things");
  const scripts = await question.locator(".script pre").allInnerTexts();
  assert.deepEqual(scripts.map((text) => /seq 1 '?(\d)'?\)/.exec(text)[1]), ["4", "5"]);
  await approve("Do these 2 things");
  await starting;
  assert.equal(await deposits("jobs.create"), before + 2);
  await until(BOB, "both have run", (jobs) => jobs.length === 4 && jobs.every(({ state }) => state === "SUCCESS"));
});

test("j01 extension: what cannot be seen in a script is named, and a job that its user refuses is not sent", async () => {
  const before = ucloud.requests.length;
  await page.locator("#application").selectOption("own-script");
  await page.getByLabel("Parameter").fill("  echo a\u202eb\n");
  await ucloud.click("Start job");
  const question = await asked("Start a job");
  assert.match(await question.locator(".script pre").innerText(), /\n  echo a/);
  assert.equal(await question.locator(".script pre .marked").count(), 1);
  await question.getByRole("button", { name: "Refuse" }).click();
  await ucloud.notified("You refused this");
  assert.deepEqual(ucloud.requests.slice(before).filter(({ method, path }) => method === "POST" && path === "/api/jobs"), []);
  assert.equal((await jobsOf(BOB)).length, 4);
});

// --- Alice, with the SDK, at a Core that cheats ------------------------------------------------------

const row = () => alice.portal.locator(`#job-${number}`);
const press = async (text) => {
  await alice.lookAtPortal();
  await alice.portal.locator("#result").evaluate((result) => result.replaceChildren());
  await alice.portal.getByRole("button", { name: text, exact: true }).click();
};

test("j01 signer: the script is in the signer's window, and the job runs", async () => {
  alice = await User.at(testServer, "alice");
  await (await alice.connect()).close();
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
  await alice.portal.locator("#application").selectOption("count 2.1");
  await alice.portal.locator("#job-value").fill("600");
  await press("Start job");
  await alice.question.locator(".script pre", { hasText: /seq 1 '?600/ }).waitFor();
  await alice.sayYes();
  await alice.told("Done.");
  [{ id: number }] = await until("alice#1234", "it runs", ([job]) => job?.state === "RUNNING");
  await alice.portal.locator(`#job-${number}[data-state=RUNNING]`).waitFor();
});

test("j02 signer: a job is followed, extended and entered", async () => {
  await press(`Follow log: job ${number}`);
  await alice.portal.locator("#job-log", { hasText: "number 1" }).waitFor();
  await press(`Extend: job ${number}`);
  await alice.told("Done.");
  await row().getByText("20 minutes").waitFor();
  await press(`Open shell: job ${number}`);
  await alice.question.waitFor();
  await alice.sayYes();
  await alice.portal.locator(".outcome, .verdict.good").first().waitFor();
  await alice.type("echo on-$SLURMD_NODENAME");
  await alice.shows(/on-n[12]/);
  await alice.portal.getByText("sealed: only your own process").waitFor();
  assert.deepEqual(await faults(alice.portal), []);
});

test("j08 signer: a web interface opens with a signature", async () => {
  const own = number;
  await alice.portal.locator("#application").selectOption("board 1.0");
  await press("Start job");
  await alice.sayYes();
  await alice.told("Done.");
  const running = (all) => all.find(({ id, state }) => id !== own && state === "RUNNING");
  const { id } = running(await until("alice#1234", "it runs", running));
  // Followed again if it takes long: the job may have begun to write after its log was opened.
  const serving = alice.portal.locator("#job-log", { hasText: "Serving HTTP" });
  for (const end = Date.now() + PATIENCE_MS; (await serving.count()) === 0; ) {
    assert.ok(Date.now() < end, "the application does not serve");
    await press(`Follow log: job ${id}`);
    await serving.waitFor({ timeout: 5_000 }).catch(() => {});
  }
  const opening = alice.portal.context().waitForEvent("page");
  await press(`Open interface: job ${id}`);
  const tab = await opening;
  await alice.sayYes();
  assert.deepEqual(await board(tab), [`app-${id}-0.apps.localhost`, "/"]);
  await tab.close();
  await press(`End: job ${id}`);
  await alice.sayYes();
  await until("alice#1234", "it has ended", (all) => all.find((one) => one.id === id).state === "SUCCESS");
  await alice.portal.locator("#application").selectOption("count 2.1");
  await alice.portal.locator("#job-value").fill("600");
});

test("j03 Core swaps the application's script: refused, and explained", async () => {
  await alice.letCore("application");
  await press("Start job");
  await alice.sayYes();
  const told = await alice.told("Refused.");
  assert.match(told, /touch ~\/taken-by-core[^]*403 · APPLICATION_NOT_APPROVED[^]*application that its staff approved/);
  assert.match(told, /What you asked for was not done: start the job count 2\.1/);
  assert.equal((await jobsOf("alice#1234")).length, 2);
});

test("j03 Core starts a job again under another number: refused, and explained", async () => {
  await alice.letCore("number");
  await alice.portal.locator("#job-value").fill("1");
  await press("Start job");
  await alice.sayYes();
  const told = await alice.told("Refused.");
  assert.match(told, /as job 4712999[^]*482 · INTENT_REPLAYED[^]*good for one use/);
  assert.match(told, /What you asked for was done: start the job count 2\.1/);
  await until("alice#1234", "the one job ends", (jobs) => jobs.length === 3 && jobs.at(-1).state === "SUCCESS");
});

test("j03 Core ends a job that its user did not name: refused, and explained", async () => {
  await alice.letCore("job");
  await press(`End: job ${number}`);
  await alice.sayYes();
  const told = await alice.told("Refused.");
  assert.match(told, /named job 4712999[^]*482 · INTENT_INVALID[^]*covers the job's number/);
  assert.match(told, /What you asked for was not done: end job/);
  const [job] = await jobsOf("alice#1234");
  assert.equal(job.state, "RUNNING");
});

test("j02 signer: a job is ended by its user", async () => {
  await alice.letCore("honest");
  await press(`End: job ${number}`);
  await alice.sayYes();
  await alice.told("Done.");
  await until("alice#1234", "it has ended", ([job]) => job.state === "SUCCESS");
  await alice.portal.locator(`#job-${number}[data-state=SUCCESS]`).waitFor();
});
