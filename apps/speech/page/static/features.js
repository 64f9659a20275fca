// Log-mel features of a waveform that comes block by block.
// The same numbers as `apps/speech/live/features.py`, class FeatureStream, in double precision.

const RANGE_DB = 60;
const STEP_DB = 15;
const LOWEST_LEVEL_DB = -40;
const FALL_DB_A_SECOND = 2;
const LOWEST_HZ = 60;
const TINY = 1e-14;

const toMel = (hz) => 2595 * Math.log10(1 + hz / 700);
const toHz = (mel) => 700 * (10 ** (mel / 2595) - 1);
const spread = (from, to, count) => Array.from({ length: count }, (_, i) => from + ((to - from) * i) / (count - 1));

/** Triangles on the mel scale: for each band the first bin that it weighs, and the weights. */
export function melFilters(config) {
  const highest = config.sample_rate / 2;
  const edges = spread(toMel(LOWEST_HZ), toMel(highest), config.num_features + 2).map(toHz);
  const bins = spread(0, highest, Math.floor(config.fft_length / 2) + 1);
  return Array.from({ length: config.num_features }, (_, band) => {
    const [below, peak, above] = edges.slice(band, band + 3);
    return Float64Array.from(bins, (hz) => Math.max(0, Math.min((hz - below) / (peak - below), (above - hz) / (above - peak))));
  });
}

export class FeatureStream {
  constructor(config) {
    if (config.level !== "running" || config.input_type !== "power_spectrum") {
      throw new RangeError("this model cannot listen live");
    }
    const { window_length: window, fft_length: length } = config;
    this.config = config;
    this.before = Math.floor(length / 2) - Math.floor((length - window) / 2);
    this.kept = new Float32Array(this.before);
    this.filters = melFilters(config);
    this.level = LOWEST_LEVEL_DB;
    this.fall = (FALL_DB_A_SECOND * config.hop_length) / config.sample_rate;
    this.bins = Math.floor(length / 2) + 1;
    this.cos = new Float64Array(this.bins * window);
    this.sin = new Float64Array(this.bins * window);
    let sum = 0;
    for (let n = 0; n < window; n++) {
      const hann = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / window);
      sum += hann;
      for (let k = 0; k < this.bins; k++) {
        const angle = (2 * Math.PI * ((k * n) % length)) / length;
        this.cos[k * window + n] = hann * Math.cos(angle);
        this.sin[k * window + n] = hann * Math.sin(angle);
      }
    }
    this.scale = (2 / sum) ** 2; // a sine of amplitude 1 has power 1
    this.power = new Float64Array(this.bins);
  }

  /** Frames [{features: Float32Array, level}] that these samples, at the model's rate, complete. */
  push(samples) {
    const { window_length: window, hop_length: hop } = this.config;
    const kept = new Float32Array(this.kept.length + samples.length);
    kept.set(this.kept);
    kept.set(samples, this.kept.length);
    const frames = [];
    let start = 0;
    for (; start + window <= kept.length; start += hop) frames.push(this.frame(kept, start));
    this.kept = kept.slice(start);
    return frames;
  }

  /** The frames whose windows reach past the end, where silence is taken to be. */
  flush() {
    return this.push(new Float32Array(this.config.window_length - this.before));
  }

  frame(samples, start) {
    const { window_length: window, num_features: bands } = this.config;
    for (let k = 0; k < this.bins; k++) {
      let real = 0;
      let imaginary = 0;
      for (let n = 0, place = k * window; n < window; n++, place++) {
        const sample = samples[start + n];
        real += sample * this.cos[place];
        imaginary += sample * this.sin[place];
      }
      this.power[k] = (real * real + imaginary * imaginary) * this.scale;
    }
    const levels = new Float64Array(bands);
    let loudest = -Infinity;
    for (let band = 0; band < bands; band++) {
      const filter = this.filters[band];
      let energy = 0;
      for (let k = 0; k < this.bins; k++) energy += filter[k] * this.power[k];
      levels[band] = 10 * Math.log10(energy + TINY);
      loudest = Math.max(loudest, levels[band]);
    }
    this.level = Math.max(loudest, LOWEST_LEVEL_DB, this.level - this.fall);
    const features = Float32Array.from(levels, (db) => Math.max(0, (db - this.level + RANGE_DB) / STEP_DB));
    return { features, level: loudest };
  }
}
