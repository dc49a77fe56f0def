// Runs at the provider's connection page before any script of that page. Takes the ticket out of
// the address and hands it to the extension, whose own page makes the key: the provider's page gets
// neither. Does nothing if the address has no ticket.

(() => {
  "use strict";
  const { runtime } = /** @type {any} */ (globalThis).browser ?? /** @type {any} */ (globalThis).chrome;
  const ticket = location.hash.slice(1);
  if (window !== window.top || !/^[A-Za-z0-9_-]{43}$/.test(ticket)) return;
  window.stop();
  history.replaceState(null, "", location.pathname);
  runtime.sendMessage({ type: "ticket", ticket }).catch(() => {});
})();
