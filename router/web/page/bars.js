/** A line of a list that shows a share as its length. */

import { make } from "./dom.js";

/** What has a share of the whole, and what is said of it. */
export function bar(name, share, said) {
  const length = make("span", { className: "length" });
  length.style.width = `${share * 100}%`;
  const label = make("span", { className: "label" }, name);
  return make("li", {}, length, label, make("span", {}, said));
}
