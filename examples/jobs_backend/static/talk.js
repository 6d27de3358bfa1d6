// How the conversation was led, as a small chart: bars for who talked how much, and figures.

import { $, clock, colourOf, make, span } from "./dom.js";

const MOST_PLACES = 5;

/** Show talk metrics; clicks on places call `seek(time)`. */
export function showTalk(metrics, speakers, seek) {
  $("talk").hidden = !metrics?.speakers.length;
  if ($("talk").hidden) {
    $("talk-chart").replaceChildren();
    return;
  }
  const { total_conversation_duration: total } = metrics;
  const rows = metrics.speakers.map(({ speaker, talk_time: time }) => {
    return bar(speaker, time, total, colourOf(speaker, speakers));
  });
  if (metrics.overlap_time > 0.05) rows.push(bar("At once", metrics.overlap_time, total, "s-both"));
  rows.push(bar("Nobody", metrics.non_talk_time, total, "s-none"));
  $("talk-chart").replaceChildren(
    make("ul", { class: "bars" }, ...rows),
    figures(metrics.speakers, speakers),
    ...places(metrics, seek),
  );
}

function bar(name, time, total, colour) {
  const share = total ? Math.min(1, time / total) : 0;
  const percent = `${Math.round(100 * share)} %`;
  const svg = make("svg", { class: "share", "aria-hidden": "true" });
  svg.append(
    make("rect", { class: "track", width: "100%", height: "100%", rx: 5 }),
    make("rect", { class: colour, width: `${Math.max(0.6, 100 * share)}%`, height: "100%", rx: 5 }),
  );
  const label = make("span", { class: "bar-name", dir: "auto" }, name);
  const figure = make("span", { class: "bar-figure" }, `${span(time)} · ${percent}`);
  return make("li", {}, label, figure, svg);
}

function figures(all, speakers) {
  const head = ["", "Words/min", "Answers after", "Turns", "Longest turn"];
  const rows = all.map((of) => {
    const cells = [
      of.words_per_minute === null ? "–" : String(Math.round(of.words_per_minute)),
      of.response_latency === null ? "–" : span(of.response_latency),
      String(of.turns),
      span(of.longest_turn),
    ];
    const name = make("th", { scope: "row", class: colourOf(of.speaker, speakers), dir: "auto" }, of.speaker);
    return make("tr", {}, name, ...cells.map((cell) => make("td", {}, cell)));
  });
  const heads = head.map((text) => make("th", { scope: "col" }, text));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Figures for each speaker" }, table);
}

function places({ interruptions, non_talk_instances: pauses }, seek) {
  const longest = [...pauses].sort((one, other) => other.end - other.start - (one.end - one.start));
  return [
    line("interruption", interruptions, seek, (of) => `${of.interrupter} interrupts ${of.interrupted}`),
    line("long pause", longest, seek, ({ start, end }) => span(end - start)),
  ];
}

function line(name, all, seek, describe) {
  const shown = all.slice(0, MOST_PLACES).map((of) => {
    const label = `Go to ${clock(of.start)}: ${describe(of)}`;
    const button = make("button", { class: "cite", type: "button", "aria-label": label, title: describe(of) }, clock(of.start));
    button.addEventListener("click", () => seek(of.start));
    return button;
  });
  const more = all.length > MOST_PLACES ? [make("span", { class: "soft" }, `+${all.length - MOST_PLACES}`)] : [];
  const count = make("b", {}, String(all.length));
  return make("p", { class: "places" }, count, ` ${name}${all.length === 1 ? "" : "s"} `, ...shown, ...more);
}
