"""What every transport has to keep, as checks that anybody can run on theirs, with or without a
test runner.

::

    await check_transport(Stage(MyTransport(), new_url))   # the first check that fails raises
    await check_connections(make_pair)                     # only what a Connection promises
    for check in CONNECTION_CHECKS:                        # or one by one, each by its name
        await check(make_pair)

Every check opens connections of its own, is bounded in time, leaves nothing behind, and raises
ContractBroken with its name.
"""

from transports.conformance.contract import Check, MakePair, Pair
from transports.conformance.stage import Stage
from transports.conformance.suite import (
    CONNECTION_CHECKS,
    STREAM_CHECKS,
    TRANSPORT_CHECKS,
    check_connections,
    check_transport,
)
from transports.errors import ContractBroken

__all__ = [
    "CONNECTION_CHECKS",
    "STREAM_CHECKS",
    "TRANSPORT_CHECKS",
    "Check",
    "ContractBroken",
    "MakePair",
    "Pair",
    "Stage",
    "check_connections",
    "check_transport",
]
