// The centre's desk: runs commands as the user, shows what they say, types the user's answers, and lists the gateway's
// decisions, newest first.

/** Decisions that are shown. */
const SHOWN_MAX = 40;

const [form, line, prompt, enter, said, list, silence] = [
  "terminal", "line", "prompt", "enter", "said", "decisions", "silence",
].map((id) => document.getElementById(id));

/** Each account's terminal: what it shows, and the number of the command that runs. */
const terminals = new Map();

const account = () => document.querySelector("input[name=account]:checked").value;

function terminal(name = account()) {
  if (!terminals.has(name)) terminals.set(name, { before: "", shown: "", command: null });
  return terminals.get(name);
}

function draw() {
  const { before, shown, command } = terminal();
  said.textContent = before + shown;
  said.scrollTop = said.scrollHeight;
  prompt.textContent = command === null ? `${account()}$` : "Answer:";
  enter.textContent = command === null ? "Run" : "Enter";
  line.placeholder = command === null ? "countersign connect approve …" : "";
}

for (const choice of document.querySelectorAll("input[name=account]")) choice.addEventListener("change", draw);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const typed = line.value.trim();
  const name = account();
  const its = terminal(name);
  if (its.command === null && typed === "") return;
  line.value = "";
  try {
    if (its.command !== null) {
      await post("/answer", { command: its.command, line: typed });
    } else {
      its.before += `${its.shown}${name}$ ${typed}\n`;
      its.shown = "";
      its.command = (await post("/run", { as: name, line: typed })).command;
      follow(its);
    }
  } catch (why) {
    its.shown += `${why instanceof TypeError ? "The demo has ended." : why.message}\n`;
  }
  draw();
});

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.why);
  return answer;
}

/** Shows what a command says until it ends. */
function follow(its) {
  const source = new EventSource(`/said?command=${its.command}`);
  source.addEventListener("message", ({ data }) => {
    const { text, status } = JSON.parse(data);
    its.shown = text;
    if (status !== null) {
      source.close();
      its.command = null;
      if (its.shown !== "" && !its.shown.endsWith("\n")) its.shown += "\n";
      if (status !== 0 && its.shown === "") its.shown = `It ended with status ${status}.\n`;
    }
    draw();
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return;
    its.command = null;
    draw();
  });
}

/** What became of a request, in a word. */
const WORDS = {
  forward: ["good", "passed on"],
  deposit: ["good", "signature kept"],
  refuse: ["bad", "refused"],
  no_instance: ["", "no instance yet"],
  fail: ["bad", "failed"],
};

function show(decision) {
  if (decision.decision === "answered") return; // what came of it is seen at UCloud's page
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
draw();
