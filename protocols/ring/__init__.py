"""Arithmetic modulo 2^64 on int64 tensors, which wrap as the ring does, and on packed bits."""
