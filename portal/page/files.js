// The list of files: shows a folder, and says what the user wants done with it.

const [rows, place, empty] = ["files", "place", "empty"].map((id) => document.getElementById(id));

/** The last part of a path. */
export const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);

/** The folder that a path is in. */
export const folderOf = (path) => path.slice(0, path.lastIndexOf("/"));

/**
 * Shows a folder.
 * @param {string} folder its path
 * @param {{id: string, status: {type: string, sizeInBytes: number}}[]} items as the provider lists them
 * @param {{open(path: string): void, rename(path: string): void, copy(path: string): void, download(path: string): void, trash(path: string): void}} does what buttons do
 */
export function show(folder, items, does) {
  place.replaceChildren(...crumbs(folder, does.open));
  rows.replaceChildren(...items.map((item) => row(item, does)));
  empty.hidden = items.length > 0;
  empty.textContent = "This folder is empty.";
}

/** Shows nothing, and says why. */
export function showNothing(why) {
  place.replaceChildren();
  rows.replaceChildren();
  empty.hidden = false;
  empty.textContent = why;
}

function crumbs(folder, open) {
  const names = folder.split("/").slice(1);
  return names.flatMap((name, depth) => {
    const path = `/${names.slice(0, depth + 1).join("/")}`;
    const is_last = depth === names.length - 1;
    const crumb = button(name, () => open(path));
    if (is_last) crumb.setAttribute("aria-current", "page");
    return is_last ? [crumb] : [crumb, " / "];
  });
}

function row({ id, status }, does) {
  const name = nameOf(id);
  const is_folder = status?.type === "DIRECTORY";
  const tr = document.createElement("tr");
  const [first, size, actions] = [0, 0, 0].map(() => document.createElement("td"));
  first.append(is_folder ? button(`${name}/`, () => does.open(id)) : name);
  size.className = "size";
  size.textContent = is_folder ? "" : `${status?.sizeInBytes ?? "?"} B`;
  if (!is_folder) actions.append(button("Download", () => does.download(id), `Download ${name}`));
  actions.append(
    button("Rename", () => does.rename(id), `Rename ${name}`),
    button("Copy", () => does.copy(id), `Copy ${name}`),
    button("Move to trash", () => does.trash(id), `Move to trash: ${name}`),
  );
  tr.append(first, size, actions);
  return tr;
}

function button(text, act, label) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}
