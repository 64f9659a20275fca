// What somebody says, cut into chunks. One chunk is open at a time: announced to the parties, its
// correlated randomness under way, waiting for sound. While many are under way nothing is announced,
// and what is heard meanwhile makes the next chunk wider: no queue of chunks can grow. Frames can, if
// the parties never keep up: who hears them looks at `waiting`, and stops in time.

const MOST_WAITING = 4; // of the widest chunks

export class Feed {
  /** `events`: announce(frames) -> number, give(number, frames, values, shown), finish() -> number. */
  constructor(app, events) {
    this.app = app;
    this.events = events;
    this.features = app.model.num_features;
    this.waiting = []; // frames {features, at}; `at` is when its sound was complete, null for silence
    this.open = null;
    this.inFlight = 0;
    this.ended = false;
    this.finished = false;
    this.sent = 0;
    this.roomFor = [];
    this.step();
  }

  put(frames) {
    this.waiting.push(...frames);
    this.step();
  }

  /** The recording is over: silence behind it for what the network names late, and no more. */
  end() {
    if (this.ended) return;
    for (let i = 0; i < this.app.model.tail_frames; i++) this.waiting.push({ features: null, at: null });
    this.ended = true;
    this.step();
  }

  /** An answer is back. */
  settled() {
    this.inFlight--;
    this.step();
  }

  /** Resolves when not far too much waits: for files, which come faster than anybody speaks. */
  room() {
    if (this.waiting.length <= MOST_WAITING * this.app.widest_frames) return Promise.resolve();
    return new Promise((resolve) => this.roomFor.push(resolve));
  }

  step() {
    const { app } = this;
    for (;;) {
      if (this.open) {
        if (this.waiting.length < this.open.frames && !this.ended) break;
        this.fill();
      } else if (this.ended && !this.waiting.length) {
        if (!this.finished) {
          this.finished = true;
          this.events.finish();
        }
        break;
      } else if (this.inFlight < app.in_flight) {
        const frames = this.width();
        this.open = { frames, number: this.events.announce(frames) };
      } else {
        break;
      }
    }
    if (this.waiting.length <= MOST_WAITING * app.widest_frames) {
      for (const resolve of this.roomFor.splice(0)) resolve();
    }
  }

  /** Of the next chunk: what is there must not wait for sound that may be long in coming. */
  width() {
    const { unit, chunk_frames: least, widest_frames: most } = this.app;
    const units = this.waiting.length / unit;
    const frames = this.ended ? Math.ceil(units) * unit : Math.max(Math.floor(units) * unit, least);
    return Math.min(frames, most);
  }

  fill() {
    const { frames, number } = this.open;
    const taken = this.waiting.splice(0, frames);
    const values = new Float32Array(this.features * frames); // zero is silence
    taken.forEach(({ features }, t) => {
      for (let band = 0; features && band < this.features; band++) values[band * frames + t] = features[band];
    });
    this.open = null;
    this.inFlight++;
    this.sent += frames;
    this.events.give(number, frames, values, taken.map(({ at }) => at));
  }
}
