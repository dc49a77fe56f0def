// UCloud's page: who is logged in, what Core does, and the user's files. Every call is signed by the centre's signer
// through the SDK, as in any frontend.

import { connectSigner, openInterface } from "/sdk/index.js";
import { ask, BEHAVIOURS, site } from "/page/core.js";
import { folderOf, nameOf, show, showNothing } from "/page/files.js";
import { chooseApplication, extension, followLog, forgetJobs, sessionIn, specificationOf, watchJobs } from "/page/jobs.js";
import { forgetTasks, watchTasks } from "/page/tasks.js";
import { showTerminal } from "/page/terminal.js";
import { Stopped, chooseFile, chooseFolder, download, sendFile, sendFolder } from "/page/transfers.js";

/** Where users' files begin: the drive of the demo. */
const HOME = "/home";

/** What a user chooses when a name is taken. */
const CONFLICT_POLICY = "RENAME";

/** What the signer's errors mean to whoever clicked; of a refusal by the centre it says itself why. */
const SIGNER_SAYS = {
  refused: "You said no in the signer's window. Nothing was signed.",
  unknown_user: "This browser has no key for this user yet. Connect first.",
  no_key: "This browser has no key for this user yet. Connect first.",
  key_expired: "This browser's key is too old. Connect again.",
  unknown_call: "The signer does not know this call, so it does not sign it.",
  bad_parameters: "The signer does not sign parameters that it cannot describe.",
  popup_blocked: "The browser blocked the signer's window. Allow pop-ups for this page, then try again.",
  closed: "The signer's window was closed. Try again, and keep it open.",
  timeout: "The signer did not answer in time.",
};

const at = (id) => document.getElementById(id);
const here = await site();
/** The signer of who is logged in, made when first needed. */
let signer = null;
let user = here.users[0];
let folder = null;
let listed = [];

// --- Who, and how Core is ---------------------------------------------------------------------------------------

const behaviour = () => BEHAVIOURS.find((one) => one.id === document.querySelector("input[name=behaviour]:checked").value);

at("users").append(...here.users.map((one, index) => choice("user", one.username, one.username, null, index === 0)));
at("behaviour").append(...BEHAVIOURS.filter(({ jobs }) => here.jobs || !jobs).map((one, index) => choice("behaviour", one.id, one.name, one.does, index === 0)));
at("desk").src = here.desk;

at("users").addEventListener("change", (event) => {
  user = here.users.find((one) => one.username === event.target.value);
  signer?.close();
  signer = folder = null;
  allow(false);
  forgetTasks();
  showNothing("Not opened yet.");
  tellConnected();
  forgetJobs();
  watchJobs(user.username, JOB_ACTIONS);
});

function choice(group, value, name, does, checked) {
  const label = document.createElement("label");
  const radio = document.createElement("input");
  Object.assign(radio, { type: "radio", name: group, value, checked });
  const text = document.createElement("span");
  text.textContent = name;
  if (does !== null) {
    const more = document.createElement("small");
    more.textContent = does;
    text.append(more);
  }
  label.append(radio, text);
  return label;
}

// --- Connecting -------------------------------------------------------------------------------------------------

at("connect").addEventListener("click", async () => {
  // Opened by the click itself, or the browser blocks it; it has nothing to do with this page from then on.
  const tab = window.open("", "_blank");
  try {
    const { answer, attempt } = await ask({ as: user.username, core: behaviour().id, call: "connect" });
    if (tab === null) location.assign(answer.body.redirectTo);
    else tab.location.replace(answer.body.redirectTo);
    if (attempt !== null) {
      tell("bad", "Look at the tab that has opened: it says that another browser offered a key.", [
        ["You", "clicked Connect"],
        ["UCloud's Core", attempt.what],
        ["The centre", "activates no key that is not approved in the terminal there"],
      ]);
    }
  } catch (why) {
    tab?.close();
    tell("bad", "That did not work.", [["Why", why.message]]);
  }
});

async function tellConnected() {
  try {
    here.users = (await site()).users;
    user = here.users.find((one) => one.username === user.username);
  } catch {
    // The demo has ended; whatever is clicked next will say so.
  }
  at("connected").textContent = user.connected
    ? `The centre says that ${user.username} is connected.`
    : `${user.username} is not connected yet.`;
}
window.addEventListener("focus", tellConnected);

// --- Files ------------------------------------------------------------------------------------------------------

