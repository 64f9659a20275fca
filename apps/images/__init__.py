"""Private image classification: one party's pictures, another party's network."""
