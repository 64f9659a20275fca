// Takes off what a cheap microphone adds to every sample, whatever the blocks.
// The same numbers as `apps/speech/audio.py`, class OffsetFilter.

const OFFSET_SECONDS = 0.2;

/** Each sample loses the mean of the last 0.2 s, or of all there were. */
export class OffsetFilter {
  constructor(rate) {
    this.latest = new Float64Array(Math.round(OFFSET_SECONDS * rate)); // a ring
    this.count = 0; // samples so far
    this.sum = 0; // of the latest
  }

  push(samples) {
    const { latest } = this;
    return Float32Array.from(samples, (sample) => {
      const place = this.count % latest.length;
      this.sum += sample - latest[place];
      latest[place] = sample;
      this.count++;
      // Sums that only ever grow by differences would drift: once around, it is taken anew.
      if (place === latest.length - 1) this.sum = latest.reduce((sum, each) => sum + each, 0);
      return sample - this.sum / Math.min(this.count, latest.length);
    });
  }
}
