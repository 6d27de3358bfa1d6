// The microphone: which ones there are, and their samples.

const RATE = 16000; // what speech recognition hears; a quarter of the network's load

const REASONS = {
  NotAllowedError:
    "The microphone is not allowed. Allow it for this page in the browser's settings " +
    "(the sign beside the address), then press Start Recording again.",
  SecurityError: "The browser does not let this page use the microphone.",
  NotFoundError: "No microphone was found. Connect one, then press Start Recording again.",
  OverconstrainedError: "The chosen microphone is not there any more. Choose another one.",
  NotReadableError:
    "The microphone cannot be used: another program may have it. Close that program, " +
    "then press Start Recording again.",
  NoBrowser:
    "This browser gives pages no microphone here. Open the page by https, or on the " +
    "server's own machine, in a browser of today.",
};

/** An error whose message is for people. */
export class MicrophoneError extends Error {
  constructor(name) {
    super(REASONS[name] ?? `The microphone does not work (${name}).`);
    this.name = name;
  }
}

/** List the microphones; they have names once one was allowed. */
export async function microphones() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all.filter((device) => device.kind === "audioinput" && device.deviceId);
}

/**
 * One recording. Events: `samples` with { samples: Int16Array, peak }, and `lost` when the
 * microphone goes away.
 */
export class Microphone extends EventTarget {
  #stream;
  #context;
  #node;
  #over;

  /** Frames per second of the samples, Hz. */
  get rate() {
    return this.#context.sampleRate;
  }

  /** Ask for the microphone; rejects with a MicrophoneError. */
  async open(deviceId) {
    if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
      throw new MicrophoneError("NoBrowser");
    }
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        audio: {
          ...(deviceId && { deviceId: { exact: deviceId } }),
          channelCount: 1,
          echoCancellation: true,
          noiseSuppression: true,
          autoGainControl: true,
        },
      });
      await this.#connect(RATE).catch(() => this.#connect());
    } catch (error) {
      this.#release();
      throw new MicrophoneError(error.name);
    }
    const [track] = this.#stream.getAudioTracks();
    track.addEventListener("ended", () => this.dispatchEvent(new Event("lost")));
  }

  /** Stop; resolves when the last samples have been handed on. */
  async close() {
    this.#node.port.postMessage("stop");
    // A context that was interrupted, by a call say, does not answer.
    const patience = new Promise((resolve) => setTimeout(resolve, 1000));
    await Promise.race([this.#over, patience]);
    this.#release();
  }

  async #connect(rate) {
    // Some browsers cannot change the rate of a microphone.
    // Nobody listens: larger blocks, which a busy machine does not miss.
    const latencyHint = "playback";
    this.#context = new AudioContext({ latencyHint, ...(rate && { sampleRate: rate }) });
    await this.#context.audioWorklet.addModule("/static/worklet.js");
    const source = this.#context.createMediaStreamSource(this.#stream);
    this.#node = new AudioWorkletNode(this.#context, "recorder", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    this.#over = new Promise((resolve) => {
      this.#node.port.onmessage = ({ data }) => {
        if (data.over) resolve();
        else this.dispatchEvent(new CustomEvent("samples", { detail: data }));
      };
    });
    source.connect(this.#node);
    await this.#context.resume();
  }

  #release() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    if (this.#context?.state !== "closed") this.#context?.close();
  }
}
