// The approval window: at most one. The page that waits does not choose its place or size.

import { browser } from "./browser.js";

const PAGE = "extension/windows/approval.html";
const ID = "approval-window";

/** Ends with the last opening: two questions at once open one window. @type {Promise<unknown>} */
let turn = Promise.resolve();

/** Shows the questions that wait: opens the window, or brings it to the front. @returns {Promise<void>} */
export function showQuestions() {
  const opened = turn.then(async () => {
    const { [ID]: id } = await browser.storage.session.get(ID);
    try {
      if (typeof id !== "number") throw new Error("none");
      await browser.windows.update(id, { focused: true, drawAttention: true });
    } catch {
      const made = await browser.windows.create({ url: browser.runtime.getURL(PAGE), type: "popup", width: 560, height: 720, focused: true });
      await browser.storage.session.set({ [ID]: made.id });
    }
  });
  turn = opened.catch(() => {});
  return opened;
}

/** Calls `closed` when that window was closed. @param {() => void} closed */
export function onClosed(closed) {
  browser.windows.onRemoved.addListener(async (/** @type {number} */ id) => {
    const { [ID]: ours } = await browser.storage.session.get(ID);
    if (id === ours) closed();
  });
}
