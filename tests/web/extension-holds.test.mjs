// The extension's worker: which requests of UCloud's page are signed, when a person is asked first,
// and what a page that cheats gets.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { digest } from "../../web/js/digest.js";
import { makeKeyPair } from "../../web/js/jws.js";
import { Refused, Unreachable } from "../../web/js/provider.js";
import { describe } from "../../web/js/review.js";
import { readTable } from "../../web/js/table.js";
import { ConnectedProvider } from "../../web/extension/worker/connected-provider.js";
import { Holds, keptAs } from "../../web/extension/worker/holds.js";
import { NotPlanned } from "../../web/extension/worker/plan.js";

const bound = (...names) => names.map((name) => ({ name, kind: "plain", changes: [] }));
const TABLE = readTable([
  { call: "files.browse", items: "whole", class: "read", bound: bound("path") },
  { call: "files.createFolder", items: "bulk", class: "write", bound: bound("id", "conflictPolicy"),
    ask_if: [{ parameter: "id", when: "hidden" }] },
  { call: "files.trash", items: "bulk", class: "danger", bound: bound("id") },
  { call: "jobs.create", items: "bulk", class: "danger", bound: [{ name: "specification", kind: "tree", changes: [] }, { name: "script", kind: "plain", changes: [], optional: true }] },
]);
const UCLOUD = "https://cloud.example.org";
const { privateKey } = await makeKeyPair("EdDSA");
const key = (provider) => ({
  kid: "AAAAAAAAAAAAAAAAAAAAAA", provider, username: "alice", privateKey, state: "active", name: "x", created: 1_000,
  expires: null, lastUsed: null, lifetimeMax: 60, sessionOnly: false,
});
const claimsOf = (jws) => JSON.parse(Buffer.from(jws.split(".")[1], "base64url").toString("utf8"));

/** Storage that keeps JSON, as the browser's does, and outlives a worker. */
function storage() {
  const kept = new Map();
  return {
    kept,
    get: async (name) => (kept.has(name) ? JSON.parse(kept.get(name)) : undefined),
    set: async (name, value) => void kept.set(name, JSON.stringify(value)),
    remove: async (name) => void kept.delete(name),
    all: async () => Object.fromEntries([...kept].map(([name, value]) => [name, JSON.parse(value)])),
  };
}

/** Workers of one browser: `worker()` is a fresh one, as after a stop. */
function bench({ providers = ["hpc"], keys = providers.map(key), drives = new Map(), deposit = async () => ({}), preview = async () => ({}) } = {}) {
  const seen = { deposits: [], noted: [], opened: 0 };
  const clock = { now: 1_800_000_000_000 };
  const begun = performance.now();
  const session = storage();
  const connected = new Map(providers.map((id) => {
    const one = new ConnectedProvider({ id, origin: `https://${id}.example.org`, ucloud: UCLOUD, by: "user" }, "calls.json");
    one.provider = {
      table: async () => TABLE,
      deposit: async (jws) => {
        const answer = await deposit(id, jws);
        seen.deposits.push(claimsOf(jws));
        return answer;
      },
    };
    one.drives = { of: async () => drives };
    return [id, one];
  }));
  // A step that is reached after `left` others is done, or not, and nothing follows it.
  const stopping = (stop) => (work) => async (...given) => {
    if (stop === undefined) return work(...given);
    stop.left -= 1;
    if (stop.left < 0 && !(stop.left === -1 && stop.isDone)) return new Promise(() => {});
    const done = await work(...given);
    return stop.left < 0 ? new Promise(() => {}) : done;
  };
  const worker = (stop) => new Holds({
    plan: async ({ parts }) => {
      if (parts === undefined) throw new NotPlanned("whyWhichProvider");
      return parts.map(({ provider = "hpc", call, items, project = null }) => ({ provider, request: describe(TABLE, { call, items, project, ask: false }) }));
    },
    provider: (id) => {
      const one = connected.get(id);
      const [table, sign, deposit, previewed] = [() => one.table(), (...given) => one.sign(...given), (jws) => one.deposit(jws), preview].map(stopping(stop));
      return { site: one.site, clock: one.clock, drives: one.drives, table, sign, deposit, preview: previewed };
    },
    keys: stopping(stop)(async () => keys),
    session: Object.fromEntries(["get", "set", "remove", "all"].map((name) => [name, stopping(stop)((...given) => session[name](...given))])),
    openWindow: async () => void (seen.opened += 1),
    note: (entry) => void seen.noted.push(entry),
    // Time passes, so that what no test answers ends too.
    now: () => clock.now + performance.now() - begun,
  });
  let count = 0;
  const holds = worker();
  const hold = (parts, more = {}) => (more.holds ?? holds).hold(
    { name: more.name ?? `page/${(count += 1)}`, until: more.until ?? clock.now + 2_000, request: { username: "alice", path: "/api/x", parts } }, more.ucloud ?? UCLOUD,
  );
  return { seen, clock, session, holds, hold, worker };
}
const asking = async (holds, many = 1) => {
  for (;;) {
    const questions = await holds.questions();
    if (questions.length >= many) return questions;
    await new Promise((resolve) => setImmediate(resolve));
  }
};
const browse = { call: "files.browse", items: [{ path: "/1/x" }] };
const trash = { call: "files.trash", items: [{ id: "/1/x" }, { id: "/1/y" }] };

