// A terminal in a folder or a job: a session from Core, then messages straight to the provider. A connection
// that is lost or refused gets a session of its own again, in a folder at most five times in a row.

import { errorText } from "./api.js";
import { usernameHint } from "./uploads.js";
import { connect } from "./ws.js";

const ATTEMPTS_MAX = 5;
const PAUSE_MS = 500;
const SIZE = { cols: 80, rows: 24 };

/**
 * Opens a terminal.
 * @param {{ask: () => Promise<object>, screen: HTMLElement, input: HTMLInputElement, project: () => string | undefined, attemptsMax?: number}} terminal
 */
export async function openShell({ ask, screen, input, project, attemptsMax = ATTEMPTS_MAX }) {
  let attempts = 0;
  const open = async () => {
    try {
      const { responses: [{ providerDomain, providerId, session: { sessionIdentifier } }] } = await ask();
      const domain = providerDomain.replace("http://", "ws://").replace("https://", "wss://");
      const address = `${domain}/ucloud/${providerId}/websocket?session=${sessionIdentifier}&usernameHint=${usernameHint()}`;
      const call = `jobs.compute.${providerId}.shell.open`;
      await connect(address, {
        includeAuthentication: false,
        init: (connection) => {
          attempts = 0;
          const payload = { type: "initialize", sessionIdentifier, ...SIZE };
          connection.call({ call, payload, projectOverride: project() }, ({ type, payload }) => {
            if (type === "message" && payload.data !== undefined) screen.append(payload.data);
          });
          input.onkeydown = ({ key }) => {
            if (key.length > 1 && key !== "Enter") return;
            connection.call({ call, payload: { type: "input", data: key === "Enter" ? "\n" : key } });
          };
        },
        onClose: again,
      });
    } catch (error) {
      screen.append(`[${errorText(error)}]\n`);
      again();
    }
  };
  const again = () => {
    attempts += 1;
    if (attempts <= attemptsMax) setTimeout(open, PAUSE_MS);
    else screen.append("[The connection to the terminal was lost.]\n");
  };
  await open();
}
