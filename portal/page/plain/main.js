// UCloud's page as it is, without a word about signatures: its views, and what they send. It shows
// changes before they are answered, and takes them back if they are refused.

import { buildQuery, bulk, callApi, errorText, isLoggedIn, logIn, project, receiveToken, username } from "./api.js";
import { newJob, openApplication, showJobs, startJobs } from "./jobs.js";
import { atCore, connect } from "./ws.js";
import { openShell } from "./shell.js";
import { uploadFile, uploadFolder, usernameHint } from "./uploads.js";
import { missingOnWebSocket } from "./vnc.js";

const at = (id) => document.getElementById(id);
/** The folder that is open, and the drive that it is on. */
let folder = null;
let items = [];

// --- Common -------------------------------------------------------------------------------------

function element(name, text, act) {
  const made = document.createElement(name);
  made.textContent = text;
  if (act) {
    made.type = "button";
    made.addEventListener("click", act);
  }
  return made;
}

function notify(text) {
  at("notifications").append(element("li", text));
}

/** Shows one page, and hides the others. */
function show(id) {
  for (const section of ["providers", "jobs", "keys", "drives", "files"]) at(section).hidden = section !== id;
}

const post = (path, payload, method = "POST") => callApi({ method, path, payload });
const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);
const named = () => at("name").value;

/** Sends a change whose effect is shown already; a refusal is told, and the list is read again. */
async function change(path, payload, method) {
  try {
    return await post(path, payload, method);
  } catch (error) {
    notify(errorText(error));
    await openFolder(folder);
    return null;
  }
}

// --- Login, providers, keys ---------------------------------------------------------------------

at("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  localStorage.setItem("project", at("project").value);
  await logIn(at("username").value);
  await begin();
});

async function begin() {
  await receiveToken();
  at("main").hidden = false;
  const missing = missingOnWebSocket();
  at("vnc").textContent = missing.length === 0 ? "passed" : `missing ${missing.join(", ")}`;
  await Promise.all([followTasks(), showDrives()]);
  document.documentElement.dataset.user = username();
}

at("show-providers").addEventListener("click", async () => {
  show("providers");
  const { items: providers } = await callApi({ method: "GET", path: "providers/integration/browse?itemsPerPage=250" });
  at("provider-list").replaceChildren(...providers.map(({ provider, connected }) => {
    const row = element("li", `${provider} `);
    row.append(connected ? "connected" : element("button", `Connect to ${provider}`, () => connectTo(provider)));
    return row;
  }));
});

async function connectTo(provider) {
  try {
    const { redirectTo } = await post("providers/integration/connect", { provider });
    document.location.href = redirectTo;
  } catch (error) {
    notify(errorText(error));
  }
}

at("show-jobs").addEventListener("click", async () => {
  show("jobs");
  await showJobs(notify);
});
at("open-application").addEventListener("click", openApplication);
at("start-job").addEventListener("click", async () => {
  const { productsByProvider } = await callApi({ method: "GET", path: "jobs/retrieveProducts" });
  const [provider] = Object.keys(productsByProvider);
  const product = productsByProvider[provider][0]?.product ?? { id: "cpu", category: "cpu", provider };
  await startJobs([newJob(product, folder)], notify);
});
at("refresh-jobs").addEventListener("click", () => showJobs(notify));

at("show-keys").addEventListener("click", showKeys);
at("add-key").addEventListener("submit", async (event) => {
  event.preventDefault();
  await post("ssh", bulk({ key: at("key-text").value, title: "key" }));
  await showKeys();
});

async function showKeys() {
  show("keys");
  const { items: keys } = await callApi({ method: "GET", path: "ssh/browse?itemsPerPage=250" });
  at("key-list").replaceChildren(...keys.map(({ id, specification: { key } }) => {
    const row = element("li", `${key} `);
    row.append(element("button", "Remove", async () => {
      await post("ssh", bulk({ id }), "DELETE");
      await showKeys();
    }));
    return row;
  }));
}

