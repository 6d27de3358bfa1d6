// A client of live transcription: samples in, words out.
//
//   const client = new LiveClient("wss://host/ws", { rate: 16000 });
//   client.addEventListener("text", ({ detail }) => show(detail));
//   client.open();
//   client.send(samples);   // Int16Array, mono
//   await client.stop();    // resolves when all words are final
//
// Where the connection drops it connects again. Sound whose words are not final is kept
// until they are, and sent again; so nothing is lost but what is older than KEPT_S, and
// that is told. A server that fails TRIES times at the same sound is not asked again.

const KEPT_S = 120;
const UNSENT_S = 1; // more than that waits in the browser where the server is slow
const TRIES = 3;
const PATIENCE_MS = 30000; // for words to be heard, once there is no more sound
const PAUSE_S = 10; // a network may be slow: only `stop` ends a recording at once
const LONGEST_PAUSE_MS = 5000;

// Browsers do not tell pages which of it it is.
const NO_SOCKET =
  "The server takes no WebSocket from here: it is not running any more, it does not know " +
  "this page's address (VOICEPIPE_ALLOWED_ORIGINS, FORWARDED_ALLOW_IPS), or something " +
  "between lets none through.";

const REFUSED = 1008;
const BROKEN = 1011;
const FULL = 1013;

// Python counts characters, JavaScript halves of some.
function units(text, characters) {
  return Array.from(text).slice(0, characters).join("").length;
}

/**
 * Events:
 * - `ready` with { engine, degraded, loading, again }: the server listens;
 * - `text` with { id, start, end, text, stable, final, words, lag }, times in seconds:
 *   a segment, whose `id` stays the same; the first `stable` of its text, counted as
 *   JavaScript does, never change; `lag` counts what the server does not have yet too;
 * - `lost` with { message }: it tries to connect again;
 * - `dropped` with { seconds }: sound that was given up;
 * - `failed` with { message }: it does not try again.
 */
export class LiveClient extends EventTarget {
  #url;
  #rate;
  #offset;
  #loads;
  #socket = null;
  #ready = false;
  #loading = false;
  #over = false;
  #stopping = false;
  #epoch = -1;
  #base = 0; // the frame at which this connection began
  #frames = 0; // all that were sent or are to be
  #kept = []; // [frame, samples] whose words are not final
  #said = "";
  #attempts = 0; // connections since one that gave words
  #failures = 0; // since words were final
  #timer = 0;
  #patience = 0;
  #stopped;
  #resolve;

  /**
   * @param {string} url the server's, with `?token=` where it wants a key
   * @param {object} options rate in Hz; offset: the second at which times begin; and
   *   loads: tells by a promise whether the server's engine is still being loaded
   */
  constructor(url, { rate, offset = 0, loads = async () => false }) {
    super();
    this.#url = url;
    this.#rate = rate;
    this.#offset = offset;
    this.#loads = loads;
    this.#stopped = new Promise((resolve) => (this.#resolve = resolve));
  }

  /** Seconds of sound so far. */
  get seconds() {
    return this.#frames / this.#rate;
  }

  /** Connect. */
  open() {
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#said = "";
    socket.onopen = () => {
      const start = { sample_rate: this.#rate, channels: 1, partials: true, pause: PAUSE_S };
      socket.send(JSON.stringify({ type: "start", ...start }));
    };
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#lose(code);
    };
  }

