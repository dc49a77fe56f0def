// Jobs, as UCloud's page shows them. Opening an application asks for a provider's own parameters;
// opening a job follows it and, if it has a web interface and runs, asks for that, before anything is
// clicked.

import { bulk, callApi, errorText } from "./api.js";
import { openShell } from "./shell.js";
import { atCore, connect } from "./ws.js";

/** Pause before a lost log is followed once more, in milliseconds. */
const PAUSE_MS = 500;

/** A lost shell is opened again once. */
const SHELL_ATTEMPTS_MAX = 1;

/** By how much a job is extended, as the page's dialogue offers it. */
const MORE = { hours: 1, minutes: 0, seconds: 0 };

/** The applications of this stand-in: the name of a parameter, its type, and what stands there at first. */
const APPLICATIONS = [
  { name: "hello-native", version: "1.0", title: "Hello", takes: ["word", "text", "there"] },
  { name: "count", version: "2.1", title: "Count", takes: ["numbers", "integer", "300"] },
  { name: "board", version: "1.0", title: "Board", takes: ["title", "text", "A board of mine"] },
  { name: "own-script", version: "1", title: "Own script", takes: ["workflow", "workflow", "echo \"on $(hostname)\"\n"] },
];

const at = (id) => document.getElementById(id);
const post = (path, payload) => callApi({ method: "POST", path, payload });
const chosen = () => APPLICATIONS.find(({ name }) => name === at("application").value);

at("application").append(...APPLICATIONS.map(({ name, title }) => new Option(title, name)));
at("application").addEventListener("change", () => (at("job-value").value = chosen().takes[2]));
at("job-value").value = chosen().takes[2];

/** What the page knows of an application; it sends all of it. */
function metadata({ name, version, title }) {
  return { name, version, title, authors: ["UCloud"], description: "An application.", public: true, flavorName: null };
}

/** Opens the page of an application. */
export async function openApplication() {
  const { name, version } = chosen();
  const { parametersByProvider } = await post("jobs/requestDynamicParameters", { application: { name, version } });
  at("parameters").textContent = `Parameters of providers: ${Object.keys(parametersByProvider).join(", ")}`;
}

/** A job of the chosen application on this product, with the folder that is open. */
export function newJob(product, folder) {
  const { name, takes: [parameter, type] } = chosen();
  const text = at("job-value").value;
  const value = {
    text: { type, value: text }, integer: { type, value: Number(text) },
    workflow: { type, specification: { applicationName: name, language: "JINJA2", job: text } },
  }[type];
  return {
    application: metadata(chosen()), product, name: " my job ", replicas: 1, hostname: "", allowDuplicateJob: false, sshEnabled: false,
    parameters: { [parameter]: value }, resources: folder === null ? [] : [{ type: "file", path: folder, readOnly: false }],
    timeAllocation: { hours: 1, minutes: 0, seconds: 0 },
  };
}

/** Starts jobs, in one request. */
export async function startJobs(jobs, notify) {
  await tried("jobs", bulk(...jobs), notify);
  await showJobs(notify);
}

async function tried(path, payload, notify) {
  return post(path, payload).catch((error) => void notify(errorText(error)));
}

/** Lists the jobs. */
export async function showJobs(notify) {
  const { items } = await callApi({ method: "GET", path: "jobs/browse?itemsPerPage=250&includeProduct=true" });
  at("job-list").replaceChildren(...items.map(({ id, specification, status }) => {
    const row = document.createElement("li");
    row.append(button(`Open job ${id}`, () => openJob(id, notify)), ` ${specification.name ?? ""} (${status.state}) `,
      button(`Stop job ${id}`, () => tried("jobs/terminate", bulk({ id }), notify)));
    return row;
  }));
}

/** The job that is open, and whether its interface was asked for. */
let opened = null;
let isAsked = false;

async function openJob(id, notify) {
  opened = id;
  isAsked = false;
  at("job").hidden = false;
  at("job-title").textContent = `Job ${id}`;
  for (const name of ["log", "updates", "job-shell", "job-state"]) at(name).textContent = "";
  at("interface").hidden = true;
  at("extend-job").onclick = () => tried("jobs/extend", bulk({ jobId: id, requestedTime: MORE }), notify);
  at("open-job-shell").onclick = () => openShell({
    ask: () => post("jobs/interactiveSession", bulk({ sessionType: "SHELL", id, rank: 0 })),
    screen: at("job-shell"), input: at("job-typed"), project: () => undefined, attemptsMax: SHELL_ATTEMPTS_MAX,
  });
  await follow(id, true);
}

/** Follows a job; once more if the connection is lost. */
async function follow(id, mayRepeat) {
  await connect(atCore("/api/jobs"), {
    init: (connection) => connection.call({ call: "jobs.follow", payload: { id } }, ({ payload }) => {
      if (opened === id) hear(id, payload);
      else connection.socket.close();
    }),
    onClose: () => {
      if (opened !== id) return;
      if (mayRepeat) setTimeout(() => follow(id, false), PAUSE_MS);
      else at("log").append("[The log has ended.]\n");
    },
  });
}

function hear(id, { initialJob, newStatus, updates, log = [] }) {
  for (const { stdout, stderr } of log) at("log").append(stdout ?? "", stderr ?? "");
  const status = initialJob?.status ?? newStatus;
  if (status === undefined) return;
  // The whole log comes again.
  if (initialJob !== undefined) at("log").textContent = "";
  at("job-state").textContent = status.state;
  at("updates").replaceChildren(...(initialJob?.updates ?? updates).map((update) => Object.assign(document.createElement("li"), { textContent: update.status })));
  if (status.state === "RUNNING" && status.resolvedApplication?.invocation.applicationType === "WEB" && !isAsked) {
    isAsked = true;
    void askForInterface(id);
  }
}

async function askForInterface(id) {
  // No handler shows a refusal here.
  const sessions = await post("jobs/interactiveSession", bulk({ sessionType: "WEB", id, rank: 0 })).catch(() => null);
  const link = sessions?.responses[0]?.session.redirectClientTo;
  at("interface").hidden = link === undefined;
  if (link !== undefined) at("interface").href = link;
}

function button(text, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  made.addEventListener("click", act);
  return made;
}
