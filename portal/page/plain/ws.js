// UCloud's messages over WebSockets. The handlers are properties, set some microtasks after the
// constructor has returned.

import { project, receiveToken } from "./api.js";

/**
 * Opens a WebSocket, and returns once its handlers are set.
 * @param {string} address
 * @param {{init: (connection: Connection) => unknown, onClose?: () => unknown, includeAuthentication?: boolean}} handlers
 */
export async function connect(address, { init, onClose = () => {}, includeAuthentication = true }) {
  const token = includeAuthentication ? await receiveToken() : undefined;
  const socket = new WebSocket(address);
  await Promise.resolve();
  const connection = new Connection(socket, token);
  socket.onopen = () => init(connection);
  socket.onclose = () => onClose();
  socket.onmessage = ({ data }) => connection.receive(data);
  return connection;
}

/** The address of a WebSocket to Core. */
export const atCore = (path) => `${location.protocol.replace("http", "ws")}//${location.host}${path}`;

export class Connection {
  #bearer;
  #next = 0;
  #handlers = new Map();

  constructor(socket, bearer) {
    this.socket = socket;
    this.#bearer = bearer;
  }

  /** Sends a call; the handler gets every message about it. */
  call({ call, payload, projectOverride }, handler = () => {}) {
    const streamId = String(this.#next++);
    this.#handlers.set(streamId, handler);
    this.socket.send(JSON.stringify({ call, streamId, payload, project: projectOverride ?? project(), bearer: this.#bearer }));
    return streamId;
  }

  receive(data) {
    if (typeof data !== "string") return;
    const message = JSON.parse(data);
    if (message.type === undefined || message.streamId === undefined) return;
    this.#handlers.get(message.streamId)?.(message);
  }
}
