// The connection from ticket to tested key, and every way in which it fails. The provider is
// simulated; keys and proofs are real.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";
import { encode } from "../../web/js/base64url.js";
import { Clock } from "../../web/js/clock.js";
import { Connection, Problem } from "../../web/js/connection.js";
import { toldOf } from "../../web/js/errors.js";
import { Refused, Unreachable } from "../../web/js/provider.js";
import { NoStorage, SessionStorage } from "../../web/js/storage.js";
import { isSigned } from "./verified.mjs";

const NOW_S = 1_800_000_000;
const page = { provider: "hpc", origin: "https://hpc.example.org", coreOrigin: "https://cloud.example.org", base: "/ucloud/hpc" };
const ticket = encode(new Uint8Array(32).fill(7));

/** Simulates src/server/connections/offer.rs with one ticket. */
class Played {
  state = "open";
  why = null;
  offers = [];
  probes = [];
  coreTold = false;
  secondOffer = false;
  /** Replacements for the next answers, by path. */
  trouble = {};
  /** Called after a question about the status: events that happen meanwhile. */
  meanwhile = () => {};
  asked = [];

  async post(path, body) {
    this.asked.push(path);
    const trouble = this.trouble[path]?.shift();
    if (trouble?.before) throw trouble.before;
    const answer = this[path.split("/")[1]](body);
    if (trouble?.after) throw trouble.after;
    return answer;
  }

  describe() {
    return {
      provider: "hpc", username: "alice#1234", nonce: "n", state: this.state, expiresAt: NOW_S + 900, why: this.why, now: NOW_S,
      window: { lifetimeMax: 45, futureSkew: 5 },
    };
  }

  offer(body) {
    if (this.state !== "open") {
      if (this.state === "offered") [this.state, this.why] = ["dead", "second_offer"];
      throw new Refused(409, "TICKET_DEAD", "the ticket is dead");
    }
    this.offers.push(body);
    this.state = "offered";
    return { code: "c", command: "countersign connect approve c", fingerprint: "SHA256:x", kid: "AAAAAAAAAAAAAAAAAAAAAA" };
  }

  status() {
    const { state, why, coreTold, secondOffer } = this;
    const kid = state === "approved" || state === "connected" ? "AAAAAAAAAAAAAAAAAAAAAA" : undefined;
    this.meanwhile();
    return { state, why, coreTold, secondOffer, kid };
  }

  probe(body) {
    this.probes.push(body);
    return {};
  }
}

function bench({ provider = new Played(), storage = new SessionStorage(), agree = async () => {} } = {}) {
  const views = [];
  const view = {};
  const show = (news) => {
    views.push(news);
    Object.assign(view, news);
    if (news.retryAt) setImmediate(() => connection.retryNow());
  };
  const connection = new Connection({ page, clock: new Clock(() => NOW_S * 1000), provider, storage, show, agree });
  return { provider, storage, view, views, run: (of = ticket) => connection.run(of, "Firefox on Linux") };
}

const problem = (kind) => (error) => {
  assert.ok(error instanceof Problem, error);
  assert.equal(error.kind, kind);
  assert.ok(toldOf(kind).title && toldOf(kind).text.length > 0);
  return true;
};

/** The user approves, and UCloud is told, one question later each. */
const approving = (provider) => () => {
  if (provider.state === "offered") provider.state = "approved";
  else if (provider.state === "approved") [provider.state, provider.coreTold] = ["connected", true];
};

test("from ticket to tested key", async () => {
  const { provider, storage, view, run } = bench();
  provider.meanwhile = approving(provider);
  await run();
  assert.deepEqual(
    [view.username, view.made, view.approved, view.told, view.tested, view.offer.command],
    ["alice#1234", true, true, true, true, "countersign connect approve c"],
  );
  const [offer] = provider.offers;
  assert.deepEqual([offer.ticket, offer.alg, offer.name], [ticket, "EdDSA", "Firefox on Linux"]);
  assert.ok(isSigned(offer.proof, offer.jwk));
  assert.equal(provider.probes.length, 1);
  assert.ok(isSigned(provider.probes[0].intent, offer.jwk));
  const claims = JSON.parse(Buffer.from(provider.probes[0].intent.split(".")[1], "base64url"));
  assert.deepEqual([claims.call, claims.params.length, claims.project], ["connect.probe", 1, null]);
  const [key] = await storage.keys();
  assert.deepEqual([key.kid, key.username, key.state, key.lifetimeMax], ["AAAAAAAAAAAAAAAAAAAAAA", "alice#1234", "active", 45]);
  assert.equal(key.privateKey.extractable, false);
});

