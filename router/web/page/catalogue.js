/** The specialists that are here, by what is searched for. */

import { object } from "./api.js";
import { button, by, make } from "./dom.js";

const PAGE = 20;
const STARTERS = 3;

export class Catalogue {
  #choose;
  #search = "";
  #cursor = null;

  /** `choose` is given the specialist that somebody points at. */
  constructor(choose) {
    this.#choose = choose;
    const search = () => this.show(by("search").value.trim());
    by("search").addEventListener("input", () => search().catch(lacking));
    by("more").addEventListener("click", () => this.#append(this.#cursor).catch(lacking));
  }

  /** List what fits `search`; the latest search wins. Gives what is listed. */
  async show(search = "") {
    this.#search = search;
    const page = await this.#page(null);
    if (search !== this.#search) return [];
    by("specialists").replaceChildren();
    this.#list(page);
    return page.data;
  }

  async #append(cursor) {
    const searched = this.#search;
    const page = await this.#page(cursor);
    if (searched === this.#search) this.#list(page);
  }

  async #page(cursor) {
    const query = new URLSearchParams({ limit: PAGE, search: this.#search });
    if (cursor) query.set("cursor", cursor);
    return object(`v1/specialists?${query}`);
  }

  #list({ data, next_cursor: cursor }) {
    this.#cursor = cursor;
    by("more").hidden = cursor === null;
    by("specialists").append(...data.map((found) => this.#row(found)));
  }

  #row(found) {
    const name = button(found.id, () => this.#choose(found));
    return make("li", {}, name, make("p", { title: found.description }, found.description));
  }
}

function lacking(error) {
  by("more").hidden = true;
  by("specialists").replaceChildren(make("li", { className: "failed" }, error.message));
}

/** Requests that cards give as examples, one of each of a few specialists. */
export async function someExamples(specialists) {
  const cards = specialists.slice(0, STARTERS).map(async ({ id }) => {
    const card = await object(`v1/specialists/${id}`);
    return card.persona?.starters[0] ?? card.examples[0];
  });
  return (await Promise.all(cards)).filter(Boolean);
}
