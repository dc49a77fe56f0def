// Interim: the user side of the calls on files, until the table says it.

/** @type {{[name: string]: string}} */
const CALLS = {
  "GET /api/files/browse": "files.browse", "GET /api/files/retrieve": "files.retrieve", "POST /api/files/folder": "files.createFolder",
  "POST /api/files/move": "files.move", "POST /api/files/copy": "files.copy", "POST /api/files/trash": "files.trash",
  "POST /api/files/upload": "files.createUpload", "POST /api/files/download": "files.createDownload",
  "POST /api/jobs/openTerminalInFolder": "jobs.openTerminalInFolder",
};

/**
 * @param {import("../../js/table.js").Table} table
 * @param {import("./plan.js").UserRequest} request
 * @param {(path: unknown) => Promise<import("./routes.js").Route>} find
 */
export async function requestsOf(table, request, find) {
  const call = CALLS[`${request.method} ${request.path}`];
  const row = table.get(call ?? "");
  if (row === undefined) return [];
  const query = Object.fromEntries(new URLSearchParams(request.query));
  const items = request.method === "GET" ? [query] : JSON.parse(request.body ?? "null").items;
  const parts = new Map();
  for (const item of items) {
    const params = Object.fromEntries(row.bound.map(({ name }) => [name, item[name] ?? null]));
    const { provider, project } = await find(params.path ?? params.newId ?? params.id ?? params.folder);
    const name = JSON.stringify([provider, project]);
    parts.set(name, { provider, call, project, params: [...(parts.get(name)?.params ?? []), params] });
  }
  return [...parts.values()];
}
