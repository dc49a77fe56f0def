// Jobs, as UCloud's page shows them. Opening an application asks for a provider's own parameters;
// opening a job follows its log and asks for its web interface, before anything is clicked.

import { bulk, callApi, errorText } from "./api.js";
import { atCore, connect } from "./ws.js";

/** Pause before a lost log is followed once more, in milliseconds. */
const PAUSE_MS = 500;

/** What the page knows of an application; it sends all of it. */
const APPLICATION = {
  name: "hello-native", version: "1.0", title: "Hello", authors: ["UCloud"], description: "Says hello.", public: true, flavorName: null,
};

const at = (id) => document.getElementById(id);
const post = (path, payload) => callApi({ method: "POST", path, payload });

/** Opens the page of an application. */
export async function openApplication() {
  const { name, version } = APPLICATION;
  const { parametersByProvider } = await post("jobs/requestDynamicParameters", { application: { name, version } });
  at("parameters").textContent = `Parameters of providers: ${Object.keys(parametersByProvider).join(", ")}`;
}

/** Starts a job on this product, with the folder that is open. */
export async function startJob(product, folder, notify) {
  const job = {
    application: APPLICATION, product, name: " my job ", replicas: 1, hostname: "", allowDuplicateJob: false, sshEnabled: false,
    parameters: { word: { type: "text", value: "there" } },
    resources: folder === null ? [] : [{ type: "file", path: folder, readOnly: false }],
    timeAllocation: { hours: 1, minutes: 0, seconds: 0 },
  };
  try {
    await post("jobs", bulk(job));
  } catch (error) {
    notify(errorText(error));
  }
  await showJobs(notify);
}

/** Lists the jobs. */
export async function showJobs(notify) {
  const { items } = await callApi({ method: "GET", path: "jobs/browse?itemsPerPage=250&includeProduct=true" });
  at("job-list").replaceChildren(...items.map(({ id, specification }) => {
    const row = document.createElement("li");
    row.append(button(`Open job ${id}`, () => openJob(id)), ` ${specification.name ?? ""} `, button(`Stop job ${id}`, async () => {
      await post("jobs/terminate", bulk({ id })).catch((error) => notify(errorText(error)));
    }));
    return row;
  }));
}

async function openJob(id) {
  at("log").textContent = "";
  await follow(id, true);
  // No handler shows a refusal here.
  const sessions = await post("jobs/interactiveSession", bulk({ sessionType: "WEB", id, rank: 0 })).catch(() => null);
  const link = sessions?.responses[0]?.session.redirectClientTo;
  at("interface").hidden = link === undefined;
  if (link !== undefined) at("interface").href = link;
}

async function follow(id, mayRepeat) {
  await connect(atCore("/api/jobs"), {
    init: (connection) => connection.call({ call: "jobs.follow", payload: { id } }, ({ payload }) => at("log").append(payload.stdout ?? "")),
    onClose: () => {
      if (mayRepeat) setTimeout(() => follow(id, false), PAUSE_MS);
      else at("log").append("[The log has ended.]\n");
    },
  });
}

function button(text, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  made.addEventListener("click", act);
  return made;
}
