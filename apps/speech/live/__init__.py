"""Private speech while somebody speaks: chunks of audio in, text out, everything in flight."""
