// Runs at the provider's page for interfaces of jobs, before any script of that page. Takes the token
// out of the address and hands it to the extension, which signs its use and names the address to go
// on to. Does nothing if the address has no token.

(() => {
  "use strict";
  const { runtime } = /** @type {any} */ (globalThis).browser ?? /** @type {any} */ (globalThis).chrome;
  const token = location.hash.slice(1);
  if (window !== window.top || token.length > 8_192 || !/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token)) return;
  history.replaceState(null, "", location.pathname);

  /** @param {string} why */
  function explain(why) {
    const place = document.getElementById("why");
    if (place !== null) place.textContent = why;
    else document.addEventListener("DOMContentLoaded", () => explain(why), { once: true });
  }

  /** Asks again if the browser stopped the worker. */
  async function ask() {
    for (let turn = 0; turn < 3; turn += 1) {
      try {
        return await runtime.sendMessage({ type: "interface", token });
      } catch {
        if (runtime.id === undefined) return {};
      }
    }
    return {};
  }

  void ask().then(({ address, why }) => {
    if (typeof address === "string") location.replace(address);
    else if (typeof why === "string") explain(why);
  });
})();