test("a tab that was closed goes on where it was", async () => {
  const provider = new Played();
  const storage = new SessionStorage();
  const first = bench({ provider, storage });
  provider.trouble["connect/status"] = [{ before: new TypeError("the tab was closed") }];
  await assert.rejects(first.run(), TypeError);
  assert.equal(provider.state, "offered");
  provider.meanwhile = approving(provider);
  const second = bench({ provider, storage });
  await second.run();
  assert.equal(second.view.tested, true);
  assert.equal(provider.offers.length, 1, "one ticket, one offer");
  const third = bench({ provider, storage });
  await third.run();
  assert.deepEqual([third.view.tested, provider.probes.length], [true, 1]);
});

test("a key that was made and not offered is offered then", async () => {
  const provider = new Played();
  const storage = new SessionStorage();
  provider.trouble["connect/offer"] = [{ before: new TypeError("the tab was closed") }];
  await assert.rejects(bench({ provider, storage }).run(), TypeError);
  provider.meanwhile = approving(provider);
  await bench({ provider, storage }).run();
  assert.equal(provider.offers.length, 1);
});

test("somebody else offered a key before", async () => {
  const { provider, run, storage } = bench();
  provider.state = "offered";
  await assert.rejects(run(), problem("second-offer"));
  assert.deepEqual([provider.state, provider.why], ["dead", "second_offer"], "and nobody can approve theirs by mistake");
  assert.deepEqual(await storage.keys(), []);
});

test("somebody else offers a key after", async () => {
  const { provider, run } = bench();
  provider.meanwhile = () => ([provider.state, provider.why] = ["dead", "second_offer"]);
  await assert.rejects(run(), problem("second-offer"));
});

test("somebody else tries after the approval", async () => {
  const { provider, run, view } = bench();
  provider.meanwhile = () => {
    approving(provider)();
    provider.secondOffer = true;
  };
  await run();
  assert.deepEqual([view.tested, view.secondOffer], [true, true]);
});

test("an offer whose answer is lost is not made twice", async () => {
  const { provider, run } = bench();
  provider.trouble["connect/offer"] = [{ after: new Unreachable("gone") }];
  await assert.rejects(run(), problem("interrupted"));
  assert.equal(provider.asked.filter((path) => path === "connect/offer").length, 1);
});

test("an offer that did not arrive is made again", async () => {
  const { provider, run, view } = bench();
  provider.trouble["connect/offer"] = [{ before: new Unreachable("gone") }, { before: new Refused(503, "UNAVAILABLE", "later") }];
  provider.meanwhile = approving(provider);
  await run();
  assert.equal(view.tested, true);
});

test("a provider that does not answer is asked until it does", async () => {
  const { provider, run, view, views } = bench();
  const gone = { before: new Unreachable("gone") };
  provider.trouble = { "connect/describe": [gone, gone, gone], "connect/status": [gone, { before: new Refused(503, "UNAVAILABLE", "") }], "connect/probe": [gone] };
  provider.meanwhile = approving(provider);
  await run();
  assert.equal(view.tested, true);
  assert.equal(views.filter(({ retryAt }) => typeof retryAt === "number").length, 6);
  assert.equal(view.retryAt, null);
});

test("tickets that are no good", async () => {
  const check = async (change, kind) => {
    const { provider, run } = bench();
    Object.assign(provider, change);
    await assert.rejects(run(), problem(kind));
    assert.equal(provider.offers.length, 0, kind);
  };
  await check({ state: "dead", why: "expired" }, "expired");
  await check({ state: "dead", why: "withdrawn" }, "withdrawn");
  await check({ state: "dead", why: "second_offer" }, "second-offer");
  await check({ state: "approved" }, "used");
  await check({ state: "connected" }, "used");
  await check({ trouble: { "connect/describe": [{ before: new Refused(404, "NOT_FOUND", "no such") }] } }, "unknown");
  await check({ trouble: { "connect/describe": [{ before: new Refused(429, "TOO_MANY", "slow down") }] } }, "busy");
  await check({ trouble: { "connect/offer": [{ before: new Refused(400, "KEY_REFUSED", "weak") }] } }, "key-refused");
  await check({ describe: () => ({ provider: "other", username: "x", nonce: "n", state: "open" }) }, "other-provider");
});

test("what is no ticket is not sent anywhere", async () => {
  const { provider, storage } = bench();
  const connection = new Connection({ page, clock: new Clock(), provider, storage, show: () => {} });
  await assert.rejects(connection.run("no ticket", "x"), problem("no-ticket"));
  assert.deepEqual(provider.asked, []);
});

test("a ticket that ends while it waits", async () => {
  const { provider, run } = bench();
  provider.meanwhile = () => ([provider.state, provider.why] = ["dead", "expired"]);
  await assert.rejects(run(), problem("expired"));
});

