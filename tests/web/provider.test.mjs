// Requests to the provider, the reading of its answers, and the clock that is learnt from them.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Clock } from "../../web/js/clock.js";
import { WrongAddress, readPage } from "../../web/js/page.js";
import { Provider, Refused, Unreachable } from "../../web/js/provider.js";

const page = { provider: "hpc", origin: "https://hpc.example.org", coreOrigin: "https://cloud.example.org", base: "/ucloud/hpc" };
const NOW_MS = 1_800_000_000_000;
const { fetch } = globalThis;
afterEach(() => (globalThis.fetch = fetch));

/** A provider with prepared answers, and the requests that it received. */
function bench(answer) {
  const asked = [];
  globalThis.fetch = async (path, request) => (asked.push([path, request]), answer());
  const clock = new Clock(() => NOW_MS, () => 0);
  return { asked, clock, provider: new Provider(page, clock) };
}
const json = (value, status = 200, headers = {}) => () => new Response(JSON.stringify(value), { status, headers });

test("an intent goes in its header, and nothing that a foreign page could send goes along", async () => {
  const { asked, provider } = bench(json({ keys: [] }));
  assert.deepEqual(await provider.post("keys/list", {}, "a.b.c"), { keys: [] });
  const [path, request] = asked[0];
  assert.equal(path, "/ucloud/hpc/keys/list");
  assert.deepEqual(request.headers, { "content-type": "application/json", "ucloud-signed-intent": "a.b.c" });
  assert.deepEqual([request.method, request.body, request.credentials, request.redirect], ["POST", "{}", "omit", "error"]);
});

test("a refusal is the provider's own; anything else is no answer", async () => {
  const refused = bench(json({ statusCode: 482, why: "no", errorCode: "INTENT_INVALID" }, 482));
  await assert.rejects(refused.provider.deposit("a.b.c"), (error) => error instanceof Refused && error.status === 482 && error.code === "INTENT_INVALID");
  const check = async (answer) => assert.rejects(bench(answer).provider.post("x", {}), Unreachable);
  await check(() => { throw new TypeError("no network"); });
  await check(() => new Response("<html>", { status: 200 }));
  await check(() => new Response("Bad Gateway", { status: 502 }));
});

test("the clock is the provider's, if it differs by more than one cannot tell", async () => {
  const check = async (date, ahead) => {
    const { clock, provider } = bench(json({}, 200, date === null ? {} : { date }));
    await provider.post("x", {});
    assert.deepEqual([clock.ahead, clock.now()], [ahead, NOW_MS / 1000 + ahead], date);
  };
  const at = (ms) => new Date(NOW_MS + ms).toUTCString();
  await check(at(0), 0);
  await check(at(1_000), 0);
  await check(at(-2_000), 0);
  await check(at(420_000), 420.5);
  await check(at(-420_000), -419.5);
  await check(null, 0);
  await check("yesterday", 0);
});

test("an answer that was waited for says when it was sent", () => {
  let now = NOW_MS;
  const clock = new Clock(() => now, () => now - NOW_MS);
  now += 25_000;
  clock.learn(now / 1000);
  assert.equal(clock.ahead, 0);
});

test("r07 a clock that is set while the page is open changes no signature's time, and is found out", () => {
  for (const step of [600, -600, 3, -3, 86_400]) {
    let [ours, count] = [NOW_MS, 5_000];
    const clock = new Clock(() => ours, () => count);
    clock.learn(NOW_MS / 1000);
    [ours, count] = [ours + 1_000, count + 1_000];
    assert.equal(clock.jump, 0);
    ours += step * 1000;
    assert.equal(clock.now(), NOW_MS / 1000 + 1, `${step}: still the provider's`);
    assert.equal(clock.jump, step);
    clock.learn(NOW_MS / 1000 + 1);
    assert.equal(clock.jump, 0, "learnt anew");
    assert.ok(Math.abs(clock.now() - NOW_MS / 1000 - 1) <= 0.5);
  }
});

test("r07 a computer that slept asks again, since nothing counted meanwhile", () => {
  let ours = NOW_MS;
  const clock = new Clock(() => ours, () => 0);
  clock.learn(NOW_MS / 1000);
  ours += 3_600_000;
  assert.equal(clock.jump, 3_600);
});

test("a page at another address than the provider's is no page of it", () => {
  const written = { provider: "hpc", origin: page.origin, coreOrigin: page.coreOrigin };
  assert.deepEqual(readPage(written, page.origin), page);
  assert.throws(() => readPage(written, "https://127.0.0.1"), WrongAddress);
  assert.throws(() => readPage({}, "https://hpc.example.org"), WrongAddress);
});
