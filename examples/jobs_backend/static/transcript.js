// The transcript: follows the playback word by word, and seeks where one clicks.

import { $, clock, colourOf, make } from "./dom.js";

const NEAR = 1.5; // heights of the view within which scrolling is smooth
const LEAST = 160; // pixels of the transcript that make a view
const SETTLE = 3; // times that a scroll is put right: sizes out of sight are guesses

/** Events: `seek` with { time }. */
export class TranscriptView extends EventTarget {
  #list = $("segments");
  #rows = []; // by start: { id, start, end, element, body, said, words }, see #words
  #byId = new Map();
  #longest = 0;
  #active = new Set();
  #word = new Set();
  #cited = new Set();
  #follows = true;
  #latest = null; // the row that was begun last

  constructor() {
    super();
    this.#list.addEventListener("click", (event) => this.#click(event));
    this.#list.addEventListener("pointerover", ({ target }) => {
      const row = this.#rowOf(target);
      if (row) this.#words(row); // so that the word under the pointer shows itself
    });
    this.#list.addEventListener("keydown", (event) => this.#key(event));
    $("follow").addEventListener("click", () => {
      this.follows = !this.#follows;
      if (this.#follows && this.#latest) this.#reveal(this.#latest.element);
    });
  }

  set follows(follows) {
    this.#follows = follows;
    $("follow").setAttribute("aria-pressed", follows);
  }

  /**
   * Show rows: { id, start, end, text, words, speaker }; those without a start cannot be
   * gone to. With `stay` the list is not scrolled.
   */
  show(rows, speakers, stay) {
    const top = stay ? this.#list.scrollTop : 0;
    this.#rows = [];
    this.#byId.clear();
    this.#active.clear();
    this.#word.clear();
    this.#cited.clear();
    this.#latest = null;
    this.#longest = 0;
    const elements = [];
    let last = null;
    for (const row of rows) {
      const shown = this.#make(row, speakers, row.speaker !== last);
      last = row.speaker;
      elements.push(shown.element);
      if (row.start === undefined) continue;
      this.#rows.push(shown);
      this.#byId.set(row.id, shown);
      this.#longest = Math.max(this.#longest, row.end - row.start);
    }
    this.#list.replaceChildren(...elements);
    this.#list.scrollTop = top;
    const first = this.#list.querySelector(".stamp");
    if (first) first.tabIndex = 0;
  }

  /** Tell whether a segment is shown. */
  has(id) {
    return this.#byId.has(id);
  }

  /** Show which words are said at a second. */
  showTime(time, { jump, playing }) {
    const active = new Set(this.#rowsAt(time));
    swap(this.#active, active, "now", ({ element }) => element);
    const words = new Set([...active].map((row) => lastBegun(this.#words(row), time)).filter(Boolean));
    swap(this.#word, words, "now", ({ element }) => element);
    this.#active = active;
    this.#word = words;
    const newest = [...active].at(-1) ?? (jump ? lastBegun(this.#rows, time) : null);
    if (!newest || newest === this.#latest) return;
    this.#latest = newest;
    if (this.#follows && (jump || playing) && this.#isLookedAt()) this.#reveal(newest.element);
  }

  /** Mark segments and go to the first of them. */
  goTo(ids) {
    const rows = ids.map((id) => this.#byId.get(id)).filter(Boolean);
    swap(this.#cited, new Set(rows), "cited", ({ element }) => element);
    this.#cited = new Set(rows);
    if (!rows.length) return;
    this.follows = true;
    this.#latest = rows[0];
    const { top, bottom } = this.#frame();
    if (bottom - top < LEAST) $("transcript-card").scrollIntoView({ block: "nearest" });
    this.#reveal(rows[0].element);
  }

  /** Show again what is said, where it has been scrolled away. */
  catchUp() {
    if (this.#follows && this.#latest && this.#isLookedAt()) this.#reveal(this.#latest.element);
  }

  /** A person scrolls: what is looked at is not to move away. */
  letGo({ target }) {
    if (this.#follows && (!this.#scrolls() || this.#list.contains(target))) this.follows = false;
  }

  #make({ id, start, end, text, words, speaker }, speakers, named) {
    const body = make("p", { class: "words", dir: "auto" });
    const element = make("li", { class: `segment ${colourOf(speaker, speakers)}`, "data-id": id });
    if (named) {
      element.classList.add("first");
      if (speaker) element.append(make("p", { class: "who", dir: "auto" }, speaker));
    }
    if (start !== undefined) {
      const label = `Go to ${clock(start)}`;
      const stamp = { class: "stamp", type: "button", tabindex: -1, "aria-label": label };
      element.append(make("button", stamp, clock(start)));
    }
    body.append(text);
    element.append(body);
    return { id, start, end, element, body, said: words ?? [], words: null };
  }

  // Its words, each an element; made when they are needed, since a day's talk has many.
  #words(row) {
    if (row.words) return row.words;
    row.words = [];
    const parts = pieces(row.body.textContent, row.said).map((piece) => {
      if (typeof piece === "string") return piece;
      const element = make("span", { class: "word" }, piece.text);
      row.words.push({ start: piece.start, element });
      return element;
    });
    if (row.words.length) row.body.replaceChildren(...parts);
    return row.words;
  }

  #rowOf(target) {
    const element = target.closest(".segment");
    return element && this.#byId.get(Number(element.dataset.id));
  }

  *#rowsAt(time) {
    let at = after(this.#rows, time) - 1;
    const found = [];
    for (; at >= 0 && this.#rows[at].start >= time - this.#longest; at -= 1) {
      if (time < this.#rows[at].end) found.unshift(this.#rows[at]);
    }
    yield* found;
  }

  #click({ target }) {
    const row = this.#rowOf(target);
    const selection = window.getSelection();
    const selects = !selection.isCollapsed && row?.element.contains(selection.anchorNode);
    if (!row || selects) return;
    const word = this.#words(row).find(({ element }) => element === target);
    this.dispatchEvent(new CustomEvent("seek", { detail: { time: word?.start ?? row.start } }));
  }

  // One stop for the tab key; the arrows go from line to line.
  #key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    const stamp = event.target.closest(".stamp");
    if (!stamp || !(event.key in steps)) return;
    const stamps = [...this.#list.querySelectorAll(".stamp")];
    const next = stamps[stamps.indexOf(stamp) + steps[event.key]];
    event.preventDefault();
    if (!next) return;
    stamp.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  // On a wide page the list scrolls; on a phone the whole page does.
  #scrolls() {
    return getComputedStyle(this.#list).overflowY === "auto";
  }

  // Who reads the summary on a phone is not to be carried away.
  #isLookedAt() {
    if (this.#scrolls()) return true;
    const { top, bottom } = this.#list.getBoundingClientRect();
    return top < innerHeight * 0.75 && bottom > innerHeight * 0.25;
  }

  // What is to be seen of the transcript: under the player, which stays at the top.
  #frame() {
    const player = $("player").getBoundingClientRect().bottom;
    const edge = Math.max(0, Math.min(player, innerHeight / 2));
    if (!this.#scrolls()) return { top: edge, bottom: innerHeight };
    const { top, bottom } = this.#list.getBoundingClientRect();
    return { top: Math.max(top, edge), bottom: Math.min(bottom, innerHeight) };
  }

  #reveal(element, round = 0) {
    const scroller = this.#scrolls() ? this.#list : document.scrollingElement;
    const { top, bottom } = this.#frame();
    const height = Math.max(LEAST, bottom - top);
    const box = element.getBoundingClientRect();
    const isSeen = box.top >= top && box.bottom <= top + 0.75 * height;
    if (isSeen) return;
    const by = box.top - top - 0.25 * height;
    const near = Math.abs(by) < NEAR * height && !round;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden;
    scroller.scrollBy({ top: by, behavior: near && !still ? "smooth" : "instant" });
    if (!near && round < SETTLE) requestAnimationFrame(() => this.#reveal(element, round + 1));
  }
}

function swap(before, now, name, elementOf) {
  for (const one of before) if (!now.has(one)) elementOf(one).classList.remove(name);
  for (const one of now) if (!before.has(one)) elementOf(one).classList.add(name);
}

// Place of the first that begins after a time.
function after(sorted, time) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle].start <= time) low = middle + 1;
    else high = middle;
  }
  return low;
}

function lastBegun(sorted, time) {
  return sorted[after(sorted, time) - 1] ?? null;
}

// The text with its words found in it; as it is where they are not.
function pieces(text, words) {
  const found = [];
  let at = 0;
  for (const word of words) {
    const next = word.text ? text.indexOf(word.text, at) : -1;
    if (next < 0) return [text];
    if (next > at) found.push(text.slice(at, next));
    found.push(word);
    at = next + word.text.length;
  }
  if (at < text.length) found.push(text.slice(at));
  return found;
}