test("another key was approved", async () => {
  const { provider, run, storage } = bench();
  provider.meanwhile = () => (provider.state = "approved");
  provider.status = function status() {
    return { state: "approved", kid: "BBBBBBBBBBBBBBBBBBBBBA", coreTold: false };
  };
  await assert.rejects(run(), problem("used"));
  assert.deepEqual(await storage.keys(), []);
});

test("a first signature that is refused", async () => {
  const { provider, run } = bench();
  provider.meanwhile = approving(provider);
  provider.trouble["connect/probe"] = [{ before: new Refused(482, "INTENT_INVALID", "no") }];
  await assert.rejects(run(), problem("test-failed"));
});

test("a browser that keeps nothing offers no key", async () => {
  const storages = {
    "does not write": { putConnection: async () => { throw new NoStorage("full"); } },
    "forgets": { putConnection: async () => {} },
    "gives back something else": { connection: (() => { let asked = 0; return async () => ((asked += 1) === 1 ? undefined : { privateKey: { extractable: true } }); })() },
  };
  for (const [what, change] of Object.entries(storages)) {
    const storage = Object.assign(new SessionStorage(), change);
    const { provider, run } = bench({ storage });
    await assert.rejects(run(), problem("no-storage"), what);
    assert.equal(provider.offers.length, 0, what);
  }
});

test("a key for this session only is labelled", async () => {
  const { provider, run, view } = bench();
  provider.meanwhile = approving(provider);
  await run();
  assert.equal(view.key.sessionOnly, true);
});

/**
 * A provider with a connection of alice's that was begun at the centre, and a UCloud ticket for
 * her.
 */
class AtTheCentre extends Played {
  begin = "either";
  needsWord = true;
  confirmations = [];

  describe({ ticket: asked }) {
    const isCentre = asked === ticket;
    return {
      ...super.describe(), state: isCentre ? this.state : "open", begin: this.begin,
      ...(isCentre ? { begun: "at_the_centre", account: "alice" } : { begun: "at_core", account: null }),
    };
  }

  offer(body) {
    assert.equal(body.ticket, ticket, "UCloud's ticket takes no key here");
    const offer = super.offer(body);
    if (this.needsWord) this.state = "unconfirmed";
    return offer;
  }

  async status() {
    const status = super.status();
    // Like a provider that holds the question for a while.
    await new Promise(setImmediate);
    return status;
  }

  confirm(body) {
    this.confirmations.push(body);
    if (this.state === "unconfirmed") this.state = "offered";
    return {};
  }
}

const ucloudTicket = encode(new Uint8Array(32).fill(8));

test("v69_s06: a key for a connection begun at the centre is made once its account is known as the user's own", async () => {
  const provider = new AtTheCentre();
  const asked = [];
  const refused = bench({ provider, agree: async (account) => {
    asked.push(account);
    throw new Error("not mine");
  } });
  await assert.rejects(refused.run(), /not mine/);
  assert.deepEqual([asked, provider.offers, await refused.storage.connections("hpc", NOW_S)], [["alice"], [], []]);
});

test("v69_s06: UCloud's ticket confirms it, whichever page is opened first", async () => {
  // UCloud first, at a provider where connections begin only at the centre.
  const provider = new AtTheCentre();
  provider.begin = "provider";
  provider.meanwhile = approving(provider);
  const storage = new SessionStorage();
  const first = bench({ provider, storage });
  await assert.rejects(first.run(ucloudTicket), problem("begin-at-centre"));
  assert.deepEqual(provider.offers, []);
  const second = bench({ provider, storage });
  await second.run();
  assert.deepEqual(provider.confirmations, [{ ticket, ucloudTicket }]);
  assert.equal(second.view.tested, true);
  assert.deepEqual(await storage.ucloudTickets("hpc", "alice#1234", NOW_S), [], "it is used up");

  // The centre first: its page waits, and the page that UCloud opens follows its connection.
  const other = new AtTheCentre();
  const shared = { provider: other, storage: new SessionStorage() };
  let later;
  other.meanwhile = () => {
    if (other.state !== "unconfirmed") return approving(other)();
    later ??= bench(shared).run(ucloudTicket);
  };
  const waiting = bench(shared);
  await waiting.run();
  await later;
  assert.equal(waiting.views.some(({ unconfirmed }) => unconfirmed), true);
  assert.deepEqual([other.offers.length, other.confirmations], [1, [{ ticket, ucloudTicket }]]);
});

test("v69_s06: another user's ticket of UCloud confirms nothing", async () => {
  const storage = new SessionStorage();
  await storage.putUcloudTicket({ provider: "hpc", username: "bob#1", ticket: ucloudTicket, expiresAt: NOW_S + 900 });
  await storage.putUcloudTicket({ provider: "hpc", username: "alice#1234", ticket, expiresAt: NOW_S });
  assert.deepEqual(await storage.ucloudTickets("hpc", "alice#1234", NOW_S), []);
});
