// S1: alice's instance is hostile. bob is connected, has his signing key in this browser, and opens
// alice's download link. The instance answers with content that browsers would run, show or follow.
// None of it may become active at the provider's origin, or it could sign with bob's key.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { HostileInstance, answer } from "./support/hostile.js";
import { TestServer } from "./support/test-server.js";
import { User } from "./support/user.js";

const isOwn = process.env.COUNTERSIGN_ACCOUNTS === "own";

let testServer;
let alice;
let bob;
let hostile;

before(async () => {
  if (!isOwn) return;
  testServer = await TestServer.start();
  [alice, bob] = [await User.at(testServer, "alice"), await User.at(testServer, "bob")];
  await (await alice.connect()).close();
  await (await bob.connect()).close();
  await alice.openFiles();
  await alice.file("notes.txt").waitFor();
  hostile = await HostileInstance.inPlaceOf(testServer, "alice");
});
after(async () => {
  hostile?.end();
  await alice?.leave();
  await bob?.leave();
  await testServer?.end();
});

/**
 * An attack that runs at the provider's origin, if it runs at all: renews bob's key with the
 * provider's own modules, which sign with it.
 */
const SCRIPT = `
  try { localStorage.setItem("owned", "1"); } catch {}
  (async () => {
    const html = await (await fetch("/ucloud/hpc/keys")).text();
    const js = /src="([^"]*\\/js\\/)keys\\.js"/.exec(html)[1];
    const [{ DirectChannel }, { Provider }, { Clock }, { openStorage }] = await Promise.all(
      ["direct", "provider", "clock", "storage"].map((name) => import(js + name + ".js")));
    const page = { provider: "hpc", origin: location.origin, base: "/ucloud/hpc" };
    const [clock, storage] = [new Clock(), await openStorage()];
    const [key] = await storage.keys();
    await new DirectChannel({ page, clock, provider: new Provider(page, clock) }).renew(key, storage);
  })();`;

const HTML = `<!doctype html><title>thesis</title><script type="module">${SCRIPT}</script>`;
const SVG = `<svg xmlns="http://www.w3.org/2000/svg"><script type="text/javascript"><![CDATA[${SCRIPT}]]></script></svg>`;
const XSLT = `<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="#s"?><!DOCTYPE d [<!ATTLIST xsl:stylesheet id ID #REQUIRED>]>
<d><xsl:stylesheet id="s" version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/">
<html xmlns="http://www.w3.org/1999/xhtml"><script><![CDATA[${SCRIPT}]]></script></html></xsl:template></xsl:stylesheet></d>`;
const XHTML = `<html xmlns="http://www.w3.org/1999/xhtml"><script><![CDATA[${SCRIPT}]]></script></html>`;
const MHTML = `MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="b"\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n${HTML}\r\n--b--`;
const PDF = "%PDF-1.4\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\ntrailer<</Root 1 0 R>>";
const MULTIPART = `--b\r\nContent-Type: text/html\r\n\r\n${HTML}\r\n--b\r\n`;
const FRAME = `<!doctype html><iframe src="data:text/html,<script>parent.postMessage(1,'*')</script>"></iframe><iframe srcdoc='${HTML.replaceAll("'", "&#39;")}'></iframe>`;

const html = (...more) => ["content-type: text/html; charset=utf-8", ...more];

