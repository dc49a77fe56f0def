// An instance that its user has replaced by another program. It forwards all requests to the real
// one, except that it answers a download with any bytes. It listens at the instance's socket as the
// account `ucloud`, like a program that took the real one's descriptor. So it needs root, and
// separate accounts.

import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, readlinkSync, renameSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";

/** The server's directory for the sockets of instances. */
const SOCKETS = "/var/lib/countersign/instances";

/** Timeout of the gateway's restart, in milliseconds. */
const PATIENCE_MS = 20_000;

export class HostileInstance {
  /** What a download is answered with: every byte of it. @type {Buffer | string | null} */
  answer = null;
  #server;

  /**
   * Replaces the running instance of that account.
   * @param {import("./test-server.js").TestServer} testServer
   * @param {string} account
   */
  static async inPlaceOf(testServer, account) {
    const hostile = new HostileInstance();
    const uid = idOf(account);
    const name = readdirSync(SOCKETS).filter((name) => name.startsWith(`${uid}-`) && name.endsWith(".sock")).sort().at(-1);
    const [path, real] = [join(SOCKETS, name), join(SOCKETS, `${name}.real`)];
    renameSync(path, real);
    const service = idOf("ucloud");
    // Each end asks the kernel for the other's account at connection time.
    hostile.#server = net.createServer((client) => as(service, () => hostile.#serve(client, net.connect(real))));
    as(service, () => hostile.#server.listen(path));
    // Connections to the real one that the gateway keeps open end with it. The server starts
    // another gateway.
    process.kill(gateway(), "SIGKILL");
    await untilItServes(testServer);
    return hostile;
  }

  #serve(client, real) {
    let isHostile = false;
    client.on("data", (bytes) => {
      if (this.answer !== null && /^GET \/ucloud\/\w+\/download /.test(bytes.toString("latin1"))) {
        isHostile = true;
        client.end(this.answer);
        real.destroy();
      } else if (!isHostile) {
        real.write(bytes);
      }
    });
    real.on("data", (bytes) => isHostile || client.write(bytes));
    for (const [socket, other] of [[client, real], [real, client]]) {
      socket.on("error", () => other.destroy());
      socket.on("end", () => isHostile || other.end());
      socket.on("close", () => isHostile || other.destroy());
    }
  }

  end() {
    this.#server.close();
  }
}

/**
 * An answer of HTTP/1.1: a status line, headers and a body.
 * @param {string} status
 * @param {string[]} headers
 * @param {string | Buffer} body
 */
export function answer(status, headers, body) {
  const content = Buffer.from(body);
  const head = [`HTTP/1.1 ${status}`, ...headers, `content-length: ${content.length}`, "", ""].join("\r\n");
  return Buffer.concat([Buffer.from(head, "latin1"), content]);
}

function idOf(account) {
  return Number(execFileSync("id", ["-u", account], { encoding: "utf8" }));
}

/**
 * Runs a function as that account.
 * @template T
 * @param {number} uid
 * @param {() => T} act
 * @returns {T}
 */
function as(uid, act) {
  process.seteuid(uid);
  try {
    return act();
  } finally {
    process.seteuid(0);
  }
}

/** The process id of this installation's gateway. Others may run in other namespaces. */
function gateway() {
  const ours = readlinkSync("/proc/self/ns/pid");
  const isGateway = (pid) => {
    try {
      const [program, mode] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return /(^|\/)countersign$/.test(program) && mode === "gateway" && readlinkSync(`/proc/${pid}/ns/pid`) === ours;
    } catch {
      return false; // it has ended meanwhile
    }
  };
  const found = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && isGateway(name));
  if (found.length !== 1) throw new Error(`not one gateway: ${found}`);
  return Number(found[0]);
}

async function untilItServes(testServer) {
  const deadline = Date.now() + PATIENCE_MS;
  const { port, hostname } = new URL(testServer.provider);
  const connects = () => new Promise((resolve) => {
    const socket = net.connect(Number(port), hostname, () => resolve(socket.destroy() !== null));
    socket.on("error", () => resolve(false));
  });
  while (!(await connects())) if (Date.now() > deadline) throw new Error("the gateway does not come back");
}
