/** What was said, and who said it. */

import { events, request } from "./api.js";
import { drawDecision, drawSteps } from "./decision.js";
import { button, by, make, percent } from "./dom.js";

const NEAR = 80; // pixels from its end, within which a list is kept at it

export class Conversation {
  /** As the API takes them. */
  messages = [];
  #stopping = null;

  get answering() {
    return this.#stopping !== null;
  }

  clear() {
    this.stop();
    this.messages = [];
    by("messages").replaceChildren();
  }

  stop() {
    this.#stopping?.abort();
  }

  /**
   * Ask, show the answer as it comes, and give it; of what failed it says why.
   * `wanted` is what the API takes beside the messages, the model above all.
   */
  async ask(text, wanted) {
    const answer = new Answer();
    const said = make("li", { className: "asked" }, text);
    by("messages").append(said, answer.element);
    by("messages").scrollTo(0, by("messages").scrollHeight);
    const messages = [...this.messages, { role: "user", content: text }];
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    try {
      await answer.read({ ...wanted, messages }, signal);
    } catch (error) {
      answer.fail(signal.aborted ? "Stopped." : error.message);
    }
    this.#stopping = null;
    answer.end();
    // A conversation that was cleared meanwhile has no place for it.
    if (answer.text && said.isConnected) {
      this.messages = [...messages, { role: "assistant", content: answer.text }];
    }
    return answer.text;
  }
}

class Answer {
  text = "";
  #began = performance.now();
  #first = null;
  #steps = false;
  #said = make("div", { className: "said" });
  #by = make("summary", {}, "…");
  #why = make("details", {}, this.#by);
  #thought = make("div", { className: "step" });
  element = make("li", { className: "answer" }, this.#why, this.#said);

  async read(asked, signal) {
    const body = { ...asked, stream: true, stream_options: { include_usage: true } };
    const answer = await request("v1/chat/completions", { body, signal });
    for await (const chunk of events(answer)) following(() => this.#take(chunk));
  }

  #take(chunk) {
    if (chunk.error) throw new Error(chunk.error.message);
    if (chunk.routing) this.#decided(chunk.id, chunk.routing);
    const { content: piece, reasoning_content: thought } = chunk.choices[0]?.delta ?? {};
    if (piece || thought) this.#first ??= performance.now();
    if (thought) this.#thinking(thought);
    if (piece) {
      this.#said.append(piece);
      this.text += piece;
    }
    if (chunk.usage) this.#measured(chunk.usage.completion_tokens);
  }

  #thinking(thought) {
    if (!this.#thought.isConnected) {
      this.#said.before(make("details", {}, make("summary", {}, "Thoughts"), this.#thought));
    }
    this.#thought.append(thought);
  }

  #decided(id, routing) {
    this.id = id;
    const name = routing.specialist ? `${routing.specialist} · version ${routing.version}` : "the base";
    const likely = routing.specialist ? routing.score : routing.base;
    this.#by.textContent = likely === null ? name : `${name} · ${percent(likely)}`;
    this.#why.append(drawDecision(routing));
    if (!routing.steps) return;
    this.#why.append(drawSteps(routing.steps));
    this.#steps = true;
  }

  #measured(tokens) {
    const [first, rest] = [this.#first - this.#began, performance.now() - this.#first];
    // The steps' tokens are counted too, and came before the first one here.
    const rate = tokens > 1 && !this.#steps ? `, ${Math.round((tokens - 1) / (rest / 1000))} tokens/s` : "";
    const told = `first token after ${Math.round(first)} ms, ${tokens} tokens${rate}`;
    if (this.#first !== null) this.#why.append(make("p", { className: "quiet" }, told));
  }

  fail(why) {
    this.element.append(make("p", { className: "failed", role: "alert" }, why));
  }

  end() {
    this.element.classList.add("ended");
    if (this.id && this.text) this.element.append(rating(this.id));
  }
}

/** Add to the list; whoever reads its end goes on reading it. */
function following(add) {
  const list = by("messages");
  const near = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR;
  add();
  if (near) list.scrollTo(0, list.scrollHeight);
}

/** Buttons that say what somebody thinks of an answer, and what it should have been. */
function rating(id) {
  const place = make("p", { className: "rating" });
  const rate = async (opinion, correction) => {
    try {
      await request("v1/feedback", { body: { id, rating: opinion, ...(correction && { correction }) } });
      place.replaceChildren("Thank you.");
    } catch (error) {
      place.replaceChildren(error.message);
    }
  };
  const better = () => {
    const text = make("textarea", { rows: 2, ariaLabel: "What it should have said" });
    const send = () => rate("bad", text.value.trim());
    place.replaceChildren(text, button("Send", send));
    text.focus();
  };
  place.append(
    button("Good", () => rate("good")),
    button("Should be otherwise", better),
  );
  return place;
}
