// To which provider a drive, a job or another resource of UCloud belongs, and to which project.
// UCloud's own answers in the page are good enough for that: a wrong provider refuses the intent.
// They are never shown. What they do not say, the connected providers are asked (the drives of the
// user, over the direct channel).

/** @typedef {import("./connected-provider.js").ConnectedProvider} ConnectedProvider */
/** @typedef {import("../../js/storage.js").KeyRecord} KeyRecord */
/** @typedef {import("../../js/user-side.js").Kind} Kind */
/** @typedef {{provider: string, project: string | null}} Route */

/** Routes that are remembered for one UCloud. A page with more forgets the oldest. */
const KEPT_MAX = 3_000;

/** Longest answer that is read, in characters: a full page of a folder has some 300 000. */
const LENGTH_MAX = 2_000_000;

export class Routes {
  #session;
  /** Ends with the last write. @type {Promise<unknown>} */
  #turn = Promise.resolve();
  /** What is stored, by UCloud: this worker alone writes it. @type {Map<string, Promise<Map<string, Route>>>} */
  #stored = new Map();

  /** @param {{get: (name: string) => Promise<any>, set: (name: string, value: any) => Promise<void>}} session */
  constructor(session) {
    this.#session = session;
  }

  /**
   * Learns from an answer of UCloud that the page got.
   * @param {string} ucloud
   * @param {unknown} path of the answer
   * @param {unknown} text
   */
  learn(ucloud, path, text) {
    if (typeof path !== "string" || typeof text !== "string" || text.length > LENGTH_MAX) return this.#turn;
    const found = routesIn(path, text);
    if (found.size === 0) return this.#turn;
    this.#turn = this.#turn.then(async () => {
      const before = await this.#of(ucloud);
      const isNew = [...found].some(([id, route]) => JSON.stringify(before.get(id)) !== JSON.stringify(route));
      if (!isNew) return;
      for (const [id, route] of found) {
        before.delete(id);
        before.set(id, route);
      }
      for (const oldest of [...before.keys()].slice(0, -KEPT_MAX)) before.delete(oldest);
      await this.#session.set(nameOf(ucloud), [...before]);
    }).catch(() => {});
    return this.#turn;
  }

  /** The routes, the newest last: kept as pairs, since an object would sort numbers. @param {string} ucloud @returns {Promise<Map<string, Route>>} */
  #of(ucloud) {
    const known = this.#stored.get(ucloud) ?? this.#session.get(nameOf(ucloud)).then((pairs) => new Map(pairs ?? []));
    this.#stored.set(ucloud, known);
    known.catch(() => this.#stored.delete(ucloud));
    return known;
  }

  /**
   * The provider of a resource, among these.
   * @param {string} ucloud
   * @param {Kind} kind
   * @param {string} id its number at UCloud
   * @param {ConnectedProvider[]} providers
   * @param {(provider: ConnectedProvider) => KeyRecord | null} keyAt the user's key there
   * @param {string | null} acting the project that the user acts in
   * @returns {Promise<Route | null>}
   */
  async find(ucloud, kind, id, providers, keyAt, acting) {
    const route = (await this.#of(ucloud)).get(`${spaceOf(kind)}${id}`);
    if (route !== undefined) return route;
    const [only] = providers;
    if (providers.length === 1 && only !== undefined) return { provider: only.site.id, project: acting };
    if (kind !== "drive") return null;
    const answers = await Promise.all(providers.map(async (provider) => {
      const key = keyAt(provider);
      const drives = key === null ? null : await provider.drives.of(key, [id]);
      return drives?.has(id) === true ? provider.site.id : null;
    }));
    const known = answers.filter((provider) => provider !== null);
    return known.length === 1 ? { provider: known[0] ?? "", project: acting } : null;
  }
}

/** @param {string} ucloud */
const nameOf = (ucloud) => `routes/${ucloud}`;

/** Tasks and tokens have numbers of their own; all else at UCloud shares one sequence. @param {Kind} kind */
const spaceOf = (kind) => (kind === "task" || kind === "token" ? `${kind}/` : "");

/** @param {string} path @param {string} text @returns {Map<string, Route>} */
function routesIn(path, text) {
  /** @type {Map<string, Route>} */
  const found = new Map();
  /** @type {any} */
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    return found;
  }
  if (path === "/api/tasks") {
    for (const message of Array.isArray(answer?.messages) ? answer.messages : []) {
      const { taskId, provider } = message?.task ?? message ?? {};
      if (Number.isSafeInteger(taskId) && typeof provider === "string") found.set(`task/${taskId}`, { provider, project: null });
    }
    return found;
  }
  const space = path.startsWith("/api/tokens/") ? spaceOf("token") : "";
  for (const item of Array.isArray(answer?.items) ? answer.items : [answer]) {
    const { id, specification, owner } = item ?? {};
    const provider = specification?.product?.provider ?? specification?.provider;
    if (typeof provider !== "string") continue;
    const project = typeof owner?.project === "string" ? owner.project : null;
    // Of a file, its drive.
    const name = typeof specification.collection === "string" ? specification.collection : id;
    if (typeof name === "string" && name !== "" && name.length <= 64) found.set(`${space}${name}`, { provider, project });
  }
  return found;
}
