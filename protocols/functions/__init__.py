"""Functions of secrets, written once on what every suite offers.

Each takes a suite and a `Sharing` and returns a `Sharing`; it says for which values it is right,
how far off it may be, what it gives beyond, and what it costs. Where that depends on the ring, 62
stands for the bits of its values, two less than its own: in the ring of 48 bits read 46.
"""
