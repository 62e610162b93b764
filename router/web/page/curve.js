/** The losses of a training as a picture: a line, and points for the held-out rows. */

import { drawn } from "./svg.js";

const [WIDTH, HEIGHT] = [320, 80];

/** Of steps as a job's events give them, from the first to the last. */
export function drawLosses(steps) {
  const losses = steps.flatMap(({ train_loss: train, valid_loss: held }) => [train, held ?? 0]);
  const [most, last] = [Math.max(...losses) || 1, steps.at(-1).total_steps];
  const at = (step, loss) => [(WIDTH * step) / last, HEIGHT * (1 - loss / most)];
  const viewBox = `-4 -4 ${WIDTH + 8} ${HEIGHT + 8}`;
  const picture = drawn("svg", { viewBox, preserveAspectRatio: "xMinYMin", role: "img", class: "losses" });
  const points = steps.map(({ step, train_loss: loss }) => at(step, loss).join(","));
  picture.append(drawn("polyline", { points: points.join(" ") }));
  for (const { step, valid_loss: loss } of steps) {
    if (loss === undefined) continue;
    const [cx, cy] = at(step, loss);
    picture.append(drawn("circle", { cx, cy, r: 3 }));
  }
  const [began, ended] = [steps[0], steps.at(-1)].map((step) => step.train_loss.toFixed(2));
  picture.prepend(drawn("title", {}, `Loss, from ${began} to ${ended}; points: rows held out`));
  return picture;
}
