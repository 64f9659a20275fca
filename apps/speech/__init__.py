"""Private speech recognition: Wav2Letter over a recording that only its owner may hear."""