test("extension: a read is signed and left at the provider without a question", async () => {
  const { seen, hold } = bench();
  assert.deepEqual(await hold([browse]), {});
  const [{ aud, call, username, params, asked }] = seen.deposits;
  assert.deepEqual([aud, call, username, asked], ["https://hpc.example.org", "files.browse", "alice", undefined]);
  assert.deepEqual(params, [await digest(TABLE.get("files.browse"), { path: "/1/x" })]);
  assert.deepEqual([seen.opened, seen.noted[0].what], [0, "signed"]);
});

test("extension: a dangerous call waits for a person, who sees exactly what is signed", async () => {
  const { seen, holds, hold } = bench();
  const waiting = hold([browse, trash]);
  const [question] = await asking(holds);
  assert.deepEqual(seen.deposits, []);
  assert.deepEqual(question.parts.map(({ request }) => request.items), [browse.items, trash.items]);
  await holds.decide(question.id, true);
  assert.deepEqual(await waiting, {});
  assert.deepEqual(seen.deposits.map(({ asked }) => asked), [undefined, true]);
  assert.deepEqual(seen.deposits[1].params, await Promise.all(question.parts[1].request.items.map((item) => digest(TABLE.get("files.trash"), item))));
});

test("extension: a dangerous item is asked about, whatever its call", async () => {
  const check = async (id, drives, isAsked) => {
    const { seen, holds, hold } = bench({ drives });
    const waiting = hold([{ call: "files.createFolder", items: [{ id }] }]);
    if (isAsked) {
      const [question] = await asking(holds);
      await holds.decide(question.id, true);
    }
    await waiting;
    assert.deepEqual(seen.deposits.map(({ asked }) => asked), [isAsked ? true : undefined], id);
  };
  await check("/1/results", new Map(), false);
  await check("/1/.ssh", new Map(), true);
  await check("/1/results", new Map([["1", { title: "Programs", startup: true }]]), true);
});

test("extension: what is refused is answered and not signed, and not asked again at once", async () => {
  const { seen, clock, holds, hold } = bench();
  const waiting = hold([trash]);
  await holds.decide((await asking(holds))[0].id, false);
  const { answer } = await waiting;
  assert.deepEqual([answer.status, JSON.parse(answer.body).errorCode], [403, "REFUSED_BY_USER"]);
  assert.equal((await hold([trash])).answer.status, 403);
  assert.equal(seen.opened, 1);
  clock.now += 15_000;
  const again = hold([trash]);
  await holds.decide((await asking(holds))[0].id, true);
  await again;
  assert.equal(seen.deposits.length, 1);
});

