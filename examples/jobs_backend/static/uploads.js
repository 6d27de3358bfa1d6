// Uploads: by drag and drop, or from a file chooser; two at a time, each with its progress.

import { NoKey, newIdempotencyKey, upload } from "./api.js";
import { $, bytes, tell } from "./dom.js";

const AT_ONCE = 2;

export class Uploads extends EventTarget {
  #waiting = [];
  #active = 0;
  #depth = 0; // of the elements that a drag is over

  /** Events: `uploaded` with { job, only }, where `only` says that no other is on its way. */
  constructor() {
    super();
    $("choose").addEventListener("click", () => $("files").click());
    $("files").addEventListener("change", ({ target }) => {
      this.add(target.files);
      target.value = ""; // the same file may be chosen again
    });
    this.#listenToDrags();
    window.addEventListener("beforeunload", (event) => {
      if (this.#active) event.preventDefault();
    });
  }

  /** Whether files are taken; not while a key is asked for. */
  enabled = true;

  #maxBytes = Infinity;

  /** What the server takes: its `extensions` and `max_upload_bytes`. */
  set limits({ extensions, max_upload_bytes: most }) {
    if (extensions?.length) $("files").accept = extensions.map((name) => `.${name}`).join(",");
    if (most) this.#maxBytes = most;
  }

  /** Upload some files. */
  add(files) {
    if (!this.enabled) return;
    for (const file of files) {
      const entry = this.#entry(file);
      // It need not be sent to know that it will not be taken.
      if (file.size <= this.#maxBytes) this.#waiting.push(entry);
      else this.#failed(entry, new Error(`Larger than the ${bytes(this.#maxBytes)} that the server takes.`));
    }
    this.#next();
  }

  #listenToDrags() {
    const holdsFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files") && this.enabled;
    const show = (step) => {
      this.#depth = step ? this.#depth + step : 0;
      $("overlay").hidden = this.#depth <= 0;
    };
    window.addEventListener("dragenter", (event) => holdsFiles(event) && show(1));
    window.addEventListener("dragleave", (event) => holdsFiles(event) && show(-1));
    window.addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
    });
    window.addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      show(0);
      this.add(event.dataTransfer.files);
    });
  }

  #entry(file) {
    const element = $("upload-item").content.firstElementChild.cloneNode(true);
    const [bar, text, again, stop] = ["progress", "p", ".again", ".stop"].map((name) => {
      return element.querySelector(name);
    });
    const entry = { file, element, bar, text, again, stop };
    entry.run = $("at-once").checked;
    entry.idempotencyKey = newIdempotencyKey();
    tell(element.querySelector(".name"), file.name);
    bar.setAttribute("aria-label", `Uploaded of ${file.name}`);
    stop.setAttribute("aria-label", `Stop the upload of ${file.name}`);
    tell(text, "Waiting for its turn");
    stop.addEventListener("click", () => this.#stop(entry));
    again.addEventListener("click", () => {
      this.#waiting.push(entry);
      this.#next();
    });
    $("uploads").append(element);
    return entry;
  }

  #stop(entry) {
    entry.abort?.abort();
    this.#waiting = this.#waiting.filter((other) => other !== entry);
    entry.element.remove();
    $("choose").focus({ preventScroll: true });
  }

  #next() {
    while (this.#active < AT_ONCE && this.#waiting.length) this.#send(this.#waiting.shift());
  }

  async #send(entry) {
    const { file, element, bar, text, again } = entry;
    this.#active += 1;
    entry.abort = new AbortController();
    element.classList.remove("failed");
    again.hidden = true;
    bar.hidden = false;
    bar.value = 0;
    tell(text, `0 % of ${bytes(file.size)}`);
    try {
      const job = await upload(file, {
        ...entry,
        signal: entry.abort.signal,
        onProgress: (fraction) => {
          bar.value = fraction;
          // At the end the server still looks whether it is sound.
          const share = `${Math.floor(100 * fraction)} % of ${bytes(file.size)}`;
          text.textContent = fraction < 1 ? share : "Being checked…";
        },
      });
      element.remove();
      this.#active -= 1;
      const only = !this.#active && !this.#waiting.length;
      this.dispatchEvent(new CustomEvent("uploaded", { detail: { job, only } }));
    } catch (error) {
      this.#active -= 1;
      this.#failed(entry, error);
    }
    this.#next();
  }

  #failed({ element, bar, text, again, stop, file }, error) {
    if (error.name === "AbortError") return;
    element.classList.add("failed");
    bar.hidden = true;
    // What is refused for what it is will be refused again.
    const { status = 0 } = error;
    again.hidden = file.size > this.#maxBytes || [400, 413, 415, 422].includes(status);
    stop.setAttribute("aria-label", `Forget the upload of ${file.name}`);
    tell(text, error.message);
    if (error instanceof NoKey) this.dispatchEvent(new Event("key"));
  }
}
