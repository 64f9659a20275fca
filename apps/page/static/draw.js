// Pictures of a signal, and of a share of it.

const BINS_PER_PIXEL = 0.5;

/** A strip that scrolls: the latest `seconds` of extremes, drawn as bars around the middle. */
export class Strip {
  constructor(canvas, color) {
    this.canvas = canvas;
    this.color = color;
    this.bars = []; // [lowest, highest], between -1 and 1
    this.dirty = false;
  }

  /** Adds values (between -1 and 1), `perBar` of them to a bar. */
  push(values, perBar) {
    for (let start = 0; start < values.length; start += perBar) {
      let lowest = Infinity;
      let highest = -Infinity;
      for (let i = start; i < Math.min(start + perBar, values.length); i++) {
        lowest = Math.min(lowest, values[i]);
        highest = Math.max(highest, values[i]);
      }
      this.bars.push([lowest, highest]);
    }
    const most = 4096;
    if (this.bars.length > most) this.bars.splice(0, this.bars.length - most);
    this.redraw();
  }

  clear() {
    this.bars = [];
    this.redraw();
  }

  redraw() {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.dirty = false;
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    context.fillStyle = style.getPropertyValue("--grid");
    context.fillRect(0, Math.floor(height / 2), width, Math.max(1, ratio / 2));
    context.fillStyle = style.getPropertyValue(this.color);
    const pitch = ratio / BINS_PER_PIXEL;
    const count = Math.floor(width / pitch);
    const shown = this.bars.slice(-count);
    shown.forEach(([lowest, highest], i) => {
      const top = (0.5 - 0.48 * highest) * height;
      const tall = Math.max(ratio, 0.48 * (highest - lowest) * height);
      context.fillRect(i * pitch, top, pitch * 0.7, tall);
    });
  }
}

/** A share's elements as numbers between -1 and 1: a value's sign and size would show, if any did. */
export function asSignal(share, ringBits) {
  const full = 2 ** (ringBits - 1);
  return Float32Array.from(share, (element) => Number(BigInt.asIntN(ringBits, element)) / full);
}
