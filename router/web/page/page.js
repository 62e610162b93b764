/** The page: a chat, who would answer it while it is typed, whom there is to ask, and new ones. */

import { address, object } from "./api.js";
import { Catalogue, someExamples } from "./catalogue.js";
import { Conversation } from "./conversation.js";
import { drawDecision, drawSpecialist } from "./decision.js";
import { button, by, make } from "./dom.js";
import { Live } from "./live.js";
import { Making } from "./making.js";
import { showUsage } from "./usage.js";

const AUTO = "auto";
const [MAKING, USAGE] = ["#make", "#usage"];
const KEPT = { store: true, metadata: { consent: "training" } };
const COMPOSED = { routing: { compose: true } };
const PAUSE = 500; // ms without a key pressed, after which examples are worth comparing

const conversation = new Conversation();
const live = new Live(
  (decision) => model === AUTO && tell(drawDecision(decision)),
  (why) => tell(make("p", { className: "failed" }, why)),
);
const catalogue = new Catalogue(choose);
const making = new Making(tryOut);
const text = by("text");
const greeting = by("greeting").textContent;
let model = AUTO;
let pause = null;

const tell = (drawing) => by("decision").replaceChildren(drawing);

/** Whom to ask: a specialist, or by the name of a version of it; null for whoever fits. */
function choose(specialist, name = specialist?.id) {
  model = name ?? AUTO;
  by("answerer").textContent = model;
  by("auto").hidden = model === AUTO;
  if (specialist) tell(drawSpecialist(specialist));
  else typed();
  const persona = specialist?.persona;
  by("greeting").textContent = persona?.greeting ?? greeting;
  if (persona?.starters.length) offer(persona.starters);
  toChat();
}

/** Ask what has just been made, anew. */
async function tryOut(name) {
  fresh();
  choose(await object(`v1/specialists/${name.split(":")[0]}`), name);
  await catalogue.show(by("search").value.trim());
}

function offer(requests) {
  const chips = requests.map((request) => {
    return button(request, () => {
      text.value = request;
      typed();
      text.focus();
    });
  });
  by("starters").replaceChildren(...chips);
}

function typed() {
  clearTimeout(pause);
  if (model !== AUTO || !text.value.trim()) return;
  decide(false);
  pause = setTimeout(decide, PAUSE, true);
}

function decide(explain) {
  const content = text.value.trim();
  if (!content) return;
  live.send({ messages: [...conversation.messages, { role: "user", content }], explain });
}

async function send() {
  const content = text.value.trim();
  if (!content || conversation.answering) return;
  clearTimeout(pause);
  text.value = "";
  by("welcome").hidden = true;
  answering(true);
  const chosen = { ...(by("keep").checked && KEPT), ...(by("compose").checked && COMPOSED) };
  const answered = await conversation.ask(content, { model, ...chosen });
  answering(false);
  if (!answered && !text.value) text.value = content;
}

function answering(so) {
  by("send").hidden = so;
  by("stop").hidden = !so;
}

function fresh() {
  conversation.clear();
  by("welcome").hidden = false;
  toChat();
}

function toChat() {
  location.hash = "";
  turn();
  text.focus();
}

/** The chat, specialists in the making, or what was used: what the address says. */
function turn() {
  const made = location.hash === MAKING;
  const used = location.hash === USAGE;
  by("chat").hidden = made || used;
  by("make").hidden = !made;
  by("usage").hidden = !used;
  if (made) making.show();
  else making.hide();
  if (used) showUsage();
}

function onEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
}

async function begin() {
  by("code").textContent = [
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url="${address("v1")}", api_key="…")`,
    "client.chat.completions.create(",
    `    model="auto",`,
    `    messages=[{"role": "user", "content": "Hello"}],`,
    ")",
  ].join("\n");
  const models = await object("v1/models");
  const base = models.data.find(({ id }) => id !== AUTO && !id.includes("/"));
  if (base) by("base").textContent = `, ${(by("base").dataset.id = base.id)}`;
  offer(await someExamples(await catalogue.show()));
}

by("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
text.addEventListener("input", typed);
text.addEventListener("keydown", onEnter);
by("stop").addEventListener("click", () => conversation.stop());
by("auto").addEventListener("click", () => choose(null));
by("fresh").addEventListener("click", fresh);
addEventListener("hashchange", turn);
turn();
begin().catch((error) => by("starters").replaceChildren(error.message));
