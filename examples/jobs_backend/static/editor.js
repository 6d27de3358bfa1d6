// The form in which a person puts the results right.

import { api } from "./api.js";
import { $ } from "./dom.js";

const FIELDS = ["conversation_type", "language", "summary", "keypoints", "clean_transcript"];

/** Events: `saved` with { job }. */
export class Editor extends EventTarget {
  #dialog = $("editor");
  #form = $("editor-form");
  #id = null;
  #before = {};

  constructor() {
    super();
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    this.#dialog.querySelector("[data-close]").addEventListener("click", () => this.#dialog.close());
  }

  /** Begin to edit a job. */
  open(job) {
    this.#id = job.id;
    for (const name of FIELDS) {
      const value = job[name];
      const input = this.#form.elements[name];
      input.value = Array.isArray(value) ? value.join("\n") : (value ?? "");
      this.#before[name] = input.value; // as the browser writes line ends
    }
    $("editor-error").textContent = "";
    this.#dialog.showModal();
  }

  close() {
    this.#dialog.close();
  }

  async #save() {
    const changed = FIELDS.filter((name) => this.#form.elements[name].value !== this.#before[name]);
    const json = Object.fromEntries(changed.map((name) => [name, this.#value(name)]));
    const button = this.#form.querySelector("[type=submit]");
    if (!changed.length) {
      this.#dialog.close();
      return;
    }
    button.disabled = true;
    try {
      const job = await api(`/api/jobs/${this.#id}`, { method: "PUT", json });
      this.#dialog.close();
      this.dispatchEvent(new CustomEvent("saved", { detail: { job } }));
    } catch (error) {
      $("editor-error").textContent = error.message;
    } finally {
      button.disabled = false;
    }
  }

  #value(name) {
    const text = this.#form.elements[name].value.trim();
    if (name !== "keypoints") return text || null;
    return text.split("\n").map((line) => line.trim()).filter(Boolean);
  }
}
