// Work at the centre that goes on after its request was answered, as UCloud knows it: how far it is, and what its user says to it.

import { tasksOf } from "/page/core.js";

const [section, list] = ["tasks", "task-list"].map((id) => document.getElementById(id));

/** How often UCloud is asked, in milliseconds: as often as the centre tells it. */
const PAUSE_MS = 1000;

/** How long a task is waited for that may begin, in milliseconds: a request is answered after some seconds though its work goes on. */
const BEGINS_MS = 10_000;

/** What each state is called. */
const STATES = {
  IN_QUEUE: "waits", RUNNING: "under way", SUSPENDED: "paused", SUCCESS: "done", CANCELLED: "stopped", FAILURE: "failed",
};

/** What a user can ask of a task in a state: what the button says, and what is asked. */
const WISHES = {
  IN_QUEUE: [["Stop", "CANCELLED"]],
  RUNNING: [["Pause", "SUSPENDED"], ["Stop", "CANCELLED"]],
  SUSPENDED: [["Go on", "RUNNING"], ["Stop", "CANCELLED"]],
};

let watching = 0;

/**
 * Shows a user's tasks until all are over.
 * @param {string} username
 * @param {(task: {id: number, title: string}, requestedState: string) => void} wish what buttons do
 */
export async function watchTasks(username, wish) {
  const turn = (watching += 1);
  const begun = performance.now();
  for (;;) {
    const tasks = await tasksOf(username).catch(() => []);
    if (turn !== watching) return;
    show(tasks, wish);
    const is_over = tasks.every(({ isComplete }) => isComplete);
    if (is_over && performance.now() - begun > BEGINS_MS) return;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Shows nothing: somebody else is logged in. */
export function forgetTasks() {
  watching += 1;
  list.replaceChildren();
  section.hidden = true;
}

/** A task keeps its place in the page, so that no button moves away beneath a finger. */
function show(tasks, wish) {
  section.hidden = tasks.length === 0;
  for (const task of tasks) {
    const id = `task-${task.id}`;
    let item = document.getElementById(id);
    if (item === null) {
      item = drawn(id, task);
      list.prepend(item);
    }
    update(item, task, wish);
  }
}

function drawn(id, { title, body }) {
  const item = made("li", { id });
  const what = made("label", { htmlFor: `${id}-bar`, textContent: `${title}: ${body}` });
  const bar = made("progress", { id: `${id}-bar`, max: 100 });
  bar.setAttribute("aria-describedby", `${id}-figures`);
  item.append(what, bar, made("span", { id: `${id}-figures`, className: "hint" }), made("span", { className: "wishes" }));
  return item;
}

function update(item, task, wish) {
  const { state, progress, percentage, isComplete } = task;
  const [, bar, figures, wishes] = item.children;
  if (percentage !== null) bar.value = percentage;
  else if (isComplete) bar.value = 0;
  else bar.removeAttribute("value");
  figures.textContent = [STATES[state] ?? state, progress].filter(Boolean).join(" · ");
  const said = isComplete ? "" : state;
  if (wishes.dataset.of === said) return;
  wishes.dataset.of = said;
  wishes.replaceChildren(...(WISHES[said] ?? []).map(([text, requestedState]) => {
    const button = made("button", { type: "button", className: "quiet", textContent: text });
    button.setAttribute("aria-label", `${text}: ${task.title}, ${task.body}`);
    button.addEventListener("click", () => wish(task, requestedState));
    return button;
  }));
}

function made(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