/** The instance's answers to bob's click on alice's link. */
const VARIANTS = {
  "HTML with a script": answer("200 OK", html(), HTML),
  "HTML, shown inline under a name": answer("200 OK", html('content-disposition: inline; filename="a.html"'), HTML),
  "HTML with a policy of its own": answer("200 OK", html("content-security-policy: default-src * 'unsafe-inline'"), HTML),
  "HTML of no type": answer("200 OK", [], HTML),
  "HTML of an empty type": answer("200 OK", ["content-type:"], HTML),
  "HTML with two types": answer("200 OK", ["content-type: application/octet-stream", ...html()], HTML),
  "HTML as an error": answer("404 Not Found", html(), HTML),
  "HTML as our failure": answer("500 Internal Server Error", html(), HTML),
  "HTML that asks for a password": answer("401 Unauthorized", html('www-authenticate: Basic realm="hpc"'), HTML),
  "HTML of a gateway that asks for a password": answer("407 Proxy Authentication Required", html("proxy-authenticate: Basic"), HTML),
  "HTML as a part of a file": answer("206 Partial Content", html("content-range: bytes 0-9/10"), HTML),
  "HTML in UTF-7": answer("200 OK", ["content-type: text/html; charset=utf-7"], `+ADw-script type=+ACI-module+ACI-+AD4-${SCRIPT}+ADw-/script+AD4-`),
  "HTML in UTF-16": answer("200 OK", ["content-type: text/html; charset=utf-16le"], Buffer.from(`\ufeff${HTML}`, "utf16le")),
  "HTML, compressed": answer("200 OK", html("content-encoding: gzip"), gzipSync(HTML)),
  "HTML with frames of data: and srcdoc": answer("200 OK", html(), FRAME),
  "HTML after early hints": Buffer.concat([
    Buffer.from("HTTP/1.1 103 Early Hints\r\nlink: </ucloud/hpc/download>; rel=preload; as=script\r\n\r\n"),
    answer("200 OK", html(), HTML),
  ]),
  "HTML over HTTP/1.0, ended by closing": Buffer.from(`HTTP/1.0 200 OK\r\ncontent-type: text/html\r\n\r\n${HTML}`),
  "HTML alone, as in HTTP/0.9": Buffer.from(HTML),
  "SVG with a script": answer("200 OK", ["content-type: image/svg+xml"], SVG),
  "XML with a stylesheet of its own": answer("200 OK", ["content-type: application/xml"], XSLT),
  "XHTML with a script": answer("200 OK", ["content-type: application/xhtml+xml"], XHTML),
  MHTML: answer("200 OK", ["content-type: multipart/related; boundary=b"], MHTML),
  "a mail message": answer("200 OK", ["content-type: message/rfc822"], MHTML),
  "PDF with a script": answer("200 OK", ["content-type: application/pdf"], PDF),
  "a stream of documents": answer("200 OK", ["content-type: multipart/x-mixed-replace; boundary=b"], MULTIPART),
  "ranges that are documents": answer("206 Partial Content", ["content-type: multipart/byteranges; boundary=b"], MULTIPART),
  "a redirect to a script": answer("302 Found", ["location: javascript:alert(1)"], HTML),
  "a redirect to data:": answer("307 Temporary Redirect", [`location: data:text/html,${encodeURIComponent(HTML)}`], ""),
  "a redirect to another page": answer("303 See Other", ["location: https://evil.example/"], ""),
  "several choices": answer("300 Multiple Choices", html(), HTML),
  "a refresh": answer("200 OK", html("refresh: 0; url=data:text/html,x"), "x"),
  "a preloaded script": answer("200 OK", html("link: </ucloud/hpc/download?x>; rel=modulepreload"), "x"),
  "rules to render more pages": answer("200 OK", html('speculation-rules: "/ucloud/hpc/download"'), "x"),
  "cookies, and storage that is cleared": answer("200 OK", html("set-cookie: a=b; path=/", 'clear-site-data: "*"'), "x"),
  "a scope for a worker": answer("200 OK", ["content-type: text/javascript", "service-worker-allowed: /"], SCRIPT),
};

/** An unused address that alice has signed, and that she sends bob. */
async function linkOfAlices() {
  const seen = new Promise((resolve) => {
    alice.browser.context.route(/\/ucloud\/hpc\/download\?/, async (route) => {
      resolve(route.request().url());
      await route.abort();
    });
  });
  await alice.lookAtPortal();
  await alice.portal.locator("#result").evaluate((result) => result.replaceChildren());
  await alice.portal.getByRole("button", { name: "Download notes.txt", exact: true }).click();
  const link = await seen;
  await alice.browser.context.unroute(/\/ucloud\/hpc\/download\?/);
  return link;
}

let seen = 0;

/**
 * The effects of an attack: keys renewed since the last check, and the data of bob's browser at the
 * provider's origin.
 */
async function harm() {
  const all = (await testServer.decisions("keys.renew")).length;
  const renewals = all - seen;
  seen = all;
  const page = await bob.browser.tab(testServer.page("keys"));
  await page.locator("#keys .card").first().waitFor();
  const kept = await page.evaluate(async () => ({
    owned: localStorage.getItem("owned"),
    workers: (await navigator.serviceWorker.getRegistrations()).length,
    cookies: document.cookie,
    keys: (await indexedDB.databases()).length,
  }));
  await page.evaluate(() => localStorage.clear());
  await page.close();
  return { renewals, ...kept };
}

const NONE = { renewals: 0, owned: null, workers: 0, cookies: "", keys: 1 };

/** Runs a function in a tab of bob's at one of the provider's own pages. */
async function atProvider(act, argument) {
  const page = await bob.browser.tab(testServer.page("keys"));
  try {
    return await page.evaluate(act, argument);
  } finally {
    await page.close();
  }
}

