// From logits to text: the best class of each frame, repeats merged, blanks dropped (CTC).

const BLANK = 0;

export class GreedyDecoder {
  constructor(alphabet, separator) {
    this.alphabet = alphabet;
    this.separator = separator;
    this.previous = BLANK;
    this.text = "";
  }

  /** `logits`: one row a class, `frames` long. */
  push(logits, frames) {
    for (let frame = 0; frame < frames; frame++) {
      let best = 0;
      for (let label = 1; label < this.alphabet.length; label++) {
        if (logits[label * frames + frame] > logits[best * frames + frame]) best = label;
      }
      if (best !== this.previous && best !== BLANK) {
        this.text += (this.text ? this.separator : "") + this.alphabet[best];
      }
      this.previous = best;
    }
    return this.text;
  }
}
