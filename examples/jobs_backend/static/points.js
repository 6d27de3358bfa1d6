// What an analysis found, each point with the places that say so.

import { $, clock, make } from "./dom.js";

const MOST_CITED = 6; // shown; the first is where the point leads

/** Events: `go` with { ids }, `hover` with { ids }, null for none. */
export class Points extends EventTarget {
  /** Show summary, key points, type and language of a job. */
  show(job, byId) {
    const edited = (name) => (job.edited ?? []).some((field) => field.replace("_", "") === name);
    this.#fill($("summary"), evidence(job.summary_points, job.summary && [job.summary], edited("summary")), byId);
    this.#fill($("key-points"), evidence(job.key_points, job.keypoints, edited("keypoints")), byId);
    $("summary-title").querySelector(".edited").hidden = !edited("summary");
    $("key-points-title").querySelector(".edited").hidden = !edited("keypoints");
    $("key-points-card").hidden = !$("key-points").children.length;
  }

  #fill(list, points, byId) {
    list.replaceChildren(...points.map((point) => this.#make(point, byId)));
  }

  #make({ text, segment_ids: cited }, byId) {
    const ids = cited.filter((id) => byId.has(id));
    if (!ids.length) return make("li", {}, make("p", { dir: "auto" }, text));
    const item = make("li", {});
    const point = make("button", { class: "point", type: "button", dir: "auto" }, text);
    const cites = make("span", { class: "cites" });
    point.addEventListener("click", () => this.#tell("go", ids));
    for (const id of ids.slice(0, MOST_CITED)) {
      const { start, speaker } = byId.get(id);
      const label = `Go to ${clock(start)}${speaker ? `, ${speaker}` : ""}`;
      const cite = make("button", { class: "cite", type: "button", "aria-label": label }, clock(start));
      cite.addEventListener("click", () => this.#tell("go", [id]));
      cites.append(cite);
    }
    if (ids.length > MOST_CITED) cites.append(make("span", { class: "soft" }, `+${ids.length - MOST_CITED}`));
    for (const kind of ["pointerenter", "focusin"]) item.addEventListener(kind, () => this.#tell("hover", ids));
    for (const kind of ["pointerleave", "focusout"]) item.addEventListener(kind, () => this.#tell("hover", null));
    item.append(point, cites);
    return item;
  }

  #tell(kind, ids) {
    this.dispatchEvent(new CustomEvent(kind, { detail: { ids } }));
  }
}

// What a person wrote cites nothing; and so do points of an older server.
function evidence(points, texts, isEdited) {
  if (points?.length && !isEdited) return points;
  return (texts ?? []).filter(Boolean).map((text) => ({ text, segment_ids: [] }));
}