at("open").addEventListener("click", () => open(HOME));
at("make").addEventListener("click", async () => {
  const name = await askName("Make a folder", "");
  if (name === null) return;
  if (behaviour().id === "disguise") return lie(name);
  await change(`make the folder ${name}`, "files.createFolder", [
    { id: `${folder}/${name}`, conflictPolicy: CONFLICT_POLICY },
  ]);
});

async function rename(path) {
  const name = await askName(`Rename ${nameOf(path)}`, nameOf(path));
  if (name === null || name === nameOf(path)) return;
  await change(`rename ${nameOf(path)} to ${name}`, "files.move", [
    { oldId: path, newId: `${folderOf(path)}/${name}`, conflictPolicy: CONFLICT_POLICY },
  ]);
}

async function copy(path) {
  const name = await askName(`Copy ${nameOf(path)}`, `Copy of ${nameOf(path)}`);
  if (name === null) return;
  watchTasks(user.username, wish);
  await change(`copy ${nameOf(path)} to ${name}`, "files.copy", [
    { oldId: path, newId: `${folderOf(path)}/${name}`, conflictPolicy: CONFLICT_POLICY },
  ]);
}

/** What the user says to a task, signed like everything. */
async function wish({ id, title }, requestedState) {
  const what = `${title}: ${requestedState.toLowerCase()}`;
  await trying(what, async () => {
    const { answer, attempt } = await signed("tasks.pauseOrCancel", { id, requestedState });
    if (answer.status !== 200) return tellRefusal(what, answer);
    if (attempt !== null) tellAttempt(what, attempt, true);
    watchTasks(user.username, wish);
  });
}

const trash = (path) => change(`move ${nameOf(path)} to the trash`, "files.trash", [{ id: path }]);

async function open(path) {
  await trying(`open ${path}`, async () => {
    if (await list(path)) tell("good", "Done.", [["You", `opened ${path}`]]);
  });
}

/** Shows what is in a folder. False if the centre refused that, and the page then says so. */
async function list(path) {
  const { answer } = await signed("files.browse", { path });
  if (answer.status !== 200) {
    tellRefusal(`open ${path}`, answer);
    return false;
  }
  folder = path;
  // Names with a dot in front are hidden, as usual.
  listed = (answer.body.items ?? []).filter(({ id }) => !nameOf(id).startsWith("."));
  allow(true);
  show(folder, listed, { open, rename, copy, trash, download: (path) => bring(path) });
  return true;
}

/** What can be done in a folder that is open. */
function allow(is_open) {
  for (const id of ["make", "upload-file", "upload-folder"]) at(id).disabled = !is_open;
  at("open-shell").disabled = !is_open;
}

async function change(what, call, items) {
  await trying(what, async () => {
    const { answer, attempt } = await signed(call, { items });
    if (attempt === null) {
      if (answer.status !== 200) return tellRefusal(what, answer);
      // A copy that takes long goes on after it was answered.
      tell("good", call === "files.copy" ? "Taken." : "Done.", [["You", what]]);
    } else {
      tellAttempt(what, attempt, answer.status === 200);
    }
    await list(folder);
  });
}

// --- Jobs -------------------------------------------------------------------------------------------------------

chooseApplication(here.applications);
at("no-jobs").hidden = here.jobs;
at("new-job").hidden = at("application").disabled = at("start-job").disabled = !here.jobs;

at("start-job").addEventListener("click", async () => {
  const { application, specification } = specificationOf(here.provider.id);
  await jobCall(`start the job ${application}`, "jobs.create", [{ specification }]);
});

/** What the buttons of a job do. */
const JOB_ACTIONS = {
  end: (id) => jobCall(`end job ${id}`, "jobs.terminate", [{ id }]),
  extend: (id) => jobCall(`give job ${id} more time`, "jobs.extend", [extension(id)]),
  follow: (id) =>
    trying(`follow the log of job ${id}`, async () => {
      signer ??= signerOf(user);
      await signer.deposit({ call: "jobs.follow", params: { id }, project: null });
      await followLog(user.username, id);
      tell("good", "Done.", [["You", `follow the log of job ${id}`]]);
    }),
  shell: (id) =>
    withToken(`open a shell in job ${id}`, "jobs.openInteractiveSession", [sessionIn(id, "SHELL")], (session) =>
      showTerminal(signer, session, `job ${id}`)),
  open: async (id) => {
    // Opened by the click itself, or the browser blocks it.
    const tab = window.open("", "_blank");
    const address = await addressOfInterface(id);
    if (address === null) tab?.close();
    else if (tab !== null) {
      tab.opener = null;
      tab.location.replace(address);
    }
  },
};

