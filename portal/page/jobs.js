// Jobs on UCloud's page: which application, with what; and those that were started, with their state, their log, and what
// their user can do with them.

import { jobsOf } from "/page/core.js";

const at = (id) => document.getElementById(id);

/** How often UCloud is asked for the state of jobs, in milliseconds: as often as the demo's centre tells it. */
const PAUSE_MS = 1000;

/** The time of a job, and by how much it is extended, in minutes. */
const MINUTES = 10;

/** What each application takes: the name of its parameter, its type, and what stands there at first. */
const TAKES = {
  "hello-native": ["word", "text", "world"],
  count: ["numbers", "integer", "300"],
  board: ["title", "text", "A board of mine"],
  "own-script": ["workflow", "workflow", "echo \"I run on $(hostname)\"\nsleep 120\n"],
};

/** What each state is called. */
const STATES = { IN_QUEUE: "waits", RUNNING: "runs", SUSPENDED: "paused", SUCCESS: "has ended", FAILURE: "has failed", EXPIRED: "ran out of time" };

/** The states of jobs that have not ended. */
const ALIVE = ["IN_QUEUE", "RUNNING", "SUSPENDED"];

/** The type of applications with an interface that a browser opens. */
const WEB = "WEB";

/** Fills the list of applications. @param {{name: string, version: string, title: string}[]} applications */
export function chooseApplication(applications) {
  at("application").append(...applications.map(({ name, version, title }) => new Option(`${title} (${name} ${version})`, `${name} ${version}`)));
  const show = () => {
    const takes = TAKES[at("application").value.split(" ")[0]];
    at("job-value-name").hidden = at("job-value").hidden = takes === undefined;
    at("job-value-name").textContent = `${takes?.[0]}: `;
    at("job-value").value = takes?.[2] ?? "";
  };
  at("application").addEventListener("change", show);
  show();
}

/** The specification of the job that the page shows. @param {string} provider */
export function specificationOf(provider) {
  const application = at("application").value;
  const [name, version] = application.split(" ");
  const text = at("job-value").value;
  const valueOf = {
    text: () => ({ type: "text", value: text }),
    integer: () => ({ type: "integer", value: Number.parseInt(text, 10) }),
    workflow: () => ({ type: "workflow", specification: { applicationName: name, language: "JINJA2", job: text } }),
  };
  const [parameter, type] = TAKES[name] ?? [];
  const specification = {
    application: { name, version }, product: { id: "small", category: "small", provider }, name: "From the demo", replicas: 1,
    parameters: parameter === undefined ? {} : { [parameter]: valueOf[type]() }, timeAllocation: { hours: 0, minutes: MINUTES, seconds: 0 },
  };
  return { application, specification };
}

/** A call that gives a job more time. @param {string} id */
export const extension = (id) => ({ jobId: id, requestedTime: { hours: 0, minutes: MINUTES, seconds: 0 } });

/** A call for a session in a job: `SHELL` or `WEB`. @param {string} id @param {string} sessionType */
export const sessionIn = (id, sessionType) => ({ id, rank: 0, sessionType, target: null });

/** @typedef {{follow(id: string): void, shell(id: string): void, open(id: string): void, extend(id: string): void, end(id: string): void}} JobActions */

let watching = 0;

/**
 * Shows a user's jobs until all have ended.
 * @param {string} username
 * @param {JobActions} does what buttons do
 */
export async function watchJobs(username, does) {
  const turn = (watching += 1);
  for (;;) {
    const jobs = await jobsOf(username).catch(() => []);
    if (turn !== watching) return;
    show(jobs, does);
    if (!jobs.some(({ state }) => ALIVE.includes(state))) return;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Shows nothing: another user is logged in. */
export function forgetJobs() {
  watching += 1;
  at("job-list").replaceChildren();
  closeLog();
}

/** A job keeps its place in the page, so that no button moves away beneath a finger. */
function show(jobs, does) {
  for (const job of jobs) {
    const id = `job-${job.id}`;
    let item = at(id);
    if (item === null) {
      item = made("li", { id });
      item.append(made("b", {}), made("span", { className: "hint" }), made("span", { className: "wishes" }));
      at("job-list").prepend(item);
    }
    update(item, job, does);
  }
}

function update(item, job, does) {
  const { id, application, state, type, updates, timeAllocation } = job;
  const [what, told, wishes] = item.children;
  what.textContent = `Job ${id}: ${application.name} ${application.version} ${STATES[state] ?? state}`;
  const minutes = timeAllocation.hours * 60 + timeAllocation.minutes;
  told.textContent = [`${minutes} minutes`, updates.at(-1)?.status].filter(Boolean).join(" · ");
  item.dataset.state = state;
  if (wishes.dataset.of === state) return;
  wishes.dataset.of = state;
  const isAlive = ALIVE.includes(state);
  const buttons = [
    ["Follow log", does.follow, true],
    ["Open shell", does.shell, state === "RUNNING"],
    ["Open interface", does.open, state === "RUNNING" && type === WEB],
    ["Extend", does.extend, isAlive],
    ["End", does.end, isAlive],
  ];
  wishes.replaceChildren(...buttons.filter(([, , isOffered]) => isOffered).map(([text, act]) => {
    const button = made("button", { type: "button", className: "quiet", textContent: text });
    button.setAttribute("aria-label", `${text}: job ${id}`);
    button.addEventListener("click", () => act(id));
    return button;
  }));
}

// --- The log ------------------------------------------------------------------------------------------------------

/** The socket on which UCloud sends the log that is shown. */
let line = null;

/**
 * Shows a job's log as it grows. The user has signed that before. UCloud forwards it from the centre, over the WebSocket of
 * its own page.
 * @param {string} username
 * @param {string} id
 */
export async function followLog(username, id) {
  closeLog();
  const answer = await fetch("/auth/login", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ username }),
  });
  const { accessToken } = await answer.json();
  at("log-title").textContent = `Log of job ${id}`;
  at("log-part").hidden = false;
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/jobs`);
  line = socket;
  socket.onopen = () => socket.send(JSON.stringify({ call: "jobs.follow", streamId: "0", payload: { id }, bearer: accessToken }));
  socket.onmessage = ({ data }) => {
    for (const { stdout, stderr } of JSON.parse(data).payload?.log ?? []) at("job-log").append(stdout ?? "", stderr ?? "");
    at("job-log").scrollTop = at("job-log").scrollHeight;
  };
  socket.onclose = () => {
    if (line === socket) at("job-log").append("[The log has ended.]\n");
  };
}

function closeLog() {
  const before = line;
  line = null;
  before?.close();
  at("job-log").textContent = "";
  at("log-part").hidden = true;
}
at("log-close").addEventListener("click", closeLog);

function made(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
