// The recording's sound: plays, seeks, and tells where it is.

import { $, clock, tell } from "./dom.js";

const STEP_S = 5;
const LEAP_S = 30;
const SPEED = "voicepipe-speed";

/** Events: `time` with { time, jump }, with each frame while it plays; `begin`; `fault`. */
export class Player extends EventTarget {
  #audio = $("audio");
  #seek = $("seek");
  /** Whether what is loaded cannot be played. */
  faulty = false;

  #length = 0; // what the server says; some formats do not say it themselves
  #frame = 0;

  constructor() {
    super();
    const audio = this.#audio;
    $("play").addEventListener("click", () => this.toggle());
    $("back").addEventListener("click", () => this.seek(this.time - 10));
    $("forth").addEventListener("click", () => this.seek(this.time + 10));
    $("speed").value = localStorage.getItem(SPEED) ?? "1";
    $("speed").addEventListener("change", ({ target }) => {
      localStorage.setItem(SPEED, target.value);
      audio.playbackRate = Number(target.value);
    });
    for (const kind of ["play", "pause", "ended"]) audio.addEventListener(kind, () => this.#turn());
    audio.addEventListener("play", () => this.dispatchEvent(new Event("begin")));
    audio.addEventListener("loadedmetadata", () => {
      audio.playbackRate = Number($("speed").value);
      this.#show(true);
    });
    audio.addEventListener("seeked", () => this.#show(true));
    audio.addEventListener("error", () => this.#fail());
    // It stays at the top of the page; what scrolls under it has to know.
    new ResizeObserver(() => {
      document.documentElement.style.setProperty("--player", `${$("player").offsetHeight}px`);
    }).observe($("player"));
    this.#seek.addEventListener("keydown", (event) => this.#key(event));
    this.#show(true);
  }

  /** Second at which it is. */
  get time() {
    return this.#audio.currentTime;
  }

  get playing() {
    return !this.#audio.paused;
  }

  /** Seconds of the recording, 0 while unknown. */
  get duration() {
    return this.#length || (Number.isFinite(this.#audio.duration) ? this.#audio.duration : 0);
  }

  /** Load a recording; null for none. */
  load(url) {
    tell($("player-fault"), "");
    this.faulty = false;
    this.#length = 0;
    this.#audio.pause();
    if (url) this.#audio.src = url;
    else this.#audio.removeAttribute("src");
    this.#audio.load();
    this.#show(true);
  }

  /** Set how long it is, in seconds. */
  set length(seconds) {
    this.#length = seconds || 0;
    this.#show(true);
  }

  /** Go to a second. */
  seek(time) {
    const end = this.duration || Infinity;
    this.#audio.currentTime = Math.max(0, Math.min(time, end));
    this.#show(true);
  }

  toggle() {
    if (this.playing) {
      this.#audio.pause();
      return;
    }
    // Who pauses it at once, or opens another one, wants no word of it.
    this.#audio.play().catch(({ name }) => name === "NotSupportedError" && this.#fail());
  }

  #fail() {
    if (!this.#audio.getAttribute("src")) return;
    this.faulty = true;
    tell($("player-fault"), "The recording cannot be played: its file is gone, or of a kind that this browser does not know.");
    this.dispatchEvent(new Event("fault"));
  }

  #turn() {
    const { playing } = this;
    $("player").classList.toggle("playing", playing);
    $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    cancelAnimationFrame(this.#frame);
    const step = () => {
      this.#show(false);
      if (this.playing) this.#frame = requestAnimationFrame(step);
    };
    step();
  }

  #show(jump) {
    const { time, duration } = this;
    tell($("time"), clock(time));
    tell($("duration"), clock(duration));
    const now = String(Math.floor(time));
    if (this.#seek.getAttribute("aria-valuenow") !== now || jump) {
      this.#seek.setAttribute("aria-valuemax", Math.floor(duration));
      this.#seek.setAttribute("aria-valuenow", now);
      this.#seek.setAttribute("aria-valuetext", `${clock(time)} of ${clock(duration)}`);
    }
    this.dispatchEvent(new CustomEvent("time", { detail: { time, jump } }));
  }

  #key(event) {
    const { key } = event;
    const steps = {
      ArrowLeft: -STEP_S,
      ArrowDown: -STEP_S,
      ArrowRight: STEP_S,
      ArrowUp: STEP_S,
      PageDown: -LEAP_S,
      PageUp: LEAP_S,
    };
    if (key in steps) this.seek(this.time + steps[key]);
    else if (key === "Home") this.seek(0);
    else if (key === "End") this.seek(this.duration);
    else if (key === " " || key === "Enter") this.toggle();
    else return;
    event.preventDefault();
  }
}
