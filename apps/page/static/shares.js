// Shares of numbers: fixed point in a ring of 64 or 48 bits, additive, uniformly random.
//
// Everything here happens in this browser. `split` makes one share for each party; any of them but
// one together are random numbers that have nothing to do with the values. `join` adds up what the
// parties answer.

const WORD = 64;
const MOST_RANDOM_BYTES = 65536; // that the browser gives at once

/** The nearest fixed-point numbers: value * 2^scaleBits, as BigInts. Throws for what does not fit. */
export function encode(values, scaleBits, ringBits = WORD) {
  const factor = 2 ** scaleBits;
  const bound = 2 ** (ringBits - 2 - 2 * scaleBits); // so that products fit as well
  const encoded = new BigInt64Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!(Math.abs(value) < bound)) {
      throw new RangeError(`a value does not fit: ${bound} is the limit`);
    }
    encoded[i] = BigInt(Math.round(value * factor));
  }
  return encoded;
}

/** Uniformly random words of 64 bits, from the browser's cryptographic generator. */
export function randomWords(count) {
  const bytes = new Uint8Array(8 * count);
  for (let start = 0; start < bytes.length; start += MOST_RANDOM_BYTES) {
    crypto.getRandomValues(bytes.subarray(start, start + MOST_RANDOM_BYTES));
  }
  return new BigInt64Array(bytes.buffer);
}

/** Shares (BigInt64Array) whose sum is `encoded` modulo 2^64: all but the last one are drawn. */
export function split(encoded, parties) {
  if (parties < 2) throw new RangeError("one share alone is the value itself");
  const rest = BigInt64Array.from(encoded);
  const shares = [];
  for (let party = 1; party < parties; party++) {
    const drawn = randomWords(encoded.length);
    for (let i = 0; i < rest.length; i++) rest[i] -= drawn[i]; // wraps around, as it should
    shares.push(drawn);
  }
  shares.push(rest);
  return shares;
}

/** A share as it travels: `ringBits` of each element, little-endian. */
export function toBytes(share, ringBits = WORD) {
  const width = ringBits / 8;
  const bytes = new Uint8Array(width * share.length);
  const word = new DataView(new ArrayBuffer(8));
  const wordBytes = new Uint8Array(word.buffer, 0, width);
  for (let i = 0; i < share.length; i++) {
    word.setBigInt64(0, share[i], true);
    bytes.set(wordBytes, i * width);
  }
  return bytes;
}

/** What `toBytes` made; the bits above `ringBits` are zero. */
export function fromBytes(bytes, ringBits = WORD) {
  const width = ringBits / 8;
  if (bytes.length % width) throw new RangeError("a share ends within an element");
  const share = new BigInt64Array(bytes.length / width);
  const word = new DataView(new ArrayBuffer(8));
  const wordBytes = new Uint8Array(word.buffer, 0, width);
  for (let i = 0; i < share.length; i++) {
    wordBytes.set(bytes.subarray(i * width, (i + 1) * width));
    share[i] = word.getBigInt64(0, true);
  }
  return share;
}

/** The numbers that all parties' shares make together. */
export function join(shares, scaleBits, ringBits = WORD) {
  const step = 2 ** -scaleBits;
  const values = new Float64Array(shares[0].length);
  for (let i = 0; i < values.length; i++) {
    let sum = 0n;
    for (const share of shares) sum += share[i];
    values[i] = Number(BigInt.asIntN(ringBits, sum)) * step;
  }
  return values;
}
