/** Specialists in the making: what is wanted, how far it is, and what came of it. */

import { object, request } from "./api.js";
import { drawLosses } from "./curve.js";
import { scores } from "./decision.js";
import { button, by, make } from "./dom.js";

const UNAUTHORIZED = 401;
const EVERY = 2000; // ms from one look at the jobs to the next
const [FEW, ALL] = [20, 1000]; // events that are asked for at once
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const DOINGS = { paused: ["resume", "cancel"] };
const UNDER_WAY = ["pause", "cancel"];

export class Making {
  #jobs = new Map();
  #tried;
  #look = 0;

  /** `tried` is given the name of a finished specialist that somebody wants to ask. */
  constructor(tried) {
    this.#tried = tried;
    by("wanted").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#create(event.target);
    });
  }

  /** Look at the jobs, again and again, until they are looked at anew or hidden. */
  async show() {
    const look = ++this.#look;
    try {
      const { data } = await object("v1/fine_tuning/jobs?limit=10");
      await Promise.all(data.map((job) => this.#drawn(job).tell(job)));
      list(data.map((job) => this.#drawn(job).element));
    } catch (error) {
      list([make("li", { className: "failed" }, error.message)]);
      if (error.status === UNAUTHORIZED) return; // Who gave no key is not asked every two seconds.
    }
    setTimeout(() => look === this.#look && this.show(), EVERY);
  }

  hide() {
    this.#look += 1;
  }

  #drawn(job) {
    if (!this.#jobs.has(job.id)) this.#jobs.set(job.id, new Job(this.#tried, () => this.show()));
    return this.#jobs.get(job.id);
  }

  async #create(form) {
    const [send, said] = [form.querySelector("button"), by("wanting")];
    [send.disabled, said.textContent] = [true, "Sending …"];
    try {
      await request("v1/fine_tuning/jobs", { body: await job(new FormData(form)) });
      said.textContent = "";
      form.reset();
      await this.show();
    } catch (error) {
      said.textContent = error.message;
    }
    send.disabled = false;
  }
}

/** Put elements into the list; where they are there already whoever is on a button stays on it. */
function list(elements) {
  const there = [...by("jobs").children];
  const same = there.length === elements.length && there.every((each, at) => each === elements[at]);
  if (!same) by("jobs").replaceChildren(...elements);
}

/** What is asked for, in the words of the API; its files are sent. */
async function job(wanted) {
  return {
    model: by("base").dataset.id,
    suffix: wanted.get("name"),
    description: wanted.get("description"),
    effort: wanted.get("effort"),
    ...(await source(wanted.getAll("files"), wanted.get("from") === "rows")),
  };
}

async function source(files, areRows) {
  if (areRows && files.length > 1) throw new Error("Rows come in one file; choose one.");
  const ids = [];
  for (const file of files) ids.push(await sent(file, areRows ? "fine-tune" : "user_data"));
  return areRows ? { training_file: ids[0] } : { creation: { files: ids } };
}

async function sent(file, purpose) {
  const form = new FormData();
  form.append("purpose", purpose);
  form.append("file", file);
  return (await object("v1/files", { body: form })).id;
}

class Job {
  #tried;
  #changed;
  #status = null;
  #events = []; // the newest first
  #said = make("p", { className: "quiet" });
  #bar = make("progress", { hidden: true });
  #results = make("div");
  #buttons = make("p", { className: "buttons" });
  #name = make("strong");
  #state = make("span", { className: "quiet" });
  element = make(
    "li",
    {},
    make("p", {}, this.#name, " ", this.#state),
    this.#bar,
    this.#said,
    this.#results,
    this.#buttons,
  );

  /** `tried` as above; `changed` is called when a button has changed how far it is. */
  constructor(tried, changed) {
    [this.#tried, this.#changed] = [tried, changed];
  }

  /** Show how far it is; of what has ended nothing changes any more. */
  async tell(job) {
    if (ENDED.has(this.#status)) return;
    await this.#hear(job, this.#events.length ? FEW : ALL);
    const steps = this.#events
      .filter(({ type }) => type === "metrics")
      .map((event) => event.data)
      .reverse();
    this.#name.textContent = job.specialist;
    this.#state.textContent = [job.status.replaceAll("_", " "), left(job)].filter(Boolean).join(", ");
    this.#said.textContent = job.error?.message ?? this.#events[0]?.message ?? "";
    this.#said.classList.toggle("failed", job.status === "failed");
    this.#progress(job, steps.at(-1));
    this.#results.replaceChildren(...(steps.length > 1 ? [drawLosses(steps)] : []), ...scores(job));
    if (job.status !== this.#status) this.#offer(job);
    this.#status = job.status;
  }

  /** Ask for the newest events; where none of them is known, for all. */
  async #hear(job, limit) {
    const { data } = await object(`v1/fine_tuning/jobs/${job.id}/events?limit=${limit}`);
    const known = data.findIndex(({ id }) => id === this.#events[0]?.id);
    if (known < 0 && data.length === limit && limit < ALL) return this.#hear(job, ALL);
    this.#events = known < 0 ? data : [...data.slice(0, known), ...this.#events];
  }

  #progress(job, last) {
    this.#bar.hidden = ENDED.has(job.status) || !last;
    if (last) Object.assign(this.#bar, { max: last.total_steps, value: last.step });
  }

  #offer(job) {
    const doings = ENDED.has(job.status) ? [] : (DOINGS[job.status] ?? UNDER_WAY);
    const buttons = doings.map((doing) => button(doing, () => this.#do(job, doing)));
    const made = job.fine_tuned_model;
    if (made) buttons.push(button(`Ask ${made}`, () => this.#saying(this.#tried(made))));
    this.#buttons.replaceChildren(...buttons);
  }

  #do(job, doing) {
    this.#saying(request(`v1/fine_tuning/jobs/${job.id}/${doing}`, { body: {} }).then(this.#changed));
  }

  /** What is done by a button says why it was not. */
  #saying(done) {
    done.catch((error) => (this.#said.textContent = error.message));
  }
}

function left({ estimated_finish: then }) {
  if (then === null) return "";
  const minutes = Math.ceil((then * 1000 - Date.now()) / 60_000);
  return minutes > 0 ? `about ${minutes} min left` : "nearly there";
}
