// Files between this page's user and the centre, without UCloud: how far they are, and a way to end them.

import { folderOf, saveDownload, uploadFile, uploadFolder } from "/sdk/index.js";

const [box, what, bar, figures, end, filePick, folderPick] =
  ["transfer", "transfer-what", "transfer-bar", "transfer-figures", "transfer-end", "pick-file", "pick-folder"]
    .map((id) => document.getElementById(id));

/** A person chose otherwise. */
export class Stopped extends Error {}

/** Lets a person choose a file; nothing, if they do not. */
export const chooseFile = async () => (await chosen(filePick))[0] ?? null;

/** Lets a person choose a folder: its name, and what is beneath it. */
export async function chooseFolder() {
  const files = await chosen(folderPick);
  return files.length === 0 ? null : folderOf(files);
}

function chosen(input) {
  input.value = "";
  return new Promise((resolve) => {
    input.onchange = input.oncancel = () => resolve([...input.files]);
    input.click();
  });
}

/** Sends a file, and shows how far it is. */
export const sendFile = (signer, response, file) =>
  shown(`Uploading ${file.name}`, async (onProgress, signal) => sealedOrNot(await uploadFile(signer, response, file, { onProgress, signal, chunk: PIECE })));

/** Sends a folder's files, and shows how far they are. */
export const sendFolder = (signer, response, { name, files }) =>
  shown(`Uploading the folder ${name}`, (onProgress, signal) => uploadFolder(signer, response, files, { onProgress, signal }));

/** Pieces of one megabyte: one sees it go on. A real frontend would send larger ones. */
const PIECE = 1024 * 1024;

/** Fetches a file, and saves it when all of it has come unchanged. */
export const download = (signer, response, name) =>
  shown(`Downloading ${name}`, async (onProgress, signal) =>
    sealedOrNot(await saveDownload(signer, response, { name, signal, onProgress: ({ received, total }) => onProgress({ sent: received, total: total ?? received }) })));

const sealedOrNot = ({ isSealed }) =>
  (isSealed ? "Sealed: only your own process at the centre could read it." : "Not sealed: the centre's gateway could read it.");

/** Shows how far work is while it is done. */
export async function shown(title, work) {
  const stopping = new AbortController();
  what.textContent = title;
  bar.removeAttribute("value");
  figures.textContent = "";
  box.hidden = false;
  end.onclick = () => stopping.abort(new Stopped("You stopped it."));
  try {
    return await work(tell, stopping.signal);
  } finally {
    box.hidden = true;
  }
}

function tell({ sent, total, done, files }) {
  bar.max = Math.max(total, 1);
  bar.value = total === 0 ? 1 : sent;
  const inFiles = files === undefined ? "" : `, ${done} of ${files} files`;
  figures.textContent = `${inWords(sent)} of ${inWords(total)}${inFiles}`;
}

function inWords(bytes) {
  const [unit, name] = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]].find(([unit]) => bytes >= unit) ?? [1, "B"];
  return `${(bytes / unit).toFixed(unit === 1 ? 0 : 1)} ${name}`;
}
