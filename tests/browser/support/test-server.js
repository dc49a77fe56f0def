// A provider with its Core and its pages: `countersign-portal test-server`, and the commands that it
// accepts.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Timeout of a command, in milliseconds. */
const PATIENCE_MS = 30_000;

/** Timeout of the start with Slurm, which makes a database first. */
const SLURM_PATIENCE_MS = 120_000;

/** The small Slurm. */
const SLURM = fileURLToPath(new URL("../../support/slurm", import.meta.url));

/** The uid of an account of tests/support/installation.sh that is no user's. */
const MALLORY = 1103;

export class TestServer {
  #child;
  #answers = [];
  #waiting = [];
  #ended = null;

  /**
   * Starts a test server.
   * @param {{stepUp?: string[], provider?: string, accounts?: string, slurm?: boolean}} [options] `slurm`:
   *   runs jobs
   */
  static async start({ stepUp = [], provider = "hpc", accounts = process.env.COUNTERSIGN_ACCOUNTS, slurm = false } = {}) {
    const { COUNTERSIGN_PORTAL: portal, COUNTERSIGN_BIN: bin } = process.env;
    if (!portal || !bin || !accounts) throw new Error("start these tests with tests/browser/run");
    const more = [...stepUp.flatMap((call) => ["--step-up", call]), ...(slurm ? ["--slurm", SLURM] : [])];
    // Of an installation there is one. Another server beside it runs in one account, and not as root.
    const within = accounts === "shared" && process.getuid() === 0 ? { uid: MALLORY, gid: MALLORY, env: { ...process.env, HOME: "/tmp" } } : {};
    const testServer = new TestServer(spawn(portal, ["test-server", "--bin", bin, "--accounts", accounts, "--provider", provider, ...more], within));
    testServer.id = provider;
    Object.assign(testServer, await testServer.#next(slurm ? SLURM_PATIENCE_MS : PATIENCE_MS));
    return testServer;
  }

  constructor(child) {
    this.#child = child;
    let complaints = "";
    child.stderr.on("data", (bytes) => (complaints += bytes));
    child.on("exit", (status) => {
      this.#ended = new Error(`the test server ended with status ${status}: ${complaints}`);
      for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      const answer = JSON.parse(line);
      const waiting = this.#waiting.shift();
      if (waiting) waiting.resolve(answer);
      else this.#answers.push(answer);
    });
  }

  /** Runs a command that must succeed. */
  async must(command) {
    const answer = await this.ask(command);
    if (answer.ok !== true) throw new Error(`${JSON.stringify(command)}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Runs a command: see portal/src/test_server/control_command.rs. */
  ask(command) {
    const answer = this.#next();
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    return answer;
  }

  /**
   * All decisions of the gateway about this call so far, without the results of permitted requests.
   */
  async decisions(call) {
    const { decisions } = await this.must({ do: "decisions" });
    return decisions.filter(({ call: of, decision }) => of === call && decision !== "answered");
  }

  /** The user with this account. */
  user(account) {
    return this.users.find((user) => user.account === account);
  }

  /** The address of a page of the provider: `connect`, `keys`, `signer`. */
  page(name) {
    return `${this.provider}/ucloud/${this.id}/${name}`;
  }

  async end() {
    if (this.#ended) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.end();
    await gone;
  }

  #next(patience = PATIENCE_MS) {
    if (this.#answers.length > 0) return Promise.resolve(this.#answers.shift());
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no answer from the testServer in ${patience} ms`)), patience);
      const settle = (how) => (value) => {
        clearTimeout(late);
        how(value);
      };
      this.#waiting.push({ resolve: settle(resolve), reject: settle(reject) });
    });
  }
}
