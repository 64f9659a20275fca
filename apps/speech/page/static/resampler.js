// Changes the sample rate of a waveform that comes block by block: a windowed sinc.
// The same sums as `apps/speech/audio.py`, class Resampler, in double precision.

const ZERO_CROSSINGS = 24;
const ROLLOFF = 0.96;
const MOST_PHASES = 1024;

const gcd = (a, b) => (b ? gcd(b, a % b) : a);
const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

export class Resampler {
  constructor(from, to) {
    if (!(from >= 1 && to >= 1)) throw new RangeError(`sample rates must be positive, not ${from} and ${to}`);
    this.from = from;
    this.to = to;
    this.cutoff = Math.min(1, to / from) * ROLLOFF;
    this.reach = Math.ceil(ZERO_CROSSINGS / this.cutoff);
    this.phases = to / gcd(from, to);
    this.weightsAt = new Map(); // by phase
    this.kept = new Float32Array(this.reach);
    this.first = -this.reach; // the input sample that `kept` begins with
    this.heard = 0;
    this.made = 0;
  }

  /** The outputs that these samples settle. */
  push(samples) {
    if (this.from === this.to) return samples;
    this.heard += samples.length;
    this.keep(samples);
    const settled = Math.max(0, this.heard - this.reach);
    return this.make(Math.ceil((settled * this.to) / this.from));
  }

  /** The outputs whose surroundings end with the recording. */
  flush() {
    if (this.from === this.to) return new Float32Array(0);
    this.keep(new Float32Array(this.reach));
    return this.make(Math.ceil((this.heard * this.to) / this.from));
  }

  keep(samples) {
    const kept = new Float32Array(this.kept.length + samples.length);
    kept.set(this.kept);
    kept.set(samples, this.kept.length);
    this.kept = kept;
  }

  make(count) {
    const { from, to, reach } = this;
    const outputs = new Float32Array(Math.max(0, count - this.made));
    for (let i = 0; i < outputs.length; i++) {
      const moment = (this.made + i) * from;
      const nearest = Math.floor(moment / to);
      const weights = this.weights(moment % to);
      const start = nearest - reach - this.first;
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++) sum += this.kept[start + tap] * weights[tap];
      outputs[i] = sum;
    }
    this.made += outputs.length;
    const needed = Math.floor((this.made * from) / to) - reach;
    const passed = Math.min(Math.max(0, needed - this.first), this.kept.length);
    this.kept = this.kept.subarray(passed);
    this.first += passed;
    return outputs;
  }

  weights(late) {
    const phase = (late * this.phases) / this.to;
    const known = this.weightsAt.get(phase);
    if (known) return known;
    const weights = new Float64Array(2 * this.reach + 1);
    for (let tap = 0; tap < weights.length; tap++) {
      const distance = (tap - this.reach - late / this.to) * this.cutoff;
      if (Math.abs(distance) > ZERO_CROSSINGS) continue;
      const window = Math.cos((distance * Math.PI) / 2 / ZERO_CROSSINGS) ** 2;
      weights[tap] = sinc(distance) * window * this.cutoff;
    }
    if (this.phases <= MOST_PHASES) this.weightsAt.set(phase, weights);
    return weights;
  }
}
