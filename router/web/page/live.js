/** Decisions while somebody types, over one WebSocket that is opened when it is needed. */

import { address, key } from "./api.js";

export class Live {
  #socket = null;
  #sent = 0;
  #told;
  #refused;

  /** `told` is given each decision on what was sent last, `refused` why there is none. */
  constructor(told, refused) {
    [this.#told, this.#refused] = [told, refused];
  }

  /** Have `body` decided on; what was sent before and has no answer yet gets none. */
  send(body) {
    const text = JSON.stringify(body);
    this.#socket ??= this.#opened();
    if (this.#socket.readyState === WebSocket.OPEN) this.#put(text);
    else this.#socket.onopen = () => this.#put(text);
  }

  #put(text) {
    this.#sent += 1;
    this.#socket.send(text);
  }

  #opened() {
    const url = address("v1/route/live");
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, key() ? ["myriad", `myriad-key.${key()}`] : ["myriad"]);
    this.#sent = 0;
    socket.onclose = () => (this.#socket = null);
    socket.onmessage = ({ data }) => {
      const answer = JSON.parse(data);
      if (answer.error) this.#refused(answer.error.message);
      else if (answer.number === this.#sent) this.#told(answer);
    };
    return socket;
  }
}
