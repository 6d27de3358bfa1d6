// Hands the microphone's samples on: 16-bit blocks of a tenth of a second, and how loud
// each is. Runs beside the page, where nothing else holds it up.

const BLOCK_S = 0.1;

class Recorder extends AudioWorkletProcessor {
  #block = new Int16Array(Math.round(sampleRate * BLOCK_S));
  #filled = 0;
  #peak = 0;
  #over = false;

  constructor() {
    super();
    // Told to stop, it gives what it still has.
    this.port.onmessage = () => {
      this.#over = true;
      this.#hand();
      this.port.postMessage({ over: true });
    };
  }

  process([[samples]]) {
    if (this.#over) return false;
    for (let at = 0; samples && at < samples.length; at += 1) {
      const sample = Math.max(-1, Math.min(1, samples[at]));
      this.#peak = Math.max(this.#peak, Math.abs(sample));
      this.#block[this.#filled] = Math.round(sample * 32767);
      this.#filled += 1;
      if (this.#filled === this.#block.length) this.#hand();
    }
    return true;
  }

  #hand() {
    const samples = this.#block.slice(0, this.#filled);
    this.port.postMessage({ samples, peak: this.#peak }, [samples.buffer]);
    this.#filled = 0;
    this.#peak = 0;
  }
}

registerProcessor("recorder", Recorder);
