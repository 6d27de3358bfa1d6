// The text: segments on the page, and as files.

const CUE_CHARS = 84; // two lines of 42, as subtitles have them
const CUE_S = 7;
const GLUED = /^[\p{Pd}\p{Pe}\p{Pf}\p{Po}]/u; // hyphens, commas and their like
const NEAR_S = 0.5; // the same words have about the same times when they are heard again

function pad(number, width = 2) {
  return String(number).padStart(width, "0");
}

/** Write seconds as 1:02:03, or 2:03. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, at) => (at ? pad(part) : part)).join(":");
}

function stamp(seconds, point) {
  const ms = Math.round(seconds * 1000);
  const whole = Math.floor(ms / 1000);
  const time = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${time.map((part) => pad(part)).join(":")}${point}${pad(ms % 1000, 3)}`;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// Where each word begins in a text that has them in this order, but for unknown ones. One
// that begins with a hyphen belongs to the word before it.
function placed(text, words) {
  let from = 0;
  return words.flatMap((word) => {
    const at = text.indexOf(word.text, from);
    if (at < 0) return [];
    from = at + word.text.length;
    const glued = at > 0 && /\S/.test(text[at - 1]) && GLUED.test(word.text);
    return [{ ...word, at, until: from, glued }];
  });
}

// Cut a segment into what fits a subtitle; together they are its text.
function pieces({ start, end, text, words }) {
  const whole = [{ start, end: Math.max(end, start + 0.001), text: text.trim() }];
  if (text.length <= CUE_CHARS && end - start <= CUE_S) return whole;
  const cues = [];
  for (const word of placed(text, words)) {
    const last = cues.at(-1);
    const fits = last && word.until - last.at <= CUE_CHARS && word.end - last.start <= CUE_S;
    if (last && (fits || word.glued)) last.end = word.end;
    else cues.push({ ...word, at: last ? word.at : 0 });
  }
  if (!cues.length) return whole;
  return cues.map(({ at, ...cue }, index) => {
    const piece = text.slice(at, cues[index + 1]?.at).trim();
    return { start: cue.start, end: Math.max(cue.end, cue.start + 0.001), text: piece };
  });
}

/**
 * Segments with the words that are known by now, in a list on the page.
 *
 * What was certain when a connection was lost is held: it stays until the words that are
 * heard of the same sound anew reach as far; those are hidden until then.
 */
export class Transcript extends EventTarget {
  #list;
  // By id: { start, end, text, stable, final, words, held, hidden, element }; `held` is
  // the second up to which a held one's text goes.
  #segments = new Map();

  /** @param {HTMLElement} list where the segments go */
  constructor(list) {
    super();
    this.#list = list;
  }

  /** Whether there is no text. */
  get isEmpty() {
    return this.#segments.size === 0;
  }

  /** Take what is known of a segment by now. */
  put(id, segment) {
    const stays = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 80;
    const before = this.#segments.get(id);
    const element = before?.element ?? this.#make(id, segment);
    if (segment.final && !segment.text.trim()) this.#remove(id, element);
    else this.#set(id, { ...segment, hidden: this.#some("held"), element });
    this.#release(segment.end + NEAR_S);
    if (stays) this.#list.scrollTop = this.#list.scrollHeight;
    this.dispatchEvent(new Event("change"));
  }

  /** Show that what is not final waits for the server. */
  wait() {
    for (const { final, element } of this.#segments.values()) {
      element.classList.toggle("waiting", !final);
    }
  }

