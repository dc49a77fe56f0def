// The centre's desk: runs what is typed, and shows the gateway's decisions, newest first.

/** Decisions that are shown. */
const SHOWN_MAX = 40;

const [form, line, prompt, said, list, silence] = ["terminal", "line", "prompt", "said", "decisions", "silence"].map(
  (id) => document.getElementById(id),
);

const account = () => document.querySelector("input[name=account]:checked").value;

for (const choice of document.querySelectorAll("input[name=account]")) {
  choice.addEventListener("change", () => {
    prompt.textContent = `${account()}$`;
  });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const typed = line.value.trim();
  if (typed === "") return;
  said.textContent = "…";
  try {
    const response = await fetch("/run", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ as: account(), line: typed }),
    });
    const { status, text, why } = await response.json();
    said.textContent = why ?? (text || (status === 0 ? "Done." : `It ended with status ${status}.`));
    if (status === 0) line.value = "";
  } catch {
    said.textContent = "The demo has ended.";
  }
});

/** What became of a request, in a word. */
const WORDS = {
  forward: ["good", "passed on"],
  deposit: ["good", "signature kept"],
  refuse: ["bad", "refused"],
  no_instance: ["", "no instance yet"],
  fail: ["bad", "failed"],
};

function show(decision) {
  const [tone, word] = WORDS[decision.decision] ?? ["", decision.decision];
  const item = document.createElement("li");
  item.className = tone;
  item.dataset.requestId = decision.requestId ?? "";
  const what = document.createElement("b");
  what.textContent = word;
  const who = [decision.call, decision.username].filter(Boolean).join(" for ");
  const more = document.createElement("span");
  const time = String(decision.time ?? "").slice(11, 19);
  more.textContent = [` ${time}`, decision.status, decision.reason].filter(Boolean).join(" · ");
  item.append(what, ` ${who}`, more);
  list.prepend(item);
  while (list.children.length > SHOWN_MAX) list.lastElementChild.remove();
  silence.hidden = true;
}

new EventSource("/decisions").addEventListener("message", (event) => show(JSON.parse(event.data)));
