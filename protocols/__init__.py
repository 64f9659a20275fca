"""Secure computation on shares: the ring, randomness, correlations, and suites of protocols.

Nothing here opens a socket or reads a configuration: a protocol is a coroutine that talks through
an `Exchange` it was given. Import runs downward to `transports` only.
"""

__distribution__ = "mpcnet"