// --- Drives -------------------------------------------------------------------------------------

at("show-drives").addEventListener("click", showDrives);

async function showDrives() {
  show("drives");
  const path = buildQuery("files/collections/browse", { itemsPerPage: 250, includeOthers: true });
  const { items: drives } = await callApi({ method: "GET", path });
  at("drive-list").replaceChildren(...drives.map(driveRow));
}

function driveRow({ id, specification: { title } }) {
  const row = element("li", "");
  row.dataset.id = id;
  row.append(
    element("button", title, () => openFolder(`/${id}`)),
    element("button", `Rename ${title}`, () => changeDrive("files/collections/rename", { id, newTitle: at("drive-title").value })),
    element("button", `Delete ${title}`, () => changeDrive("files/collections", { id }, "DELETE")),
  );
  return row;
}

async function changeDrive(path, item, method) {
  try {
    await post(path, bulk(item), method);
  } catch (error) {
    notify(errorText(error));
  }
  await showDrives();
}

at("make-drive").addEventListener("submit", async (event) => {
  event.preventDefault();
  const title = at("drive-title").value;
  // Shown as made before it is.
  at("drive-list").append(driveRow({ id: "", specification: { title } }));
  const { productsByProvider } = await callApi({ method: "GET", path: "files/collections/retrieveProducts" });
  const { product } = Object.values(productsByProvider).flat().find(({ support }) => support.collection.usersCanCreate);
  await changeDrive("files/collections", { product, title });
});

// --- Files --------------------------------------------------------------------------------------

/** Opens a folder: three requests at once, as the real page sends them. */
async function openFolder(path) {
  folder = path;
  show("files");
  at("place").textContent = path;
  at("spinner").hidden = false;
  const browse = buildQuery("files/browse", {
    path, includeMetadata: true, includeSizes: true, includeTimestamps: true, includeUnixInfo: true,
    allowUnsupportedInclude: true, itemsPerPage: 250, filterHiddenFiles: true, next: undefined,
  });
  const [, , listed] = await Promise.allSettled([
    callApi({ method: "GET", path: buildQuery("files/retrieve", { id: path, includeSizes: true }) }),
    callApi({ method: "GET", path: buildQuery("files/collections/retrieve", { id: path.split("/")[1], includeOthers: true }) }),
    callApi({ method: "GET", path: browse }),
  ]);
  at("spinner").hidden = true;
  items = listed.status === "fulfilled" ? listed.value.items.map(({ id, status }) => ({ id, type: status.type })) : [];
  draw();
  if (listed.status === "rejected") showNothing(listed.reason);
}

function showNothing(error) {
  const isUnable = error.request?.status >= 500 || error.response?.errorCode === "MAINTENANCE";
  at("empty").textContent = isUnable ? "We are currently unable to show your files. Try again later." : "We could not find any data related to your files.";
  at("why").textContent = errorText(error);
  at("empty").hidden = at("why").hidden = false;
}

function draw() {
  at("empty").hidden = at("why").hidden = true;
  at("file-rows").replaceChildren(...items.map(({ id, type }) => {
    const row = document.createElement("tr");
    const [name, actions] = [element("td", ""), element("td", "")];
    name.append(type === "DIRECTORY" ? element("button", nameOf(id), () => openFolder(id)) : nameOf(id));
    actions.append(
      element("button", `Rename ${nameOf(id)}`, () => rename(id)),
      element("button", `Copy ${nameOf(id)}`, () => copy(id)),
      element("button", `Move to trash: ${nameOf(id)}`, () => trash(id)),
    );
    if (type !== "DIRECTORY") actions.append(element("button", `Download ${nameOf(id)}`, () => download(id)));
    row.append(name, actions);
    return row;
  }));
}

at("make-folder").addEventListener("click", async () => {
  const id = `${folder}/${named()}`;
  items.unshift({ id, type: "DIRECTORY" });
  draw();
  await change("files/folder", bulk({ id, conflictPolicy: "RENAME" }));
});

