// One utterance on its way: sound in, shares out to the parties, text back.

import { GreedyDecoder } from "./decoder.js";
import { FeatureStream } from "./features.js";
import { Feed } from "./feed.js";
import { OffsetFilter } from "./offset.js";
import { Resampler } from "./resampler.js";

const clean = (sample) => (Number.isNaN(sample) ? 0 : Math.max(-1, Math.min(1, sample)));

const MOST_KEPT = 15000; // figures: ten minutes of frames

const keep = (values, value) => {
  values.push(value);
  if (values.length > 2 * MOST_KEPT) values.splice(0, MOST_KEPT);
};

export function percentile(values, part) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
}

/** When each frame was heard; what nobody asks for any more is forgotten. */
export class Moments {
  constructor() {
    this.kept = [];
    this.forgotten = 0;
  }

  push(moments) {
    this.kept.push(...moments);
  }

  at(place) {
    return this.kept[place - this.forgotten];
  }

  forget(place) {
    const passed = Math.min(place - this.forgotten, this.kept.length);
    this.kept.splice(0, passed);
    this.forgotten += passed;
  }
}

/** `events`: shared(shares, frames), text(text, final). `finished` resolves with the whole text. */
export class Utterance {
  constructor(conversation, events) {
    this.conversation = conversation;
    this.events = events;
    this.app = conversation.app;
    this.model = this.app.model;
    this.offset = new OffsetFilter(this.model.sample_rate);
    this.stream = new FeatureStream(this.model);
    this.decoder = new GreedyDecoder(this.model.alphabet, this.model.separator);
    this.steps = new Map(); // number -> {frames, moments}, null for the end
    this.moments = new Moments(); // of the frames given so far
    this.outputs = 0;
    this.heard = 0; // samples
    this.frames = 0;
    this.meter = { latencies: [], flights: [], rounds: 0, chunks: 0, widest: 0, heardSeconds: 0, behind: null, busy: 0 };
    this.busyUntil = 0;
    this.finished = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.finished.catch(() => {});
    this.feed = new Feed(this.app, {
      announce: (frames) => this.announce(frames),
      give: (number, frames, values, moments) => this.give(number, frames, values, moments),
      finish: () => this.steps.set(conversation.finish(), null),
    });
  }

  /** Samples at some rate; `at` is when the last was heard, in milliseconds, null for a file. */
  hear(samples, rate, at) {
    if (this.ending) return;
    if (rate !== this.rate) {
      if (this.resampler) this.take(this.resampler.flush());
      this.rate = rate;
      this.resampler = new Resampler(rate, this.model.sample_rate);
    }
    this.heard += samples.length;
    this.meter.heardSeconds += samples.length / rate;
    this.begun = at === null ? null : at - this.meter.heardSeconds * 1000;
    this.take(this.resampler.push(samples.map(clean)));
  }

  /** Seconds of sound that no party has been given yet. */
  get backlog() {
    return (this.feed.waiting.length * this.model.hop_length) / this.model.sample_rate;
  }

  /** No more sound comes. */
  end() {
    this.ending = true;
    if (this.resampler) this.take(this.resampler.flush());
    this.put(this.stream.flush());
    this.feed.end();
  }

  take(samples) {
    this.put(this.stream.push(this.offset.push(samples)));
  }

  put(frames) {
    const hop = (1000 * this.model.hop_length) / this.model.sample_rate;
    this.feed.put(
      frames.map(({ features }) => {
        this.frames++;
        const timed = this.begun !== null && this.begun !== undefined;
        return { features, at: timed ? this.begun + this.frames * hop : null };
      }),
    );
  }

  announce(frames) {
    const number = this.conversation.announce(frames);
    this.steps.set(number, { frames });
    return number;
  }

  give(number, frames, values, moments) {
    this.moments.push(moments);
    this.steps.get(number).filledAt = performance.now();
    this.meter.widest = Math.max(this.meter.widest, frames);
    this.events.shared(this.conversation.give(number, frames, values), frames);
  }

  /** All parties have answered a step. */
  answer({ number, size, values, rounds, seconds }) {
    const step = this.steps.get(number);
    this.steps.delete(number);
    const now = performance.now();
    const { meter } = this;
    if (values.length !== size * this.model.alphabet.length) throw new RangeError("an answer of another size");
    meter.rounds = Math.max(meter.rounds, rounds);
    if (step) {
      meter.chunks++;
      keep(meter.flights, seconds);
      meter.busy += Math.max(0, now - Math.max(step.filledAt, this.busyUntil)) / 1000;
      this.busyUntil = now;
    }
    for (let output = 0; output < size; output++) {
      const at = this.moments.at(this.app.unit * (this.outputs + output + 1) - 1);
      if (typeof at !== "number") continue;
      meter.behind = (now - at) / 1000;
      keep(meter.latencies, meter.behind);
    }
    this.outputs += size;
    this.moments.forget(this.app.unit * this.outputs);
    const text = this.decoder.push(values, size);
    this.events.text(text, !step);
    if (step) this.feed.settled();
    else this.resolve(text);
  }

  fail(why) {
    this.reject(new Error(why));
  }
}
