// A client of the streaming server: for pages, and for Node 22 or later.
//
//   import { CaptureClient } from "./client.js";
//   const client = new CaptureClient("ws://127.0.0.1:8000", { rate: 16000 });
//   await client.open();
//   await client.send(bytes);          // waits while too much is unacknowledged
//   const info = await client.close(); // { session_id, duration_seconds, … }
//
// Where the connection drops it connects again and goes on from the byte that was
// acknowledged last. What the server has acknowledged is stored, and there once.

const REFUSED = 1008;
const DONE = 1000;

export class CaptureClient extends EventTarget {
  #url;
  #token;
  #query;
  #maxUnacked;
  #patienceMs;
  #socket = null;
  #ready = false;
  #closing = false;
  #notClosed = null; // why the server could not
  #error = null;
  #last = null;
  #waiting = []; // what was sent and has no answer yet, in order
  #unacked = 0;
  #acked = 0;
  #wake = [];

  /** The session's id, once `open` is done; keep it to go on with it later. */
  sessionId = "";

  /**
   * @param {string} url the server, as ws://host:port or wss://host
   * @param {object} [options] rate, channels and format of a new session, userId, token
   *   (the server's key), sessionId and offset to go on with a session,
   *   maxUnackedBytes, and patienceMs: for how long to try to connect again
   */
  constructor(url, options = {}) {
    super();
    const {
      rate = 44100,
      channels = 1,
      format = "wav",
      userId = "",
      token = "",
      sessionId = "",
      offset = 0,
      maxUnackedBytes = 1 << 20,
      patienceMs = 30000,
    } = options;
    this.#url = url.replace(/\/+$/, "");
    this.#token = token;
    this.#query = { sample_rate: rate, channels, format, user_id: userId };
    this.#maxUnacked = maxUnackedBytes;
    this.#patienceMs = patienceMs;
    this.sessionId = sessionId;
    this.#acked = offset;
  }

  /** Bytes that the server has acknowledged. */
  get acknowledgedBytes() {
    return this.#acked;
  }

  /** Connect; resolves when the session is there. */
  async open() {
    this.#connect(Date.now() + this.#patienceMs);
    await this.#until(() => this.#ready);
  }

  /** Send a chunk, an ArrayBuffer or a view of one; resolves when it is on its way. */
  async send(data) {
    const bytes =
      data instanceof ArrayBuffer
        ? new Uint8Array(data)
        : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    await this.#until(
      () => this.#waiting.length === 0 || this.#unacked + bytes.length <= this.#maxUnacked,
    );
    // The caller may use its buffer again, and this may have to be sent again.
    const chunk = bytes.slice();
    this.#waiting.push(chunk);
    this.#unacked += chunk.length;
    if (this.#ready) this.#socket.send(chunk);
  }

  /**
   * Close the session; gives the server's last word.
   *
   * Throws what stands against it, as a full disk: the session goes on then, and may be
   * closed again.
   */
  async close() {
    await this.#until(() => this.#waiting.length === 0 && this.#ready);
    this.#closing = true;
    this.#notClosed = null;
    this.#socket.send(JSON.stringify({ type: "control", action: "close_session" }));
    await this.#until(() => this.#last !== null || this.#notClosed !== null);
    if (this.#notClosed !== null) throw this.#notClosed;
    return this.#last;
  }

  /** Go away; the session stays, and can be gone on with. */
  disconnect() {
    this.#fail(new Error("disconnected"));
    this.#socket?.close(DONE);
  }

  #connect(deadline, pauseMs = 250) {
    const query = new URLSearchParams(
      this.sessionId ? { user_id: this.#query.user_id, offset: this.#acked } : this.#query,
    );
    if (this.#token) query.set("token", this.#token);
    const path = this.sessionId ? `/${this.sessionId}` : "";
    const socket = new WebSocket(`${this.#url}/api/ws/audio${path}?${query}`);
    let refusal = "";
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.error && !("chunk_count" in message)) refusal = message.error;
      if (!this.#ready && message.status === "active") this.#begin(message);
      else this.#answer(message);
      deadline = Date.now() + this.#patienceMs;
      pauseMs = 250;
    };
    socket.onclose = ({ code }) => {
      if (this.#socket !== socket) return;
      this.#ready = false;
      if (this.#error || this.#last) return;
      if (code === REFUSED || code === DONE) {
        this.#fail(new Error(refusal || "the session is over"));
      } else if (Date.now() + pauseMs > deadline) {
        this.#fail(new Error(refusal || `the connection was lost (${code})`));
      } else {
        const again = () => {
          if (!this.#error) this.#connect(deadline, Math.min(2 * pauseMs, 5000));
        };
        setTimeout(again, pauseMs * (0.5 + Math.random()));
      }
    };
  }

  #begin(message) {
    this.sessionId = message.session_id;
    this.#ready = true;
    // What the server has of these already, it drops, and answers all the same.
    for (const chunk of this.#waiting) this.#socket.send(chunk);
    if (this.#closing) {
      this.#socket.send(JSON.stringify({ type: "control", action: "close_session" }));
    }
    this.#tell();
  }

  #answer(message) {
    if (message.status === "completed") {
      this.#last = message;
    } else if (message.status === "active" || message.error) {
      if (!("chunk_count" in message)) return;
      // One answer for each chunk, in their order.
      const chunk = this.#waiting.shift();
      if (chunk) {
        this.#unacked -= chunk.length;
        if (message.status === "active") this.#acked += chunk.length;
        const kind = message.status === "active" ? "ack" : "failed";
        this.dispatchEvent(new CustomEvent(kind, { detail: message }));
      } else if (this.#closing) {
        this.#closing = false;
        this.#notClosed = new Error(message.detail);
      }
    }
    this.#tell();
  }

  #fail(error) {
    this.#error ??= error;
    this.#ready = false;
    this.#tell();
  }

  #tell() {
    for (const wake of this.#wake.splice(0)) wake();
  }

  async #until(condition) {
    while (!condition()) {
      if (this.#error) throw this.#error;
      if (this.#last) throw new Error("the session is completed");
      await new Promise((resolve) => this.#wake.push(resolve));
    }
  }
}
