/** What was used lately: a picture of the days, and who answered. */

import { object } from "./api.js";
import { bar } from "./bars.js";
import { by, make } from "./dom.js";
import { drawn } from "./svg.js";

const [DAYS, DAY] = [30, 86_400]; // a day in seconds
const [WIDTH, HEIGHT, GAP] = [600, 120, 3];
const SHOWN = 12; // of those who answered

const number = new Intl.NumberFormat();

/** Show what is known of the last days, or why it is not. */
export async function showUsage() {
  try {
    by("used").replaceChildren(...drawUsage(await days()));
  } catch (error) {
    by("used").replaceChildren(make("p", { className: "failed" }, error.message));
  }
}

async function days() {
  const first = (Math.floor(Date.now() / 1000 / DAY) - DAYS + 1) * DAY;
  const query = new URLSearchParams({ start_time: first, limit: DAYS, group_by: "model" });
  return (await object(`v1/organization/usage/completions?${query}`)).data;
}

function drawUsage(data) {
  const all = data.flatMap(({ results }) => results);
  if (!all.length) return [make("p", { className: "quiet" }, "Nothing was asked for so far.")];
  const total = sum(all);
  return [make("p", {}, `${told(total)}.`), drawDays(data), answerers(all, total)];
}

/** A column for each day: tokens that were read below, those that were written above. */
function drawDays(data) {
  const amounts = data.map(({ results }) => sum(results));
  const most = Math.max(...amounts.map(tokens)) || 1;
  const width = WIDTH / data.length;
  const column = (name, at, from, count) => {
    const [height, top] = [(HEIGHT * count) / most, HEIGHT * (1 - (from + count) / most)];
    return drawn("rect", { class: name, x: at * width, y: top, width: width - GAP, height });
  };
  const columns = amounts.map((amount, at) => {
    const day = new Date(data[at].start_time * 1000).toISOString().slice(0, 10);
    return drawn(
      "g",
      {},
      drawn("title", {}, `${day}: ${told(amount)}`),
      column("room", at, 0, most), // so that a day of little can be pointed at
      column("read", at, 0, amount.read),
      column("written", at, amount.read, amount.written),
    );
  });
  const title = drawn("title", {}, `Tokens read and written on each of the last ${data.length} days`);
  return drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "days" }, title, ...columns);
}

/** Who answered, whoever did most first. */
function answerers(all, total) {
  const names = [...new Set(all.map(({ model }) => model))];
  const rows = names
    .map((name) => [name, sum(all.filter(({ model }) => model === name))])
    .sort(([, one], [, other]) => tokens(other) - tokens(one))
    .slice(0, SHOWN)
    .map(([name, amount]) => {
      const said = `${asked(amount)}, ${number.format(tokens(amount))} tokens`;
      const row = bar(name ?? "others", tokens(amount) / (tokens(total) || 1), said);
      return Object.assign(row, { title: told(amount) });
    });
  return make("ul", { className: "bars" }, ...rows);
}

function sum(results) {
  const of = (field) => results.reduce((so, result) => so + result[field], 0);
  return {
    requests: of("num_model_requests"),
    read: of("input_tokens"),
    written: of("output_tokens"),
  };
}

const tokens = ({ read, written }) => read + written;

const asked = ({ requests }) => `${number.format(requests)} ${requests === 1 ? "request" : "requests"}`;

function told(amount) {
  const [read, written] = [amount.read, amount.written].map(number.format);
  return `${asked(amount)}, ${read} tokens read and ${written} written`;
}
