// How UCloud's page calls its Core: every request is an XMLHttpRequest of which only `onload` is
// set, made in this one place. There is no time-out: a request that ends without an answer leaves
// its view loading for ever.

/** Seconds that a token must still be valid for when a request is sent. */
const REFRESH_BELOW_S = 60;

let accessToken = null;
let csrfToken = localStorage.getItem("csrfToken");

/** The project acted in; none if it is empty. */
export const project = () => localStorage.getItem("project") || undefined;

/** Whether the page has logged in before. */
export const isLoggedIn = () => csrfToken !== null;

/** Logs in. The real page comes here from the site's login. */
export async function logIn(username) {
  const { response } = await send("POST", "/auth/login", { "Content-Type": "application/json" }, { username });
  ({ accessToken, csrfToken } = response);
  localStorage.setItem("csrfToken", csrfToken);
}

/** A token with a minute left; refreshed before it is used, never after a refusal. */
export async function receiveToken() {
  if (accessToken === null || claimsOf(accessToken).exp < Date.now() / 1000 + REFRESH_BELOW_S) {
    const { response } = await send("POST", "/auth/refresh/web", { "X-CSRFToken": encodeURIComponent(csrfToken) });
    accessToken = response.accessToken;
  }
  return accessToken;
}

/** The user's name. */
export const username = () => claimsOf(accessToken).sub;

/**
 * Calls Core.
 * @param {{method: string, path: string, payload?: object, projectOverride?: string}} call
 * @returns {Promise<any>} rejects with `{request, response}` for an answer that is no success
 */
export async function callApi({ method, path, payload, projectOverride }) {
  const headers = {
    Authorization: `Bearer ${await receiveToken()}`,
    "Content-Type": "application/json; charset=utf-8",
    Accept: "*/*",
  };
  const acting = projectOverride ?? project();
  if (acting) headers.Project = acting;
  return (await send(method, `/api/${path}`, headers, payload)).response;
}

/** A path with parameters; those without a value are left out. */
export function buildQuery(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
  return `${path}?${given.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join("&")}`;
}

/** A bulk request of these items. */
export const bulk = (...items) => ({ type: "bulk", items });

/** The sentence that the page shows for an error. */
export function errorText({ request, response }) {
  if (typeof response?.why === "string") return response.why;
  return request?.status === 403 ? "Permission denied" : "An error occurred. Please reload the page.";
}

function send(method, path, headers, payload) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, `${location.protocol}//${location.host}${path}`);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.responseType = "text";
    request.onload = () => {
      const isJson = request.getResponseHeader("content-type")?.includes("application/json") ?? false;
      const response = isJson ? JSON.parse(request.responseText) : request.responseText;
      if (request.status >= 200 && request.status < 300) resolve({ request, response });
      else reject({ request, response });
    };
    if (payload === undefined) request.send();
    else request.send(JSON.stringify(payload));
  });
}

function claimsOf(token) {
  const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
}