test("extension: a refusal counts for that request alone", async () => {
  const { holds, hold, seen } = bench();
  const first = hold([trash]);
  await holds.decide((await asking(holds))[0].id, false);
  await first;
  const other = hold([{ ...trash, items: [{ id: "/1/z" }] }]);
  await holds.decide((await asking(holds))[0].id, true);
  await other;
  assert.equal(seen.deposits.length, 1);
});

test("extension: each provider gets an intent of its own, and none is left before all are signed", async () => {
  const parts = [{ ...browse, provider: "hpc" }, { ...browse, provider: "other" }];
  const both = bench({ providers: ["hpc", "other"] });
  await both.hold(parts);
  assert.deepEqual(both.seen.deposits.map(({ aud }) => aud).sort(), ["https://hpc.example.org", "https://other.example.org"]);
  const one = bench({ providers: ["hpc", "other"], keys: [key("hpc")] });
  assert.deepEqual(await one.hold(parts), {});
  assert.deepEqual([one.seen.deposits, one.seen.noted[0].why], [[], "whyNoKey"]);
});

test("extension: a provider that is down leaves the request unsigned, and the user is told why", async () => {
  const { seen, hold } = bench({ deposit: async () => { throw new Unreachable("down"); } });
  assert.deepEqual(await hold([browse]), {});
  assert.deepEqual([seen.noted[0].what, seen.noted[0].why, seen.noted[0].provider], ["unsigned", "whyUnreachable", "hpc"]);
});

test("extension: a provider that asks for a passkey is not served by a click", async () => {
  const { seen, hold } = bench({ deposit: async () => ({ stepUp: { publicKey: {} } }) });
  await hold([browse]);
  assert.deepEqual([seen.noted[0].what, seen.noted[0].why], ["unsigned", "whyPasskey"]);
});

test("extension: a worker that was stopped continues where it was", async () => {
  const { seen, hold, worker } = bench();
  void hold([trash], { name: "page/1" });
  const second = worker();
  const [question] = await asking(second);
  await second.decide(question.id, true);
  const third = worker();
  assert.deepEqual(await hold([trash], { name: "page/1", holds: third }), {});
  assert.equal(seen.deposits.filter(({ asked }) => asked).length, 1);
});

/** Stops the worker at each step in turn, repeats the question to the next one, and checks what both did. */
async function stoppedAtEachStep(parts, check) {
  let steps = 0;
  for (const isDone of [false, true]) {
    for (let at = 0; ; at += 1) {
      const { seen, hold, worker, session } = bench({ providers: ["hpc", "other"] });
      const isAsking = () => [...session.kept.values()].some((text) => text.includes('"state":"asking"'));
      const stop = { left: at, isDone };
      let isOver = false;
      const approve = (holds) => holds.questions().then(([question]) => question && holds.decide(question.id, true));
      const first = worker(stop);
      void hold(parts, { name: "page/1", holds: first }).then(() => (isOver = true));
      // Until it has stopped, or ended.
      while (!isOver && stop.left >= 0) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        // A stopped worker does not answer its window either.
        if (isAsking()) void approve(first);
      }
      if (isOver && stop.left >= 0) break;
      const second = worker();
      const waiting = hold(parts, { name: "page/1", holds: second });
      const answering = setInterval(() => isAsking() && void approve(second), 1);
      assert.deepEqual(await waiting, {}, `step ${at}`);
      clearInterval(answering);
      check(seen, `step ${at}, done: ${isDone}`);
      steps += 1;
    }
  }
  assert.ok(steps > 10, `${steps}`);
}

test("extension: a worker that is stopped at any step leaves each intent once", async () => {
  await stoppedAtEachStep([{ ...trash, provider: "hpc" }, { ...browse, provider: "other" }], ({ deposits }, step) => {
    assert.deepEqual([...new Set(deposits.map(({ jti }) => jti))].length, 2, step);
    assert.deepEqual([...new Set(deposits.map(({ call }) => call))].sort(), ["files.browse", "files.trash"], step);
  });
});

