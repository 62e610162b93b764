/** Elements. Text from elsewhere becomes text nodes alone, never markup. */

export const by = (id) => document.getElementById(id);

/** An element with properties of its own, and children: elements or texts. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const button = (label, onclick) => make("button", { type: "button", onclick }, label);

/** A share as people read it: never 0% or 100% of what is not quite that. */
export function percent(share) {
  if (share > 0 && share < 0.01) return "<1%";
  if (share < 1 && share > 0.99) return ">99%";
  return `${Math.round(share * 100)}%`;
}
