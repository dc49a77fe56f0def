// noVNC's demand on its channel (version 1.5.0, lib/websock.js): these are properties of the object
// itself or of its direct prototype. A class that extends WebSocket does not pass.

const DEMANDED = ["send", "close", "binaryType", "onerror", "onmessage", "onopen", "protocol", "readyState"];

/** The properties that noVNC would miss on a WebSocket of this page. */
export function missingOnWebSocket() {
  // Core's stream of tasks, which says nothing to a page that says nothing.
  const channel = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/api/tasks`);
  channel.onopen = () => channel.close();
  const has = Object.getOwnPropertyNames(channel).concat(Object.getOwnPropertyNames(Object.getPrototypeOf(channel)));
  return DEMANDED.filter((name) => !has.includes(name));
}
