// Where sound comes from: the microphone, or a file. Nothing here leaves the browser.

const MOST_FILE_BYTES = 64 * 2 ** 20;
const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/** Something that a person can do something about; its message is for people. */
export class SoundError extends Error {}

const REFUSED = {
  NotAllowedError:
    "The microphone was refused. Allow it for this page (the sign left of the address), or choose a recording instead.",
  NotFoundError: "There is no microphone here. Plug one in, or choose a recording instead.",
  NotReadableError: "The microphone is busy: another program uses it. Close that, or choose a recording instead.",
};

/** The microphone, until `stop`. `hear(samples, rate, at)` gets blocks of 20 ms, `at` in milliseconds. */
export class Microphone {
  static async open(hear, lost) {
    if (!navigator.mediaDevices) {
      throw new SoundError(
        "A browser gives a microphone to pages with https alone, or to those of this machine. Choose a recording instead.",
      );
    }
    const asIs = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: asIs });
    } catch (error) {
      throw new SoundError(REFUSED[error.name] ?? `The microphone does not work: ${error.message}`);
    }
    const microphone = new Microphone(stream);
    try {
      await microphone.begin(hear, lost);
    } catch (error) {
      await microphone.stop();
      throw new SoundError(`The microphone does not work: ${error.message}`);
    }
    return microphone;
  }

  constructor(stream) {
    this.stream = stream;
    this.context = new AudioContext();
  }

  async begin(hear, lost) {
    const { context } = this;
    await context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
    const source = context.createMediaStreamSource(this.stream);
    this.node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => hear(data, context.sampleRate, performance.now());
    for (const track of this.stream.getAudioTracks()) track.onended = () => lost();
    source.connect(this.node);
    await context.resume();
  }

  async stop() {
    if (this.node) this.node.port.onmessage = null;
    for (const track of this.stream.getTracks()) track.stop();
    if (this.context.state !== "closed") await this.context.close();
  }
}

/** A recording: {samples: Float32Array, rate}, channels mixed down to one. */
export async function readFile(file) {
  if (file.size > MOST_FILE_BYTES) throw new SoundError("This file is larger than 64 MiB: choose a shorter one.");
  const buffer = await file.arrayBuffer();
  const recording = parseWav(buffer) ?? (await decode(buffer));
  if (!recording.samples.length) throw new SoundError("This recording has no sound in it.");
  return recording;
}

async function decode(buffer) {
  const context = new OfflineAudioContext(1, 1, 48000);
  let audio;
  try {
    audio = await context.decodeAudioData(buffer);
  } catch {
    throw new SoundError("This browser cannot read that file as sound. A WAV file always works.");
  }
  const channels = Array.from({ length: audio.numberOfChannels }, (_, i) => audio.getChannelData(i));
  return { samples: mixed(channels), rate: audio.sampleRate };
}

function mixed(channels) {
  const samples = new Float32Array(channels[0].length);
  for (const channel of channels) for (let i = 0; i < samples.length; i++) samples[i] += channel[i] / channels.length;
  return samples;
}

/** A WAV file at its own rate (the browser's decoder would change it); null if it is none of ours. */
export function parseWav(buffer) {
  const view = new DataView(buffer);
  const tag = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 44 || tag(0) !== "RIFF" || tag(8) !== "WAVE") return null;
  let format = null;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const size = view.getUint32(at + 4, true);
    const body = at + 8;
    if (tag(at) === "fmt " && body + 16 <= buffer.byteLength) {
      let kind = view.getUint16(body, true);
      if (kind === EXTENSIBLE && size >= 26) kind = view.getUint16(body + 24, true);
      const [channels, rate, bits] = [view.getUint16(body + 2, true), view.getUint32(body + 4, true), view.getUint16(body + 14, true)];
      format = { kind, channels, rate, bits };
    } else if (tag(at) === "data" && format) {
      return unpack(view, body, Math.min(size, buffer.byteLength - body), format);
    }
    at = body + size + (size % 2);
  }
  return null;
}

function unpack(view, start, size, { kind, channels, rate, bits }) {
  const readers = {
    [`${PCM}/8`]: (at) => (view.getUint8(at) - 128) / 128,
    [`${PCM}/16`]: (at) => view.getInt16(at, true) / 32768,
    [`${PCM}/24`]: (at) => ((view.getUint8(at) << 8) | (view.getUint8(at + 1) << 16) | (view.getUint8(at + 2) << 24)) / 2147483648,
    [`${PCM}/32`]: (at) => view.getInt32(at, true) / 2147483648,
    [`${FLOAT}/32`]: (at) => view.getFloat32(at, true),
    [`${FLOAT}/64`]: (at) => view.getFloat64(at, true),
  };
  const read = readers[`${kind}/${bits}`];
  if (!read || !channels || rate < 1000 || rate > 384000) return null;
  const width = bits / 8;
  const samples = new Float32Array(Math.floor(size / (width * channels)));
  for (let i = 0, at = start; i < samples.length; i++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++, at += width) sum += read(at);
    samples[i] = sum / channels;
  }
  return { samples, rate };
}
