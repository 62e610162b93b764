/** The page: a chat, who would answer it while it is typed, and whom there is to ask. */

import { address, request } from "./api.js";
import { Catalogue, someExamples } from "./catalogue.js";
import { Conversation } from "./conversation.js";
import { drawDecision, drawSpecialist } from "./decision.js";
import { by, make } from "./dom.js";
import { Live } from "./live.js";

const AUTO = "auto";
const PAUSE = 500; // ms without a key pressed, after which examples are worth comparing

const conversation = new Conversation();
const live = new Live(
  (decision) => model === AUTO && tell(drawDecision(decision)),
  (why) => tell(make("p", { className: "failed" }, why)),
);
const catalogue = new Catalogue(choose);
const text = by("text");
let model = AUTO;
let pause = null;

const tell = (drawing) => by("decision").replaceChildren(drawing);

/** Whom to ask: a specialist, or null for whoever fits. */
function choose(specialist) {
  model = specialist?.id ?? AUTO;
  by("answerer").textContent = model;
  by("auto").hidden = model === AUTO;
  if (specialist) tell(drawSpecialist(specialist));
  else typed();
  const persona = specialist?.persona;
  if (persona?.greeting) by("greeting").textContent = persona.greeting;
  if (persona?.starters.length) offer(persona.starters);
  text.focus();
}

function offer(requests) {
  const chips = requests.map((request) => {
    const onclick = () => {
      text.value = request;
      typed();
      text.focus();
    };
    return make("button", { type: "button", onclick }, request);
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
  const answered = await conversation.ask(content, model);
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
  text.focus();
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
  const models = await (await request("v1/models")).json();
  const base = models.data.find(({ id }) => id !== AUTO && !id.includes("/"));
  if (base) by("base").textContent = `, ${base.id}`;
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
begin().catch((error) => by("starters").replaceChildren(error.message));
