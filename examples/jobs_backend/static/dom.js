// Elements and how values are written. Text only ever goes into text nodes: names and
// words come from strangers.

const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const SPEAKER_COLOURS = 8; // as many as the style sheet has

export const $ = (id) => document.getElementById(id);

/**
 * Make an element.
 * @param {string} tag its name
 * @param {object} [attributes] those that are null, undefined or false are left out
 * @param {...(Node|string)} children
 */
export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "title", "g"].includes(tag);
  const element = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Set a text; the same one again is not read out again. */
export function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Write seconds as 1:02:03, or 2:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":");
}

/** Write seconds as people say them: 12.4 s, 3 min 20 s, 1 h 5 min. */
export function span(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.round((whole % 3600) / 60)} min`;
}

/** Write a point in time. */
export function when(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? "" : WHEN.format(date);
}

/** Write a number of bytes. */
export function bytes(count) {
  const units = ["B", "KB", "MB", "GB"];
  let at = 0;
  for (; count >= 1024 && at < 3; at += 1) count /= 1024;
  return `${count.toFixed(at ? 1 : 0)} ${units[at]}`;
}

/** Give the name of a language, or its code where the browser knows none. */
export function language(code) {
  try {
    return new Intl.DisplayNames(undefined, { type: "language" }).of(code) ?? code;
  } catch {
    return code; // not a code at all
  }
}

/** Give the class of a speaker's colour, by the speaker's place among all of them. */
export function colourOf(speaker, speakers) {
  const at = speakers.indexOf(speaker);
  return at < 0 ? "s-none" : `s${at % SPEAKER_COLOURS}`;
}