  /** Hold what is certain of what is not final: its sound is going to be heard anew. */
  hold() {
    for (const [id, segment] of this.#segments) {
      const { start, end, text, stable, final, hidden, held, element } = segment;
      if (final || held) continue;
      // Only final words have times.
      const share = stable / Math.max(1, text.length);
      const until = Math.max(0.001, start + (end - start) * share);
      const certain = text.slice(0, stable).trimEnd();
      const more = { text: certain, stable: certain.length, end: until, held: until };
      if (hidden || !certain.trim()) this.#remove(id, element);
      else this.#set(id, { ...segment, ...more });
      element.classList.add("waiting");
    }
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Make what is certain final, and take away what is not: no more comes.
   *
   * @param {boolean} complete whether all sound was heard to its end
   * @returns {string[]} the texts that became final
   */
  settle(complete) {
    if (complete) this.#release(Infinity);
    this.hold();
    const settled = [];
    for (const [id, segment] of this.#segments) {
      if (segment.hidden) this.#remove(id, segment.element);
      if (!segment.held) continue;
      this.#set(id, { ...segment, held: 0, final: true });
      settled.push(segment.text);
    }
    this.dispatchEvent(new Event("change"));
    return settled;
  }

  /** Take everything away. */
  clear() {
    for (const { element } of this.#segments.values()) element.remove();
    this.#segments.clear();
    this.dispatchEvent(new Event("change"));
  }

  /** Write a line for each segment. */
  toTxt() {
    return this.#ordered().map(({ text }) => `${text.trim()}\n`).join("");
  }

  /** Write SubRip subtitles. */
  toSrt() {
    const blocks = this.#cues().map(({ start, end, text }, at) => {
      return `${at + 1}\n${stamp(start, ",")} --> ${stamp(end, ",")}\n${text}\n`;
    });
    return blocks.join("\n");
  }

  /** Write WebVTT subtitles. */
  toVtt() {
    const blocks = this.#cues().map(({ start, end, text }) => {
      return `\n${stamp(start, ".")} --> ${stamp(end, ".")}\n${escaped(text)}\n`;
    });
    return `WEBVTT\n${blocks.join("")}`;
  }

  #ordered() {
    const all = [...this.#segments.values()];
    const full = all.filter(({ text, hidden }) => !hidden && text.trim());
    return full.sort((one, other) => one.start - other.start);
  }

  #cues() {
    return this.#ordered().flatMap(pieces);
  }

  #some(what) {
    return [...this.#segments.values()].some((segment) => segment[what]);
  }

  // Give up what is held, where its sound was heard anew up to a second.
  #release(second) {
    for (const [id, { held, start, element, ...segment }] of this.#segments) {
      if (!held || held > second) continue;
      // Sound that was given up meanwhile is not heard anew.
      const anew = [...this.#segments.values()].some((other) => {
        return other.hidden && other.start < (start + held) / 2;
      });
      if (anew) this.#remove(id, element);
      else this.#set(id, { ...segment, start, element, held: 0, final: true });
    }
    if (this.#some("held")) return;
    for (const [id, segment] of this.#segments) {
      if (segment.hidden) this.#set(id, { ...segment, hidden: false });
    }
  }

  #remove(id, element) {
    element.remove();
    this.#segments.delete(id);
  }

  #set(id, segment) {
    this.#segments.set(id, segment);
    this.#show(segment.element, segment);
  }

  #make(id, { start }) {
    const element = document.createElement("p");
    element.className = "segment";
    element.dataset.id = id;
    element.append(document.createElement("time"), document.createElement("span"));
    element.lastChild.append(document.createElement("span"), document.createElement("span"));
    const later = [...this.#segments.values()].filter((other) => other.start > start);
    later.sort((one, other) => one.start - other.start);
    this.#list.insertBefore(element, later[0]?.element ?? null);
    return element;
  }

  #show(element, { start, text, stable, final, hidden }) {
    const [time, whole] = element.children;
    const [certain, tentative] = whole.children;
    time.textContent = clock(start);
    time.dateTime = `PT${start.toFixed(1)}S`;
    certain.className = "stable";
    tentative.className = "tentative";
    certain.textContent = text.slice(0, stable);
    tentative.textContent = text.slice(stable);
    element.hidden = Boolean(hidden);
    element.classList.toggle("final", final);
    element.classList.remove("waiting");
  }
}
