"""The loops of tests keep the checks of debug mode."""

import asyncio
from collections.abc import Callable

import pytest

from tests.loops import CheckedLoop, CheckedUvloop


@pytest.mark.parametrize("factory", [CheckedLoop, CheckedUvloop])
def test_callbacks_of_other_threads_are_refused(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="thread"):
            await asyncio.to_thread(loop.call_soon, print)

    with asyncio.Runner(loop_factory=factory, debug=True) as runner:
        runner.run(main())


async def test_tests_run_on_them() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CheckedLoop)

    async def a_coroutine() -> None: ...

    with pytest.raises(TypeError, match="coroutines cannot be used with call_soon"):
        loop.call_soon(a_coroutine)
