// Uploads from the browser to the provider: one file in pieces or over a WebSocket (version 1), a
// folder over a WebSocket (version 2). The token is where the provider has put it.

import { username } from "./api.js";

/** Sizes in bytes. */
const PIECE = 16 * 1000 * 1000;
const BUFFERED_MAX = 64 * 1024 * 1024;

/** Interval of the checks of a socket, in milliseconds. */
const LOOK_MS = 50;

const pause = () => new Promise((resolve) => setTimeout(resolve, LOOK_MS));
const socketAddress = (endpoint) => endpoint.replace("http://", "ws://").replace("https://", "wss://");

/** The user's name as downloads and uploads name it: base64, which nothing escapes. */
export const usernameHint = () => btoa(String.fromCharCode(...new TextEncoder().encode(username())));

/** Uploads a file as the provider chose. */
export function uploadFile({ endpoint, protocol, token }, file, onProgress) {
  return protocol === "CHUNKED" ? inPieces(endpoint, token, file, onProgress) : overSocket(endpoint, file, onProgress);
}

async function inPieces(endpoint, token, file, onProgress) {
  let offset = 0;
  do {
    const bytes = await file.slice(offset, offset + PIECE).arrayBuffer();
    const request = new XMLHttpRequest();
    request.open("POST", endpoint);
    const headers = {
      "Chunked-Upload-Token": token, "Chunked-Upload-Offset": String(offset),
      "Chunked-Upload-Total-Size": String(file.size), "UCloud-Username": usernameHint(),
    };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.responseType = "text";
    await new Promise((resolve, reject) => {
      request.upload.onprogress = ({ loaded }) => onProgress(offset + loaded);
      request.onreadystatechange = () => {
        // A failure of the network has status 0, and hangs.
        if (request.status === 0 || request.readyState !== XMLHttpRequest.DONE) return;
        if (request.status >= 200 && request.status < 300) resolve();
        else reject({ request, response: JSON.parse(request.responseText || "{}") });
      };
      request.send(bytes);
    });
    offset += bytes.byteLength;
  } while (offset < file.size);
}

function overSocket(endpoint, file, onProgress) {
  const socket = new WebSocket(socketAddress(endpoint));
  return new Promise((resolve, reject) => {
    socket.onerror = () => reject({ response: { why: "The upload failed" } });
    socket.onmessage = ({ data }) => {
      onProgress(Number(data));
      if (Number(data) !== file.size) return;
      socket.close();
      resolve();
    };
    socket.onopen = async () => {
      socket.send(`0 ${file.size}`);
      for (let offset = 0; offset < file.size || offset === 0; offset += PIECE) {
        while (socket.bufferedAmount > BUFFERED_MAX) await pause();
        socket.send(await file.slice(offset, offset + PIECE).arrayBuffer());
      }
    };
  });
}

const OP = { OK: 0, CHUNK: 2, SKIP: 3, LISTING: 4, COMPLETED: 5, CLOSE: 6 };

/** Uploads the files of a folder over one socket. */
export async function uploadFolder({ endpoint }, files, onProgress) {
  const socket = new WebSocket(socketAddress(endpoint));
  socket.binaryType = "arraybuffer";
  const wanted = [];
  let done = 0;
  socket.addEventListener("message", ({ data }) => {
    const view = new DataView(data);
    for (let at = 0; at + 5 <= view.byteLength; at += 5) {
      const [op, number] = [view.getUint8(at), view.getInt32(at + 1)];
      if (op === OP.OK) wanted.push(number);
      if (op === OP.COMPLETED) done = number;
    }
    onProgress(done);
  });
  let closed = null;
  socket.addEventListener("close", ({ reason }) => (closed = reason || "The connection was closed"));
  while (socket.readyState !== WebSocket.OPEN) {
    if (socket.readyState === WebSocket.CLOSED) throw { response: { why: "The upload failed" } };
    await pause();
  }
  socket.send(new Uint8Array([OP.LISTING, ...files.flatMap((file, id) => [...entry(id, file)])]));
  while (done < files.length) {
    if (closed !== null) throw { response: { why: closed } };
    const id = wanted.shift();
    if (id === undefined) {
      await pause();
      continue;
    }
    let offset = 0;
    do {
      while (socket.bufferedAmount > BUFFERED_MAX) await pause();
      const bytes = new Uint8Array(await files[id].slice(offset, offset + PIECE).arrayBuffer());
      const frame = new Uint8Array(5 + bytes.length);
      new DataView(frame.buffer).setUint8(0, OP.CHUNK);
      new DataView(frame.buffer).setInt32(1, id);
      frame.set(bytes, 5);
      socket.send(frame);
      offset += bytes.length;
    } while (offset < files[id].size);
  }
  socket.send(new Uint8Array([OP.CLOSE]));
  socket.close();
}

function entry(id, file) {
  const path = new TextEncoder().encode(file.webkitRelativePath.split("/").slice(1).join("/") || file.name);
  const bytes = new Uint8Array(24 + path.length);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, id);
  view.setBigInt64(4, BigInt(file.size));
  view.setBigInt64(12, BigInt(file.lastModified));
  view.setUint32(20, path.length);
  bytes.set(path, 24);
  return bytes;
}
