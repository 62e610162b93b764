/** Requests to the server that this page is from, with the visitor's key if it wants one. */

import { by } from "./dom.js";

const KEPT = "myriad-key";
const AWAY = "The server cannot be reached.";
const LOST = "The connection was lost before the answer ended.";

/** What the server refused, in its words. */
export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `The server answered with status ${status}.`);
    this.status = status;
  }
}

export const key = () => sessionStorage.getItem(KEPT);

/** What is waited for; where it fails, but by being stopped, it fails in these words. */
async function worded(waited, words) {
  try {
    return await waited;
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(words);
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

/** The object that answers a request. */
export const object = async (path, options) => (await request(path, options)).json();

function sent(path, body, signal) {
  return worded(fetch(address(path), { ...posted(body), signal }), AWAY);
}

function posted(body) {
  const headers = key() ? { authorization: `Bearer ${key()}` } : {};
  if (body === undefined) return { headers };
  if (body instanceof FormData) return { method: "POST", headers, body };
  headers["content-type"] = "application/json";
  return { method: "POST", headers, body: JSON.stringify(body) };
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
  const next = () => worded(reader.read(), LOST);
  for (let piece = await next(); !piece.done; piece = await next()) {
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
