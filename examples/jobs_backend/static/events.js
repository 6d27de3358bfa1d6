// Server-sent events over fetch, which can send the key as a header and tells a 401 from
// a broken connection; EventSource does neither.

import { NoKey, ask } from "./api.js";

const SILENT_MS = 75000; // the server says something far more often
const SHORTEST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

/**
 * What happens at the server, for as long as the page is open. Events:
 * - `open`: connected; what happened before is not told again, so ask for it;
 * - `lost`: it tries to connect again;
 * - `key`: a key is needed; call `open` again when there is one;
 * - `message` with { kind, data }.
 */
export class Events extends EventTarget {
  #path;
  #run = 0;
  #abort = null;
  #wake = null;

  constructor(path) {
    super();
    this.#path = path;
  }

  /** Connect, again if need be. */
  async open() {
    this.#run += 1;
    const mine = this.#run;
    this.#abort?.abort();
    let pause = SHORTEST_PAUSE_MS;
    while (mine === this.#run) {
      try {
        for await (const heard of this.#listen()) {
          if (mine !== this.#run) return;
          if (heard === null) this.dispatchEvent(new Event("open"));
          else this.dispatchEvent(new CustomEvent("message", { detail: heard }));
          pause = SHORTEST_PAUSE_MS;
        }
      } catch (error) {
        if (mine !== this.#run) return;
        if (error instanceof NoKey) {
          this.dispatchEvent(new Event("key"));
          return;
        }
      }
      if (mine !== this.#run) return;
      this.dispatchEvent(new Event("lost"));
      await this.#rest(pause * (0.5 + Math.random()));
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
  }

  /** Try at once where it waits to try again. */
  hurry() {
    this.#wake?.();
  }

  #rest(ms) {
    return new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, ms);
    });
  }

  async *#listen() {
    const abort = new AbortController();
    this.#abort = abort;
    let silence = setTimeout(() => abort.abort(), SILENT_MS);
    try {
      const answer = await ask(this.#path, {
        signal: abort.signal,
        accept: { Accept: "text/event-stream" },
      });
      yield null;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new Parser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(() => abort.abort(), SILENT_MS);
        yield* parser.push(value);
      }
    } finally {
      clearTimeout(silence);
      abort.abort();
    }
  }
}

// The format: HTML Living Standard, 9.2.6 "Interpreting an event stream".
class Parser {
  #rest = "";
  #kind = "";
  #data = [];

  *push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") yield* this.#end();
      else this.#field(line);
    }
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#kind = value;
    else if (name === "data") this.#data.push(value);
  }

  *#end() {
    const [kind, text] = [this.#kind, this.#data.join("\n")];
    this.#kind = "";
    this.#data = [];
    if (text) yield { kind: kind || "message", data: JSON.parse(text) };
  }
}
