// A clean transcript as rows, each with the segment that it stands for.

const ALIKE = 0.5; // share of a line's words that its segment has to have
const AHEAD = 12; // segments that may have been left out at once

/**
 * Give rows like segments'. Those that stand for none have neither id nor start.
 * @param {string} text lines such as "Speaker00: hello"
 * @param {object[]} segments
 * @param {string[]} speakers
 */
export function cleanRows(text, segments, speakers) {
  const lines = text.split("\n").filter((line) => line.trim()).map((line) => {
    const speaker = speakers.find((name) => line.startsWith(`${name}: `)) ?? null;
    return { speaker, text: speaker ? line.slice(speaker.length + 2) : line, words: [] };
  });
  const inStep = lines.length === segments.length;
  let next = 0;
  return lines.map((line, at) => {
    const found = inStep ? at : match(line, segments, next);
    if (found < 0) return line;
    next = found + 1;
    const { id, start, end } = segments[found];
    return { ...line, id, start, end };
  });
}

function match(line, segments, from) {
  const wanted = words(line.text);
  for (let at = from; at < Math.min(segments.length, from + AHEAD); at += 1) {
    if (segments[at].speaker !== line.speaker) continue;
    const said = new Set(words(segments[at].text));
    const shared = wanted.filter((word) => said.has(word)).length;
    if (shared && shared >= ALIKE * wanted.length) return at;
  }
  return -1;
}

const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