for (const [name, bytes] of Object.entries(VARIANTS)) {
  test(`v63_s01 bob opens alice's link: ${name}`, { skip: !isOwn && "needs accounts of their own" }, async () => {
    hostile.answer = bytes;
    const link = await linkOfAlices();
    const tab = await bob.browser.context.newPage();
    const heard = new Promise((resolve) => tab.on("response", (response) => response.url() === link && resolve(response)));
    const downloading = tab.waitForEvent("download", { timeout: 1_500 }).then((download) => download.suggestedFilename(), () => null);
    await tab.goto(link).catch(() => null); // a download is no navigation
    const response = await heard;
    const file = await downloading;
    assert.deepEqual(await harm(), NONE);
    const headers = response.headers();
    assert.equal(headers["x-content-type-options"], "nosniff");
    if (response.status() === 502) {
      // The answer is not forwarded: bob sees a page of the gateway's.
      assert.match(headers["content-security-policy"], /^default-src 'none'; script-src 'self'; /);
      assert.match(await tab.title(), /^Not available at the moment/);
    } else {
      assert.equal(headers["content-security-policy"], "sandbox; default-src 'none'");
      assert.ok(["application/octet-stream", "application/json"].includes(headers["content-type"]), headers["content-type"]);
      assert.equal(file !== null, headers["content-type"] === "application/octet-stream", "a file is kept, JSON is not");
      if (file === null) assert.equal(await tab.title(), "");
    }
    await tab.close();
  });
}

test("v63_s01 a page of the provider's that loads alice's link gets no script, style or worker of it", { skip: !isOwn }, async () => {
  for (const [kind, type] of [["script", "text/javascript"], ["module", "text/javascript"], ["style", "text/css"], ["worker", "text/javascript"]]) {
    hostile.answer = answer("200 OK", [`content-type: ${type}`], type === "text/css" ? "* { color: red }" : SCRIPT);
    const outcome = await atProvider(async ({ kind, link }) => {
      if (kind === "module") return import(link).then(() => "loaded", () => "refused");
      if (kind === "worker") {
        try {
          const worker = new Worker(link);
          return await new Promise((resolve) => (worker.onerror = () => resolve("refused")));
        } catch {
          return "refused";
        }
      }
      const element = document.createElement(kind === "style" ? "link" : "script");
      if (kind === "style") Object.assign(element, { rel: "stylesheet", href: link });
      return new Promise((resolve) => {
        element.onload = () => resolve("loaded");
        element.onerror = () => resolve("refused");
        try {
          if (kind === "script") element.src = link;
          document.head.append(element);
        } catch {
          resolve("refused"); // the page's own policy takes no such address
        }
      });
    }, { kind, link: await linkOfAlices() });
    assert.equal(outcome, "refused", kind);
  }
  assert.deepEqual(await harm(), NONE);
});

test("v64_s01 no worker is registered from alice's link, nor from a script of the provider's own", { skip: !isOwn }, async () => {
  hostile.answer = answer("200 OK", ["content-type: text/javascript", "service-worker-allowed: /"], "onfetch = () => {}");
  for (const link of [await linkOfAlices(), null]) {
    const outcome = await atProvider(async (link) => {
      // A page's own policy requires Trusted Types; an attacker's script would run where it does
      // not.
      const address = link ?? document.querySelector("script[src]").src;
      const policy = () => navigator.serviceWorker.register(address, { scope: "/ucloud/hpc/" });
      return Promise.resolve().then(policy).then(() => "registered", (error) => error.name);
    }, link);
    assert.notEqual(outcome, "registered");
  }
  assert.deepEqual(await harm(), NONE);
});

test("v63_s01 a frame and a page elsewhere get alice's answer as a file, and nothing of it runs", { skip: !isOwn }, async () => {
  hostile.answer = answer("200 OK", html(), HTML);
  const link = await linkOfAlices();
  const address = `${testServer.portal}/evil`;
  // Otherwise Chromium itself would block requests from a page that no loop-back address has
  // served. In the field no address is loop-back.
  await bob.browser.context.grantPermissions(["local-network-access"], { origin: testServer.portal });
  await bob.browser.context.route(address, (route) =>
    route.fulfill({ contentType: "text/html", body: `<!doctype html><iframe src="${link.replaceAll("&", "&amp;")}"></iframe>` }));
  const page = await bob.browser.context.newPage();
  const downloading = page.waitForEvent("download");
  await page.goto(address);
  assert.match((await downloading).url(), /\/download\?/);
  assert.deepEqual(await harm(), NONE);
  await page.close();
});

test("v63_s01 an honest answer is still a download under its own name", { skip: !isOwn }, async () => {
  hostile.answer = null;
  const { name, content } = await alice.download("notes.txt");
  assert.equal(name, "notes.txt");
  assert.ok(content.length > 0);
});