/** Where the web interface of a job opens for its user; null if the centre refused that. */
async function addressOfInterface(id) {
  let opened = null;
  await withToken(`open the interface of job ${id}`, "jobs.openInteractiveSession", [sessionIn(id, "WEB")], async (session) => {
    opened = await openInterface(signer, session);
  });
  return opened;
}

/** A call about jobs. Before one that starts a job the signer shows the script that the centre would run. */
async function jobCall(what, call, items) {
  await trying(what, async () => {
    const { answer, attempt } = await signed(call, { items });
    if (attempt !== null) tellAttempt(what, attempt, answer.status === 200);
    else if (answer.status !== 200) return tellRefusal(what, answer);
    else tell("good", "Done.", [["You", what]]);
    watchJobs(user.username, JOB_ACTIONS);
  });
}

// --- Transfers and terminals ------------------------------------------------------------------------------------

at("upload-file").addEventListener("click", async () => {
  const file = await chooseFile();
  if (file === null) return;
  const items = [{ id: `${folder}/${file.name}`, type: "FILE", conflictPolicy: CONFLICT_POLICY }];
  await withToken(`upload ${file.name}`, "files.createUpload", items, (response) => sendFile(signer, response, file));
});

/** What a folder may have that the provider takes only if its user was asked: hidden files, and those from which programs start. */
const STARTUP = /(^|\/)(\.|s?bin\/|autostart\/|public_html\/|cgi-bin\/|ondemand\/)|\.desktop$/i;

at("upload-folder").addEventListener("click", async () => {
  const chosen = await chooseFolder();
  if (chosen === null) return;
  const items = [{ id: `${folder}/${chosen.name}`, type: "FOLDER", conflictPolicy: CONFLICT_POLICY }];
  const upload = async (response) => {
    const { sent, skipped, unreadable } = await sendFolder(signer, response, chosen);
    return `${sent} files sent, ${skipped.length} were there already, ${unreadable.length} could not be read`;
  };
  // Where files are hidden, or programs start from them, the provider takes the folder only if its user was asked.
  const ask = chosen.files.some(({ path }) => STARTUP.test(path));
  await withToken(`upload the folder ${chosen.name}`, "files.createUpload", items, upload, ask);
});

const bring = (path) =>
  withToken(`download ${nameOf(path)}`, "files.createDownload", [{ id: path }], (response) => download(signer, response, nameOf(path)));

at("open-shell").addEventListener("click", () => {
  const where = folder;
  return withToken(`open a terminal in ${where}`, "jobs.openTerminalInFolder", [{ folder: where }], (session) =>
    showTerminal(signer, session, where));
});

/** Asks for a token, lets Core have its way with it, and does with it what the user wanted. */
async function withToken(what, call, items, use, ask = false) {
  await trying(what, async () => {
    const { answer, attempt } = await signed(call, { items }, ask);
    if (answer.status !== 200 && attempt === null) return tellRefusal(what, answer);
    if (attempt !== null) tellAttempt(what, attempt, answer.status === 200 ? null : false);
    if (answer.status !== 200) return;
    const outcome = await use(answer.body.responses[0]);
    const lines = outcome ? [["The centre", outcome]] : [];
    if (attempt === null) tell("good", "Done.", [["You", what], ...lines]);
    else tellAttempt(what, attempt, true);
    if (call === "files.createUpload") await list(folder);
  });
}

/** The page of a taken-over UCloud: the user wants a folder, the signer is asked for a deletion. */
async function lie(name) {
  const victim = listed.find((item) => item.status?.type !== "DIRECTORY") ?? { id: `${folder}/${name}` };
  const told = [
    ["You", `make the folder ${name}`],
    ["UCloud's page", `asked your signer to move ${nameOf(victim.id)} to the trash`],
  ];
  const { why } = behaviour();
  await trying(`make the folder ${name}`, async () => {
    try {
      await signed("files.trash", { items: [{ id: victim.id }] });
    } catch (error) {
      if (error.code !== "refused") throw error;
      tell("good", "Refused, by you.", [...told, ["The signer", "asked you, and you said no"], ["Why", why]]);
      return tellOutcome(`make the folder ${name}`, false);
    }
    tell("bad", "You approved it.", [...told, ["The signer", "showed the deletion, and you said yes"], ["Why", why]]);
    tellOutcome(`make the folder ${name}`, false);
    await list(folder);
  });
}

