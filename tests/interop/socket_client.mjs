// A WebSocket client by npm's `ws`: opens each socket of the job, pings, says what it is to say and writes down what it hears.

import WebSocket from "ws";
import { run } from "./item.mjs";

function use({ url, headers, messages }) {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, { headers });
    const heard = [];
    let pong = false;
    let left = [...messages];
    const next = () => (left.length > 0 ? socket.send(left.shift()) : socket.close(1000));
    socket.on("unexpected-response", (_request, answer) => {
      resolve({ refused: answer.statusCode });
      socket.terminate();
    });
    socket.on("error", () => {}); // its close says the rest
    socket.on("open", () => socket.ping("there?"));
    socket.on("pong", (data) => {
      pong = data.toString() === "there?";
      next();
    });
    socket.on("message", (data, isBinary) => {
      heard.push(isBinary ? "binary" : data.toString());
      next();
    });
    socket.on("close", (code) => resolve({ heard, pong, code }));
  });
}

await run(async ({ sockets }) => {
  const used = [];
  for (const socket of sockets) used.push(await use(socket));
  return used;
});
