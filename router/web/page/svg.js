/** Elements of pictures. */

const NAMESPACE = "http://www.w3.org/2000/svg";

/** An element with attributes, and children: elements or texts. */
export function drawn(tag, attributes, ...children) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