test("extension: nor does what needs no question leave two", async () => {
  await stoppedAtEachStep([{ ...browse, provider: "hpc" }], ({ deposits, opened }, step) => {
    assert.deepEqual([new Set(deposits.map(({ jti }) => jti)).size, opened], [1, 0], step);
  });
});

test("extension: finished intents are forgotten when the page has its answer, or waits no more", async () => {
  const { clock, hold, session, holds } = bench();
  const kept = () => [...session.kept.keys()].filter((name) => name.startsWith(keptAs("")));
  await hold([browse], { name: "page/1" });
  assert.equal(kept().length, 1);
  await holds.withdraw("page/1", UCLOUD);
  assert.deepEqual(kept(), []);
  for (let at = 0; at < 5; at += 1) await hold([browse], { name: `left/${at}` });
  assert.equal(kept().length, 5);
  clock.now += 10_000;
  await hold([browse], { name: "page/2" });
  assert.deepEqual(kept(), [keptAs(`${UCLOUD} page/2`)]);
});

test("extension: a flood of signed questions has a bound", async () => {
  const { hold, seen, session } = bench();
  await Promise.all(Array.from({ length: 420 }, () => hold([browse])));
  assert.ok(seen.deposits.length <= 400 && seen.noted.some(({ why }) => why === "whyTooMany"), `${seen.deposits.length}`);
  assert.ok([...session.kept.keys()].length <= 400);
});

test("extension: a repeated question of another content gets nothing", async () => {
  const { seen, holds, hold, worker } = bench();
  const first = hold([trash], { name: "page/1" });
  const [question] = await asking(holds);
  const other = worker();
  assert.deepEqual(await hold([{ ...trash, items: [{ id: "/1/thesis" }] }], { name: "page/1", holds: other }), {});
  await holds.decide(question.id, true);
  await first;
  assert.deepEqual(seen.deposits.map(({ params }) => params.length), [2], "what was shown, and nothing else");
});

test("extension: an approval is of the question that was shown, even if its name was used again", async () => {
  const { seen, holds, hold } = bench();
  const first = hold([trash], { name: "page/1" });
  const [shown] = await asking(holds);
  await holds.withdraw("page/1", UCLOUD);
  assert.deepEqual(await first, {});
  const second = hold([{ ...trash, items: [{ id: "/1/HOME" }] }], { name: "page/1" });
  const [other] = await asking(holds);
  assert.notEqual(other.id, shown.id);
  await holds.decide(shown.id, true);
  assert.equal((await holds.questions())[0]?.state, "asking", "the new one still waits");
  assert.deepEqual(seen.deposits, []);
  await holds.decide(other.id, false);
  assert.equal((await second).answer.status, 403);
});

test("extension: a question under a name whose first one was withdrawn ends only itself", async () => {
  const { seen, holds, hold } = bench();
  const first = hold([trash], { name: "page/1" });
  await asking(holds);
  const withdrawn = holds.withdraw("page/1", UCLOUD);
  const second = hold([{ ...trash, items: [{ id: "/1/other" }] }], { name: "page/1" });
  await withdrawn;
  assert.deepEqual([await first, (await second).answer], [{}, undefined]);
  assert.deepEqual(seen.deposits, []);
});

test("extension: a refusal holds even if it cannot be remembered", async () => {
  const { holds, hold, session } = bench();
  const waiting = hold([trash]);
  const [{ id }] = await asking(holds);
  const set = session.set;
  session.set = async (name, value) => {
    if (name.startsWith("refused/")) throw new Error("full");
    return set(name, value);
  };
  await holds.decide(id, false);
  assert.equal((await waiting).answer.status, 403);
});

test("extension: two UClouds never share a question", async () => {
  const { holds, hold } = bench();
  void hold([trash], { name: "page/1" });
  void hold([trash], { name: "page/1", ucloud: "https://other.example.org" });
  assert.equal((await asking(holds, 2)).length, 2);
});

