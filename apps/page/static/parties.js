// A conversation with all computing parties at once: one WebSocket to each, each with its own share.

import { encode, fromBytes, join, split, toBytes } from "./shares.js";

const MAGIC = 0x3167706d; // "mpg1"
const KIND = { hello: 1, join: 2, open: 3, share: 4, end: 5 };
const ANSWER = 16;
const REQUEST_BYTES = 16;
const ANSWER_BYTES = 32;
const PATIENCE_MS = 15000;

/** Something that a person can do something about; its message is for people. */
export class ConversationError extends Error {
  /** `later`: whether it may get better by itself. */
  constructor(message, later = false) {
    super(message);
    this.later = later;
  }
}

export function request(kind, number = 0, size = 0, body = new Uint8Array(0)) {
  const message = new Uint8Array(REQUEST_BYTES + body.length);
  const head = new DataView(message.buffer);
  head.setUint32(0, MAGIC, true);
  head.setUint8(4, kind);
  head.setUint32(8, number, true);
  head.setUint32(12, size, true);
  message.set(body, REQUEST_BYTES);
  return message;
}

export function answer(buffer) {
  const head = new DataView(buffer);
  if (buffer.byteLength < ANSWER_BYTES || head.getUint32(0, true) !== MAGIC || head.getUint8(4) !== ANSWER) {
    throw new ConversationError("sent something that is no answer");
  }
  return {
    scaleBits: head.getUint8(5),
    number: head.getUint32(8, true),
    size: head.getUint32(12, true),
    rounds: head.getUint32(16, true),
    sent: Number(head.getBigUint64(24, true)),
    share: new Uint8Array(buffer, ANSWER_BYTES),
  };
}

/** One party, as this browser sees it. `traffic` counts bytes between it and this browser. */
class Line {
  constructor(name, url) {
    this.name = name;
    this.url = url;
    this.traffic = { sent: 0, received: 0 };
    this.workBytes = { first: 0, now: 0 }; // what it has sent to other parties
    this.welcome = null;
  }

  /** Connects and says hello; resolves with the party's welcome. */
  open(id, hear, lost) {
    return new Promise((resolve, reject) => {
      const fail = (why) => {
        clearTimeout(timer);
        reject(new ConversationError(why, this.later));
        lost(why);
      };
      const timer = setTimeout(() => fail(`${this.name} does not answer`), PATIENCE_MS);
      const socket = new WebSocket(this.url.replace(/^http/, "ws") + "/shares");
      this.socket = socket;
      socket.binaryType = "arraybuffer";
      socket.onopen = () => this.send(request(KIND.hello, 0, 0, id));
      socket.onclose = () => fail(this.why ?? (this.welcome ? `${this.name} is gone` : `${this.name} cannot be reached`));
      socket.onmessage = ({ data }) => {
        this.traffic.received += typeof data === "string" ? data.length : data.byteLength;
        try {
          const event = typeof data === "string" ? JSON.parse(data) : answer(data);
          if (event.type === "welcome") {
            this.welcome = event;
            clearTimeout(timer);
            resolve(event);
          } else if (event.type === "over") {
            this.why = `${this.name}: ${event.why}`;
            this.later = event.later === true;
          } else {
            hear(this, event);
          }
        } catch (error) {
          fail(`${this.name}: ${error.message}`);
        }
      };
    });
  }

  send(bytes) {
    this.traffic.sent += bytes.length;
    this.socket.send(bytes);
  }
}

/**
 * `events`: answer({number, size, values, rounds, seconds}), over(why), stopping(). `values` are the
 * numbers, put together from all parties' shares.
 */
export class Conversation {
  static async open(parties, events) {
    const conversation = new Conversation(parties, events);
    await conversation.connect();
    return conversation;
  }

  constructor(parties, events) {
    this.events = events;
    this.lines = Object.entries(parties).map(([name, url]) => new Line(name, url));
    this.id = crypto.getRandomValues(new Uint8Array(16));
    this.answers = new Map();
    this.asked = new Map();
    this.next = 0;
    this.rounds = 0;
    this.closed = false;
  }

