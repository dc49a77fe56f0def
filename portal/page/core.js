// What UCloud's page asks its Core, and what its Core may be made to do.

/** How Core behaves: what the switch is called, what it does, and why the centre does not mind. `jobs`: of jobs alone. */
export const BEHAVIOURS = [
  { id: "honest", name: "Is honest", does: "Passes your signed request on." },
  {
    id: "deposits",
    name: "Is honest, and drops signatures",
    does: "As UCloud does today: your browser leaves the signature at the centre by itself.",
  },
  {
    id: "replay",
    name: "Replays",
    does: "Sends your request a second time.",
    why: "A signature is good for one use, and the centre remembers it.",
  },
  {
    id: "path",
    name: "Changes the path",
    does: "Sends a path of its own with your signature.",
    why: "Your signature covers the path. It does not fit another one.",
  },
  {
    id: "item",
    name: "Adds an item",
    does: "Sends one file more than you chose.",
    why: "Your signature covers every item. One more is one that you did not sign.",
  },
  {
    id: "key",
    name: "Makes a key of its own",
    does: "Offers a key in your name, and signs with it. Connecting shows it too.",
    why: "Nobody approved that key at the centre, so what it signs is worth nothing.",
  },
  {
    id: "token",
    name: "Uses your tokens",
    does: "Redeems the token of your upload, download or terminal before you can.",
    why: "The token came through Core, and is worth nothing without your signature for its use.",
  },
  {
    id: "application",
    jobs: true,
    name: "Swaps the application",
    does: "When you start a job, it sends a script of its own under the application's name.",
    why: "The centre runs the application that its staff approved under that name, and no other.",
  },
  {
    id: "number",
    jobs: true,
    name: "Starts your job twice",
    does: "Sends your job a second time, under another number.",
    why: "A signature is good for one use, whatever number Core gives the job.",
  },
  {
    id: "job",
    jobs: true,
    name: "Ends another job",
    does: "When you end a job, it names another one.",
    why: "Your signature covers the job's number.",
  },
  {
    id: "disguise",
    name: "Lies to your signer",
    does: "When you make a folder, its page asks your signer for a deletion.",
    why: "The signer says in its own window what it would sign, and UCloud's page cannot write there.",
  },
];

/** Who and what is here: provider, desk, users. */
export async function site() {
  return answerOf(await fetch("/site.json"));
}

/** The jobs that UCloud knows of a user. */
export async function jobsOf(username) {
  return answerOf(await fetch(`/jobs.json?${new URLSearchParams({ as: username })}`));
}

/** What UCloud knows of a user's work at the centre. */
export async function tasksOf(username) {
  return answerOf(await fetch(`/tasks.json?${new URLSearchParams({ as: username })}`));
}

/**
 * Asks Core.
 * @param {{as: string, core: string, call: string}} asked with the call's parameters
 * @param {string | null} intent the signature, where Core is given one
 * @returns {Promise<{answer: object, attempt: object | null}>} what the centre said, and what else Core tried
 */
export async function ask(asked, intent = null) {
  const headers = { "Content-Type": "application/json" };
  if (intent !== null) headers["UCloud-Signed-Intent"] = intent;
  return answerOf(await fetch("/call", { method: "POST", headers, body: JSON.stringify(asked) }));
}

async function answerOf(response) {
  const body = await response.json();
  if (!response.ok) throw new Error(body.why ?? `UCloud answered ${response.status}`);
  return body;
}
