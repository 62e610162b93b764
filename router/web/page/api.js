/** Requests to the server that this page is from, with the visitor's key if it wants one. */

import { by } from "./dom.js";

const KEPT = "myriad-key";
const LOST = "The connection was lost before the answer ended.";

/** What the server refused, in its words. */
export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `The server answered with status ${status}.`);
    this.status = status;
  }
}

export const key = () => sessionStorage.getItem(KEPT);

/** Fetch, with what went wrong in words. */
async function fetched(path, options) {
  try {
    return await fetch(address(path), options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error("The server cannot be reached.");
  }
}

/** The address of a path of the API, wherever this page is served. */
export const address = (path) => new URL(path, document.baseURI);

/** The answer to a request; a `body` is a form, or sent as JSON. Asks for a key where one is missing. */
export async function request(path, { body, signal } = {}) {
  const answer = await sent(path, body, signal);
  if (answer.status === 401 && (await askKey())) return refusing(await sent(path, body, signal));
  return refusing(answer);
}

function sent(path, body, signal) {
  const headers = key() ? { authorization: `Bearer ${key()}` } : {};
  if (body === undefined) return fetched(path, { headers, signal });
  if (body instanceof FormData) return fetched(path, { method: "POST", headers, signal, body });
  headers["content-type"] = "application/json";
  return fetched(path, { method: "POST", headers, signal, body: JSON.stringify(body) });
}

async function refusing(answer) {
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said.error);
}

let asking = null;

/** Whether the visitor gave a key; several requests that lack one ask once. */
function askKey() {
  asking ??= new Promise((resolve) => {
    const dialog = by("ask-key");
    dialog.addEventListener("close", () => resolve(keep(by("key").value)), { once: true });
    dialog.showModal();
  }).finally(() => (asking = null));
  return asking;
}

/** Keep what was given, also where it was copied with the "Bearer" before it. */
function keep(given) {
  const [found] = given.match(/[!-~]+(?=\s*$)/) ?? [];
  if (found) sessionStorage.setItem(KEPT, found);
  by("key").value = "";
  return found !== undefined;
}

/** The data of each event of a stream, until it says that it is done. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let piece = await next(reader); !piece.done; piece = await next(reader)) {
    const blocks = (text + piece.value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
  throw new Error(LOST);
}

async function next(reader) {
  try {
    return await reader.read();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(LOST);
  }
}
