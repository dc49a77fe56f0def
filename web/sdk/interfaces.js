// Addresses of web interfaces and desktops of jobs, signed by their user. UCloud's page has the token
// and could send it, and with it the user's signature, to another host. So the host is that which the
// user's own instance signed in the token.

import { Unopened, claimsOf, isSignedBy } from "./seal.js";
import { OPEN, TransferError, prove, tokenOf } from "./sessions.js";

/** @typedef {import("./index.js").Signer} Signer */

/** The path below the provider's base path at which each kind is redeemed. */
const PLACES = { web: "authorize-app", vnc: "vnc" };

/** The call of such tokens. */
export const CALL = "jobs.openInteractiveSession";

/**
 * The address at which a token is redeemed, without a proof; null if the user's instance did not make
 * the token for an interface of this kind at this provider.
 * @param {string} token
 * @param {{kind: "web" | "vnc", origin: string, provider: string, pinned: JsonWebKey}} wanted `pinned`: the instance's key
 * @returns {Promise<URL | null>}
 */
export async function interfaceOf(token, { kind, origin, provider, pinned }) {
  if (!(await isSignedBy(token, pinned))) return null;
  const { aud, call, interface: claim } = claimsOf(token);
  const at = claim?.origin;
  if (aud !== origin || call !== CALL || claim?.kind !== kind || typeof at !== "string" || !URL.canParse(at)) return null;
  const url = new URL(at);
  const isOwn = url.origin === origin;
  if (url.origin !== at || url.protocol !== new URL(origin).protocol || isOwn !== (kind === "vnc")) return null;
  const address = new URL(`/ucloud/${provider}/${PLACES[kind]}?token=${token}`, url);
  if (kind === "vnc") address.protocol = address.protocol.replace("http", "ws");
  return address;
}

/**
 * The token in an address of an interface: in its fragment, or in its query.
 * @param {unknown} address
 */
function tokenAt(address) {
  const url = typeof address === "string" && URL.canParse(address) ? new URL(address) : null;
  return tokenOf(url === null ? null : url.searchParams.get("token") ?? url.hash.slice(1));
}

/**
 * @param {Signer} signer
 * @param {"web" | "vnc"} kind
 * @param {unknown} said the address in UCloud's answer
 * @param {string | null} project
 */
async function signed(signer, kind, said, project) {
  const token = tokenAt(said);
  const pinned = (await signer.instanceKey?.()) ?? null;
  if (pinned === null) throw new TransferError("elsewhere", "this browser has pinned no key of your instance: connect again");
  const { origin, provider } = signer;
  const address = await interfaceOf(token, { kind, origin, provider, pinned }).catch((error) => {
    if (error instanceof Unopened) return null;
    throw error;
  });
  if (address === null) throw new TransferError("tampered", "this token is not of your own instance, or not for this interface");
  address.searchParams.set("intent", await prove(signer, OPEN, token, project));
  return address.href;
}

/**
 * The address that opens the web interface of a job, signed by its user. Navigate a window there
 * immediately: it is valid for half a minute and for one use. Each call signs another.
 * @param {Signer} signer
 * @param {import("./index.js").WebSession} session
 * @param {{project?: string | null}} [options]
 */
export function openInterface(signer, { redirectClientTo }, { project = null } = {}) {
  return signed(signer, "web", redirectClientTo, project);
}

/**
 * The address of a job's desktop for a viewer such as noVNC, signed by its user.
 * @param {Signer} signer
 * @param {import("./index.js").DesktopSession} session
 * @param {{project?: string | null}} [options]
 */
export function openDesktop(signer, { url }, { project = null } = {}) {
  return signed(signer, "vnc", url, project);
}
