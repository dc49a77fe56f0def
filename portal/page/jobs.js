// Jobs on UCloud's page: which application, with what, and those that were started.

import { jobsOf } from "/page/core.js";

const at = (id) => document.getElementById(id);

/** What each application takes: the name of its parameter, its type, and what stands there at first. */
const TAKES = {
  "hello-native": ["word", "text", "world"],
  count: ["numbers", "integer", "30"],
  "own-script": ["workflow", "workflow", "echo \"I run on $(hostname)\"\nsleep 20\n"],
};

/** Fills the list of applications. @param {{name: string, version: string, title: string}[]} applications */
export function chooseApplication(applications) {
  at("application").append(...applications.map(({ name, version, title }) => new Option(`${title} (${name} ${version})`, `${name} ${version}`)));
  const show = () => {
    const [name] = at("application").value.split(" ");
    const [parameter, , value] = TAKES[name] ?? ["", "text", ""];
    at("job-value-name").textContent = `${parameter}: `;
    at("job-value").value = value;
  };
  at("application").addEventListener("change", show);
  show();
}

/** The specification of the job that the page shows. @param {string} provider */
export function specificationOf(provider) {
  const application = at("application").value;
  const [name, version] = application.split(" ");
  const [parameter, type] = TAKES[name] ?? ["word", "text"];
  const text = at("job-value").value;
  const value = {
    text: () => ({ type, value: text }),
    integer: () => ({ type, value: Number.parseInt(text, 10) }),
    workflow: () => ({ type, specification: { applicationName: name, language: "JINJA2", job: text } }),
  }[type]();
  const specification = {
    application: { name, version }, product: { id: "small", category: "small", provider }, name: "From the demo", replicas: 1,
    parameters: { [parameter]: value }, timeAllocation: { hours: 0, minutes: 10, seconds: 0 },
  };
  return { application, specification };
}

/** Lists a user's jobs. @param {string} username @param {(id: string) => void} end */
export async function listJobs(username, end) {
  const jobs = await jobsOf(username).catch(() => []);
  at("job-list").replaceChildren(...jobs.map(({ id, application }) => {
    const row = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: `End job ${id}` });
    button.addEventListener("click", () => end(id));
    row.append(`Job ${id}: ${application?.name ?? "?"} ${application?.version ?? ""} `, button);
    return row;
  }));
}