async function rename(oldId) {
  const newId = `${folder}/${named()}`;
  items.find(({ id }) => id === oldId).id = newId;
  draw();
  await change("files/move", bulk({ oldId, newId, conflictPolicy: "REJECT" }));
}

async function copy(oldId) {
  if ((await change("files/copy", bulk({ oldId, newId: `${folder}/${named()}`, conflictPolicy: "RENAME" }))) !== null) await openFolder(folder);
}

async function trash(id) {
  items = items.filter((item) => item.id !== id);
  draw();
  // The real page looks for the trash folder first.
  const trashFolder = `/${folder.split("/")[1]}/Trash`;
  await callApi({ method: "GET", path: buildQuery("files/retrieve", { id: trashFolder }) }).catch(() => null);
  await change("files/trash", bulk({ id }));
}

async function download(id) {
  const made = await change("files/download", bulk({ id }));
  if (made === null) return;
  const anchor = document.createElement("a");
  anchor.href = `${made.responses[0].endpoint}&usernameHint=${usernameHint()}`;
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
}

// --- Uploads ------------------------------------------------------------------------------------

at("pick-file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  await upload({ id: `${folder}/${file.name}`, type: "FILE" }, (response, tell) => uploadFile(response, file, tell));
});

at("pick-folder").addEventListener("change", async ({ target }) => {
  const files = [...target.files];
  const id = `${folder}/${files[0].webkitRelativePath.split("/")[0]}`;
  await upload({ id, type: "FOLDER" }, (response, tell) => uploadFolder(response, files, tell));
});

async function upload(item, send) {
  const row = element("li", `${nameOf(item.id)}: waiting`);
  at("uploads").append(row);
  const say = (text) => (row.textContent = `${nameOf(item.id)}: ${text}`);
  try {
    const asked = bulk({ supportedProtocols: ["CHUNKED", "WEBSOCKET"], conflictPolicy: "RENAME", ...item });
    const { responses: [response] } = await post("files/upload", asked);
    await send(response, (count) => say(`${count} sent`));
    say("done");
    await openFolder(folder);
  } catch (error) {
    say(errorText(error));
  }
}

// --- Search, terminal, tasks --------------------------------------------------------------------

at("search").addEventListener("click", async () => {
  at("results").replaceChildren();
  await connect(atCore("/api/files"), {
    init: (connection) => {
      const payload = { query: named(), flags: {}, currentFolder: folder };
      connection.call({ call: "files.streamingSearch", payload }, ({ payload: { type, batch, why } }) => {
        for (const { id } of batch ?? []) at("results").append(element("li", id));
        if (type !== "end_of_results") return;
        if (why) at("results").append(element("li", why));
        connection.socket.close();
      });
    },
    onClose: () => at("results").append(element("li", "The search has ended.")),
  });
});

at("open-terminal").addEventListener("click", () => openShell({
  ask: () => post("jobs/openTerminalInFolder", bulk({ folder })),
  screen: at("terminal"),
  input: at("typed"),
  project,
}));

async function followTasks() {
  await connect(atCore("/api/tasks"), {
    init: (connection) => {
      connection.call({ call: "core2", payload: {} }, () => {
        const { socket } = connection;
        socket.onopen = socket.onclose = null;
        socket.onmessage = ({ data }) => showTasks(JSON.parse(data).messages);
        socket.send("READY");
      });
    },
  });
}

function showTasks(messages) {
  for (const { task: { taskId, status: { title, state } } } of messages) {
    const row = at("tasks").querySelector(`[data-id="${taskId}"]`) ?? at("tasks").appendChild(element("li", ""));
    row.dataset.id = taskId;
    row.replaceChildren(`${title}: ${state} `, element("button", "Cancel", () => post("tasks/pauseOrCancel", { id: taskId, requestedState: "CANCELLED" })));
  }
}

if (isLoggedIn()) await begin();
document.documentElement.dataset.ready = "";
