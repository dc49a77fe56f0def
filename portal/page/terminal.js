// A terminal at the centre: the emulator draws it, the SDK carries it.

import { openTerminal } from "/sdk/index.js";

const [panel, title, screen, hang] = ["shell", "shell-title", "shell-screen", "shell-close"].map((id) => document.getElementById(id));

/** The terminal's size, in characters. */
const SIZE = { cols: 80, rows: 20 };

let emulator = null;
/** The emulator's code, once it was needed. */
let loaded = null;

/**
 * Opens a terminal in a folder.
 * @param {import("/sdk/index.js").Signer} signer
 * @param {object} session as UCloud passes it on
 * @param {string} folder
 */
export async function showTerminal(signer, session, folder) {
  const { Terminal } = await (loaded ??= load());
  hang.click();
  emulator = new Terminal({ ...SIZE, screenReaderMode: true, cursorBlink: false });
  const drawn = emulator;
  title.textContent = `Terminal in ${folder}`;
  panel.hidden = false;
  drawn.open(screen);
  let line;
  try {
    line = await openTerminal(signer, session, { ...SIZE, onData: (text) => drawn.write(text) });
  } catch (why) {
    hang.click();
    throw why;
  }
  title.textContent = `Terminal in ${folder} (${line.isSealed ? "sealed: only your own process at the centre can read it" : "not sealed"})`;
  drawn.onData((text) => line.write(text));
  drawn.focus();
  // The emulator draws only what can be seen.
  panel.scrollIntoView({ block: "nearest" });
  hang.onclick = () => {
    line.close();
    remove();
  };
  line.closed.then((reason) => drawn.write(`\r\n[${reason || "the connection has ended"}]\r\n`));
}

async function load() {
  const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/xterm/xterm.css" });
  const styled = new Promise((resolve) => (style.onload = style.onerror = resolve));
  document.head.append(style);
  const [module] = await Promise.all([import("/xterm/xterm.mjs"), styled]);
  return module;
}

function remove() {
  emulator?.dispose();
  emulator = null;
  screen.replaceChildren();
  panel.hidden = true;
}
hang.onclick = remove;
