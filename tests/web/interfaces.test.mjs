// Web interfaces and desktops of jobs: the address that is signed is the one that the user's own instance
// named in the token, whatever UCloud's page says.

import "./webcrypto.mjs";
import assert from "node:assert/strict";
import { test } from "node:test";
import { openDesktop, openInterface } from "../../web/sdk/index.js";
import { instance } from "./sealing-instance.mjs";

const ORIGIN = "https://hpc.example.org";
const AT = "https://app-5-0.apps.example.org";
const CALL = "jobs.openInteractiveSession";
const WEB = { kind: "web", place: "5-0", origin: AT };
const VNC = { kind: "vnc", place: "5-0", origin: ORIGIN };

/** The instance's token for an interface, and a signer that pinned the instance's key. */
const made = (claim, { call = CALL, aud = ORIGIN } = {}) => instance(call, { seals: false, aud, more: { interface: claim } });
const page = (token) => ({ redirectClientTo: `${ORIGIN}/ucloud/hpc/interface#${token}` });
const desktop = (token, origin = "wss://hpc.example.org") => ({ url: `${origin}/ucloud/hpc/vnc?token=${token}` });
const code = (wanted) => (error) => error.code === wanted;

test("j08: an interface opens at the host that the instance signed, wherever the token stood", async () => {
  const { token, signer } = await made(WEB);
  for (const redirectClientTo of [page(token).redirectClientTo, `${AT}/ucloud/hpc/authorize-app?token=${token}`, `https://evil.example/x#${token}`, `https://evil.example/?token=${token}`]) {
    const { origin, pathname, searchParams } = new URL(await openInterface(signer, { redirectClientTo }));
    assert.deepEqual([origin, pathname, searchParams.get("token")], [AT, "/ucloud/hpc/authorize-app", token]);
    assert.ok(searchParams.get("intent").length > 0);
  }
});

test("j08: a desktop opens at the provider's own host", async () => {
  const { token, signer } = await made(VNC);
  for (const origin of ["wss://hpc.example.org", "wss://evil.example"]) {
    const { protocol, host, pathname, searchParams } = new URL(await openDesktop(signer, desktop(token, origin)));
    assert.deepEqual([protocol, host, pathname, searchParams.get("token")], ["wss:", "hpc.example.org", "/ucloud/hpc/vnc", token]);
  }
});

test("j08: a token of another instance, call, provider or kind is not signed", async () => {
  const good = await made(WEB);
  const other = await made(WEB);
  await assert.rejects(openInterface(good.signer, page(other.token)), code("tampered"));
  for (const one of [
    await made(WEB, { call: "files.createDownload" }), await made(WEB, { aud: "https://other.example.org" }), await made(VNC), await made(undefined),
    await made({ ...VNC, origin: AT }), await made({ ...WEB, origin: ORIGIN }), await made({ ...WEB, origin: `${AT}/path` }), await made({ ...WEB, origin: "http://app-5-0.apps.example.org" }),
    await made({ ...WEB, origin: "javascript:alert(1)" }), await made({ ...WEB, origin: 7 }), await made({ ...WEB, origin: "https://APP.example.org" }),
  ]) await assert.rejects(openInterface(one.signer, page(one.token)), code("tampered"), one.token);
  for (const one of [await made(WEB), await made({ ...VNC, origin: AT })]) await assert.rejects(openDesktop(one.signer, desktop(one.token)), code("tampered"));
  assert.equal(good.signed.length, 0);
});

test("j08: without a token, or without a pinned key, nothing is signed", async () => {
  const { token, signer, signed } = await made(WEB);
  for (const redirectClientTo of [undefined, "", ORIGIN, `${ORIGIN}/#x`, `${ORIGIN}/?token=a.b`]) {
    await assert.rejects(openInterface(signer, { redirectClientTo }), code("elsewhere"), String(redirectClientTo));
  }
  await assert.rejects(openInterface({ ...signer, instanceKey: async () => null }, page(token)), code("elsewhere"));
  await assert.rejects(openInterface({ ...signer, instanceKey: undefined }, page(token)), code("elsewhere"));
  assert.equal(signed.length, 0);
});