  /** Send samples; they are kept until their words are final. */
  send(samples) {
    if (this.#over || !samples.length) return;
    this.#kept.push([this.#frames, samples]);
    this.#frames += samples.length;
    // Where nobody speaks nothing becomes final; what the server has heard may go. A slow
    // one has not heard it.
    const unsent = this.#ready ? this.#socket.bufferedAmount / samples.BYTES_PER_ELEMENT : 0;
    if (this.#ready) this.#socket.send(samples);
    if (unsent > UNSENT_S * this.#rate) return;
    const dropped = this.#trim();
    if (dropped && !this.#ready) this.#tell("dropped", { seconds: dropped / this.#rate });
  }

  /** Say that there is no more; resolves when all is final, to false if that failed. */
  stop() {
    this.#stopping = true;
    this.#wait();
    if (this.#ready) this.#sendStop();
    return this.#stopped;
  }

  // Wait for the words that are missing, but not for ever.
  #wait() {
    clearTimeout(this.#patience);
    if (!this.#stopping || this.#over) return;
    this.#patience = setTimeout(() => this.#doubt(), PATIENCE_MS);
  }

  // A server that loads its engine says nothing meanwhile, and has its time afterwards too.
  async #doubt() {
    const patience = this.#patience;
    const was = this.#loading;
    this.#loading = was && (await this.#loads().catch(() => false));
    if (this.#over || patience !== this.#patience) return;
    if (was) this.#wait();
    else this.#fail("The server does not answer. The last words are missing.");
  }

  #sendStop() {
    this.#socket.send(JSON.stringify({ type: "stop" }));
  }

  #hear(message) {
    if (message.type === "transcription") this.#take(message);
    else if (message.type === "error") this.#said = message.message;
    else if (message.event === "started") this.#begin(message);
    else if (message.event === "ended") this.#end(true);
  }

  #begin({ engine, degraded, loading }) {
    this.#epoch += 1;
    this.#ready = true;
    this.#loading = loading;
    this.#wait();
    this.#tell("ready", { engine, degraded, loading, again: this.#epoch > 0 });
    this.#base = this.#kept[0]?.[0] ?? this.#frames;
    for (const [, samples] of this.#kept) this.#socket.send(samples);
    if (this.#stopping) this.#sendStop();
  }

  #take(message) {
    this.#attempts = 0;
    if (message.final) this.#failures = 0;
    this.#wait();
    const base = this.#base / this.#rate;
    const at = (second) => this.#offset + base + second;
    this.#tell("text", {
      id: `${this.#epoch}:${message.segment_id}`,
      start: at(message.start),
      end: at(message.end),
      text: message.text,
      stable: units(message.text, message.stable),
      final: message.final,
      words: (message.words ?? []).map(({ word, start, end }) => {
        return { text: word, start: at(start), end: at(end) };
      }),
      lag: Math.max(message.lag, this.seconds - base - message.end),
    });
    if (message.final) this.#forget(this.#base + message.end * this.#rate);
  }

  // Forget sound before a frame, whose words are final.
  #forget(frame) {
    while (this.#kept.length && this.#kept[0][0] + this.#kept[0][1].length <= frame) {
      this.#kept.shift();
    }
    const [first] = this.#kept;
    if (first && first[0] < frame) {
      const known = Math.floor(frame - first[0]);
      this.#kept[0] = [first[0] + known, first[1].subarray(known)];
    }
  }

  #trim() {
    const oldest = this.#frames - KEPT_S * this.#rate;
    let dropped = 0;
    while (this.#kept.length && this.#kept[0][0] < oldest) {
      dropped += this.#kept.shift()[1].length;
    }
    return dropped;
  }

  #lose(code) {
    const was = this.#ready;
    this.#ready = false;
    if (this.#over) return;
    const first = this.#epoch < 0;
    // Who only waits for the last words does not wait for a server that fails anyhow.
    if (code === BROKEN || (was && this.#stopping)) this.#failures += 1;
    if (code === REFUSED || (code === FULL && first)) {
      this.#fail(this.#said || "The server cannot be reached.");
      return;
    }
    if (this.#failures >= TRIES) {
      this.#fail(`${this.#said || "The server fails"}. The last words are missing.`);
      return;
    }
    if (first && this.#attempts >= TRIES) {
      this.#fail(this.#said || NO_SOCKET);
      return;
    }
    if (was || !first) this.#tell("lost", { message: this.#said });
    const pause = Math.min(LONGEST_PAUSE_MS, 250 * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.open(), pause * (0.5 + Math.random() / 2));
  }

  #fail(message) {
    this.#tell("failed", { message });
    this.#end(false);
  }

  #end(complete) {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#patience);
    this.#socket.close();
    this.#resolve(complete);
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