/** Signs a call and hands it to Core, with the signature or, where Core drops it, after leaving it at the centre. */
async function signed(call, parameters, askFirst = false) {
  const asked = { as: user.username, core: behaviour().id, call, ...parameters };
  const toSign = { ...(parameters.items === undefined ? { call, params: parameters } : { call, ...parameters }), ask: askFirst };
  signer ??= signerOf(user);
  if (behaviour().id === "deposits") {
    await signer.deposit({ ...toSign, project: null });
    return ask(asked);
  }
  const { jws } = await signer.sign({ ...toSign, project: null });
  return ask(asked, jws);
}

function signerOf({ username }) {
  const { origin, id } = here.provider;
  return connectSigner(origin, {
    provider: id,
    username,
    onAsking: () => tell("ask", "The signer asks you something. Look at its window.", []),
  });
}

// --- Showing the result ---------------------------------------------------------------------------------------

/** Does what the user asked for. What the page said of the thing before is gone by then. */
async function trying(what, attempt) {
  at("result").replaceChildren();
  try {
    await attempt();
  } catch (why) {
    if (why instanceof Stopped) return tell("ask", "Stopped.", [["You", `stopped: ${what}`]]);
    const said = why.name === "SignerError" ? SIGNER_SAYS[why.code] : null;
    tell("bad", "That did not work.", [["Why", said ?? why.message]]);
    tellOutcome(what, false);
  }
}

const verdict = ({ status, body }) => [status, body?.errorCode, body?.why].filter(Boolean).join(" · ");

function tellRefusal(what, answer) {
  tell("bad", "The centre refused it.", [["The gateway", verdict(answer)]]);
  tellOutcome(what, false);
}

/**
 * What Core tried, and what became of the user's own request.
 * @param {string} what the user wanted
 * @param {{refused: boolean, what: string, answer: object}} attempt Core's
 * @param {boolean | null} done whether the user's request was done; null: not known yet
 */
function tellAttempt(what, { refused, what: tried, answer }, done) {
  const { name, why } = behaviour();
  const headline = refused ? "Refused. What UCloud's Core tried was not done." : "What UCloud's Core tried was done!";
  tell(refused ? "good" : "bad", headline, [
    ["UCloud's Core", tried],
    ["The gateway", verdict(answer)],
    ["Why", why ?? name],
  ]);
  tellOutcome(what, done);
}

/** One line: whether what the user asked for was done. */
function tellOutcome(what, done) {
  const words = { true: "was done", false: "was not done", null: "is under way" }[String(done)];
  const said = document.createElement("p");
  said.className = `outcome ${done === false ? "not" : ""}`;
  said.textContent = `What you asked for ${words}: ${what}.`;
  at("result").querySelector(".verdict").after(said);
}

function tell(tone, headline, lines) {
  const said = document.createElement("p");
  said.className = `verdict ${tone}`;
  said.textContent = headline;
  const list = document.createElement("dl");
  list.append(...lines.flatMap(([who, what]) => line(who, what)));
  at("result").replaceChildren(said, list);
}

function line(who, what) {
  const [term, detail] = ["dt", "dd"].map((name) => document.createElement(name));
  term.textContent = who;
  detail.textContent = what;
  return [term, detail];
}

function askName(title, before) {
  const [dialog, name] = [at("ask"), at("ask-name")];
  at("ask-title").textContent = title;
  name.value = before;
  dialog.showModal();
  name.select();
  return new Promise((resolve) => {
    const end = (value) => {
      dialog.close();
      at("ask-form").onsubmit = at("ask-cancel").onclick = dialog.oncancel = null;
      resolve(value);
    };
    at("ask-form").onsubmit = (event) => {
      event.preventDefault();
      // One name, not a path: a slash would be another folder.
      end(name.value.trim().replaceAll("/", "") || null);
    };
    at("ask-cancel").onclick = () => end(null);
    dialog.oncancel = () => end(null);
  });
}

tellConnected();
watchJobs(user.username, JOB_ACTIONS);
document.documentElement.dataset.ready = "";
