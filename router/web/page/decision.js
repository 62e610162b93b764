/** What is shown of a decision, and of a specialist. */

import { bar } from "./bars.js";
import { make, percent } from "./dom.js";

const SHOWN = 4;

/** How likely each candidate is meant, and what speaks for the likeliest. */
export function drawDecision(decision) {
  const drawing = make("div", { className: "decision" }, make("p", {}, decision.reason));
  if (decision.base !== null) drawing.append(bars(decision));
  const near = (decision.examples ?? []).filter(({ specialist }) => {
    return specialist === decision.candidates[0]?.specialist;
  });
  if (near.length) drawing.append(examples(near));
  return drawing;
}

/** What came of the steps before an answer, where several worked on it. */
export function drawSteps(steps) {
  const rows = steps.map(({ specialist, content, error }) => {
    const by = make("strong", {}, specialist ?? "the base");
    return make("li", {}, by, make("p", { className: "step" }, content ?? error));
  });
  return make("div", {}, make("h3", {}, "Before that"), make("ol", {}, ...rows));
}

/** What a specialist's card says of it. */
export function drawSpecialist({ id, version, description, language, license, evaluation }) {
  const facts = [`version ${version}`, language, license].filter(Boolean).join(" · ");
  return make(
    "div",
    { className: "decision" },
    make("p", {}, make("strong", {}, id), " answers, whatever is asked."),
    make("p", {}, description),
    make("p", { className: "quiet" }, facts),
    ...scores({ evaluation }),
  );
}

/** Lines of what was measured on held-out rows. */
export function scores({ evaluation }) {
  return evaluation.slice(0, SHOWN).map(({ metric, value, base_value: base }) => {
    const than = base === null ? "" : ` (the base: ${base.toPrecision(3)})`;
    return make("p", { className: "quiet" }, `${metric.replaceAll("_", " ")} ${value.toPrecision(3)}${than}`);
  });
}

function bars({ candidates, base, specialist }) {
  const rows = candidates.slice(0, SHOWN).map((candidate) => {
    return share(candidate.specialist, candidate.score, candidate.specialist === specialist);
  });
  return make("ul", { className: "bars" }, ...rows, share("none of them: the base", base, !specialist));
}

function share(name, probability, chosen) {
  const row = bar(name, probability, percent(probability));
  row.classList.toggle("chosen", chosen);
  return row;
}

function examples(near) {
  const heading = make("h3", {}, `Near to it, of ${near[0].specialist}`);
  const rows = near.map(({ text }) => make("li", { title: text }, make("q", {}, text)));
  return make("div", { className: "examples" }, heading, make("ul", {}, ...rows));
}