  async connect() {
    const joined = new Promise((resolve, reject) => {
      this.joining = { resolve, reject, missing: this.lines.length };
    });
    joined.catch(() => {});
    const hear = (line, event) => this.hear(line, event);
    await Promise.all(this.lines.map((line) => line.open(this.id, hear, (why) => this.end(why))));
    this.agree();
    this.leader.send(request(KIND.join));
    const timer = setTimeout(() => this.end(`${this.leader.name} does not let this page in`), PATIENCE_MS);
    await joined.finally(() => clearTimeout(timer));
  }

  /** The parties must say the same about everything, and be all that there are. */
  agree() {
    const welcomes = this.lines.map((line) => line.welcome);
    const { parties, ring_bits, scale_bits, app } = welcomes[0];
    const same = (w) => JSON.stringify([w.parties, w.ring_bits, w.scale_bits, w.app]) === JSON.stringify([parties, ring_bits, scale_bits, app]);
    const leaders = this.lines.filter((line) => line.welcome.leads);
    const named = this.lines.every((line) => line.welcome.party === line.name && parties.includes(line.name));
    if (!welcomes.every(same) || leaders.length !== 1 || !named || parties.length !== this.lines.length) {
      this.end("the parties do not say the same about the computation");
      throw new ConversationError("the parties do not say the same about the computation");
    }
    this.lines.sort((a, b) => parties.indexOf(a.name) - parties.indexOf(b.name));
    [this.leader] = leaders;
    this.ringBits = ring_bits;
    this.scaleBits = scale_bits;
    this.app = { ...app, ...this.leader.welcome.pace };
  }

  /** Says that a piece of this size will come; returns its number. */
  announce(size) {
    this.leader.send(request(KIND.open, this.next, size));
    return this.next++;
  }

  /** Gives each party its share of an announced piece; returns the shares, to be looked at. */
  give(number, size, values) {
    const shares = split(encode(values, this.scaleBits, this.ringBits), this.lines.length);
    this.asked.set(number, performance.now());
    this.lines.forEach((line, party) => {
      line.send(request(KIND.share, number, size, toBytes(shares[party], this.ringBits)));
    });
    return shares;
  }

  /** No more pieces of this recording will come; returns the number of the last answer. */
  finish() {
    this.asked.set(this.next, performance.now());
    this.leader.send(request(KIND.end, this.next));
    return this.next++;
  }

  close() {
    this.closed = true;
    for (const line of this.lines) line.socket?.close();
  }

  hear(line, event) {
    if (event.type === "joined") {
      line.workBytes = { first: event.sent, now: event.sent };
      if (--this.joining.missing === 0) this.joining.resolve();
    } else if (event.type === "stopping") {
      this.events.stopping?.();
    } else if (event.share !== undefined) {
      this.collect(line, event);
    }
  }

  collect(line, part) {
    const parts = this.answers.get(part.number) ?? new Map();
    this.answers.set(part.number, parts.set(line, part));
    line.workBytes.now = part.sent;
    if (parts.size < this.lines.length) return;
    this.answers.delete(part.number);
    const all = [...parts.values()];
    const sameSize = all.every((p) => p.size === part.size && p.scaleBits === part.scaleBits && p.share.length === part.share.length);
    if (!sameSize) throw new ConversationError("sent a share that does not fit the others");
    const shares = all.map((p) => fromBytes(p.share, this.ringBits));
    const rounds = Math.max(...all.map((p) => p.rounds));
    this.rounds = Math.max(this.rounds, rounds);
    const seconds = (performance.now() - this.asked.get(part.number)) / 1000;
    this.asked.delete(part.number);
    const values = join(shares, part.scaleBits, this.ringBits);
    this.events.answer({ number: part.number, size: part.size, values, rounds, seconds, shares });
  }

  end(why) {
    if (this.closed) return;
    this.close();
    this.joining?.reject(new ConversationError(why));
    this.events.over(why);
  }
}
