// The waveform: a lane for each channel, coloured by who speaks, and under it the turns of
// each speaker. Its sizes are in CSS pixels.

import { $, clock } from "./dom.js";

const BAR = 2;
const STEP = 3;
const TURN = 5; // height of a speaker's row
const TURN_STEP = 8;
const QUIET = "none";

/** Events: `seek` with { time }, while a pointer is down on it. */
export class Waveform extends EventTarget {
  #canvas = $("wave");
  #box = $("seek");
  #peaks = [];
  #duration = 0;
  #segments = [];
  #speakers = [];
  #lanes = []; // for each channel, for each bar: { height, colour }
  #cited = [];
  #time = 0;
  #hover = null;
  #down = false;
  #asked = 0;
  #colours = {};

  constructor() {
    super();
    new ResizeObserver(() => this.#measure()).observe(this.#box);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.#measure());
    this.#listen();
  }

  /** Show the sound: peaks in [0, 1], a list for each channel. */
  showSound(peaks, duration) {
    this.#peaks = peaks;
    this.#duration = duration;
    this.#measure();
  }

  /** Show who speaks when. */
  showTurns(segments, speakers) {
    this.#segments = segments;
    this.#speakers = speakers;
    this.#box.dataset.rows = Math.min(speakers.length, 8);
    this.#measure();
  }

  /** Show the playhead. */
  showTime(time) {
    this.#time = time;
    this.#ask();
  }

  /** Mark segments that something cites. */
  cite(segments) {
    this.#cited = segments;
    this.#ask();
  }

  #listen() {
    const box = this.#box;
    const at = ({ clientX }) => {
      const { left, width } = box.getBoundingClientRect();
      return Math.max(0, Math.min(1, (clientX - left) / width)) * this.#duration;
    };
    const seek = (event) => {
      const detail = { time: at(event) };
      this.dispatchEvent(new CustomEvent("seek", { detail }));
    };
    box.addEventListener("pointerdown", (event) => {
      if (!this.#duration || event.button) return;
      this.#down = true;
      box.setPointerCapture(event.pointerId);
      seek(event);
    });
    box.addEventListener("pointermove", (event) => {
      this.#hover = event.pointerType === "mouse" ? at(event) : null;
      if (this.#down) seek(event);
      this.#ask();
    });
    const end = () => (this.#down = false);
    box.addEventListener("pointerup", end);
    box.addEventListener("pointercancel", end);
    box.addEventListener("pointerleave", () => {
      this.#hover = null;
      this.#ask();
    });
  }

  #measure() {
    const { width, height } = this.#box.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const style = getComputedStyle(this.#canvas);
    this.#colours = { [QUIET]: style.getPropertyValue("--quiet") };
    for (const name of ["text", "card", "mark"]) {
      this.#colours[name] = style.getPropertyValue(`--${name}`);
    }
    this.#speakers.forEach((speaker, at) => {
      this.#colours[speaker] = style.getPropertyValue(`--s${at % 8}`);
    });
    const bars = Math.max(1, Math.floor(width / STEP));
    this.#lanes = this.#peaks.map((peaks, channel) => this.#lane(peaks, channel, bars));
    this.#ask();
  }

  #lane(peaks, channel, bars) {
    const loudest = Math.max(...this.#peaks.map((each) => Math.max(0.05, ...each)));
    const lane = Array.from({ length: bars }, (_, bar) => {
      const from = Math.floor((bar * peaks.length) / bars);
      const to = Math.max(from + 1, Math.floor(((bar + 1) * peaks.length) / bars));
      // Quiet speech is to be seen beside loud speech.
      const height = (Math.max(0, ...peaks.slice(from, to)) / loudest) ** 0.7;
      return { height, speaker: QUIET };
    });
    for (const segment of this.#segments) {
      if (segment.channel !== null && segment.channel !== channel) continue;
      const first = Math.floor((segment.start / this.#duration) * bars);
      const last = Math.min(bars - 1, Math.floor((segment.end / this.#duration) * bars));
      for (let bar = first; bar <= last; bar += 1) lane[bar].speaker = segment.speaker ?? QUIET;
    }
    return lane;
  }

  #ask() {
    cancelAnimationFrame(this.#asked);
    this.#asked = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.#canvas.width / ratio, this.#canvas.height / ratio];
    const context = this.#canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.#duration) return;
    const rows = Math.min(this.#speakers.length, 8);
    const turns = rows ? rows * TURN_STEP + 6 : 0;
    const x = (time) => (time / this.#duration) * width;
    this.#drawCited(context, x, height);
    const lane = (height - turns) / Math.max(1, this.#lanes.length);
    this.#lanes.forEach((bars, at) => this.#drawLane(context, bars, at * lane, lane, x(this.#time)));
    this.#drawTurns(context, x, height - turns + 6, rows);
    this.#drawLine(context, x(this.#time), height, this.#colours.text, 2);
    if (this.#hover !== null) this.#drawHover(context, x(this.#hover), width, height);
  }

  #drawCited(context, x, height) {
    context.fillStyle = this.#colours.mark;
    for (const { start, end } of this.#cited) {
      context.fillRect(x(start) - 1, 0, Math.max(4, x(end) - x(start) + 2), height);
    }
  }

  #drawLane(context, bars, top, size, played) {
    const middle = top + size / 2;
    bars.forEach(({ height, speaker }, at) => {
      const tall = Math.max(1.5, height * (size - 6));
      context.globalAlpha = at * STEP <= played ? 1 : 0.5;
      context.fillStyle = this.#colours[speaker];
      context.beginPath();
      context.roundRect(at * STEP, middle - tall / 2, BAR, tall, 1);
      context.fill();
    });
    context.globalAlpha = 1;
  }

  #drawTurns(context, x, top, rows) {
    for (const { start, end, speaker } of this.#segments) {
      const row = this.#speakers.indexOf(speaker);
      if (row < 0) continue;
      context.fillStyle = this.#colours[speaker];
      const y = top + (row % rows) * TURN_STEP;
      context.beginPath();
      context.roundRect(x(start), y, Math.max(1.5, x(end) - x(start)), TURN, 2);
      context.fill();
    }
  }

  #drawLine(context, at, height, colour, width) {
    context.fillStyle = colour;
    context.fillRect(at - width / 2, 0, width, height);
  }

  #drawHover(context, at, width, height) {
    context.globalAlpha = 0.5;
    this.#drawLine(context, at, height, this.#colours.text, 1);
    context.globalAlpha = 1;
    const text = clock(this.#hover);
    context.font = "600 12px system-ui, sans-serif";
    const wide = context.measureText(text).width + 10;
    const left = Math.min(Math.max(0, at + 5), width - wide);
    context.fillStyle = this.#colours.text;
    context.beginPath();
    context.roundRect(left, 0, wide, 18, 4);
    context.fill();
    context.fillStyle = this.#colours.card;
    context.fillText(text, left + 5, 13);
  }
}