test("extension: an answer that comes too late signs nothing", async () => {
  const { seen, clock, holds, hold, session } = bench();
  const waiting = hold([trash], { until: clock.now + 40 });
  const [{ name, id }] = await asking(holds);
  const kept = await session.get(keptAs(name));
  clock.now += 41;
  await holds.decide(id, true);
  assert.equal((await session.get(keptAs(name)))?.state, kept.state);
  assert.deepEqual(await waiting, {});
  assert.deepEqual([seen.deposits, seen.noted.at(-1).why], [[], "whyNoAnswer"]);
});

test("extension: a page that gives up gets no signature", async () => {
  const { seen, holds, hold } = bench();
  const waiting = hold([trash], { name: "page/1" });
  const [{ name, id }] = await asking(holds);
  await holds.withdraw("page/1", "https://other.example.org");
  assert.equal((await holds.questions()).length, 1, "not another page's");
  await holds.withdraw("page/1", UCLOUD);
  await holds.decide(id, true);
  assert.deepEqual(await waiting, {});
  assert.deepEqual([seen.deposits, seen.noted.at(-1).why], [[], "whyWithdrawn"]);
});

test("extension: a flood of questions opens no flood of windows", async () => {
  const { seen, holds, hold } = bench();
  for (let at = 0; at < 20; at += 1) void hold([{ ...trash, items: [{ id: `/1/${at}` }] }]);
  await asking(holds, 20);
  assert.deepEqual(await hold([{ ...trash, items: [{ id: "/1/more" }] }]), {});
  assert.equal(seen.noted.at(-1).why, "whyTooMany");
  await holds.refuseAll();
  assert.equal((await holds.questions()).length, 0);
});

test("extension: what cannot be planned is sent unsigned, with the reason", async () => {
  const { seen, hold } = bench();
  assert.deepEqual(await hold(undefined), {});
  assert.deepEqual([seen.noted[0].what, seen.noted[0].why], ["unsigned", "whyWhichProvider"]);
});

const job = (name) => ({ call: "jobs.create", items: [{ specification: { application: { name, version: "1" } } }] });
const scriptOf = ({ application: { name } }) => `#!/bin/sh\n${name}\n`;
const digestOf = (text) => createHash("sha256").update(text).digest("base64url");
/** A provider that shows the scripts of its jobs. */
const showing = async (_key, specification) => ({ script: scriptOf(specification), sha256: digestOf(scriptOf(specification)) });

test("j01 extension: each job's script is in the question, and its digest in the intent", async () => {
  const { seen, holds, hold } = bench({ preview: showing });
  const waiting = hold([job("one"), job("two")]);
  const [question] = await asking(holds);
  const texts = question.parts.map(({ request }) => request.scripts.map(({ text }) => text));
  assert.deepEqual(texts, [["#!/bin/sh\none\n"], ["#!/bin/sh\ntwo\n"]]);
  await holds.decide(question.id, true);
  assert.deepEqual(await waiting, {});
  assert.deepEqual(seen.deposits.map(({ script }) => script).sort(), texts.map(([text]) => digestOf(text)).sort());
});

test("j01 extension: a job whose script cannot be shown is asked about, and the person is told", async () => {
  const { seen, holds, hold } = bench({ preview: async () => { throw new Refused(403, "APPLICATION_NOT_APPROVED", "no"); } });
  const waiting = hold([job("one")]);
  const [question] = await asking(holds);
  assert.match(question.parts[0].request.scripts[0].why, /^This application is not approved/);
  await holds.decide(question.id, true);
  await waiting;
  assert.ok(seen.deposits.every((intent) => !("script" in intent)));
  assert.equal(seen.deposits.length, 1);
});

test("j01 extension: a worker that is stopped signs the script that was shown, and no later one", async () => {
  let word = "first";
  const { seen, hold, worker } = bench({ preview: async () => ({ script: word, sha256: digestOf(word) }) });
  void hold([job("one")], { name: "page/1" });
  const second = worker();
  const [question] = await asking(second);
  word = "second";
  await second.decide(question.id, true);
  assert.deepEqual(await hold([job("one")], { name: "page/1", holds: worker() }), {});
  assert.deepEqual([...new Set(seen.deposits.map(({ script }) => script))], [digestOf("first")]);
});
