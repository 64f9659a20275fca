"""Neural networks on data that nobody may show.

    session.share(x, owner="clinic")        a secret that the clinic knows
    session.private(model, owner="lab")     the lab's weights, hidden
    y = model(x)                            ordinary PyTorch, on secrets
    await y.reveal(to="clinic")             only the clinic learns the result
    await mpcnet.save("lab.ckpt", ...)      each party keeps its shares, to go on from later

    mpcnet.run(program, parties=3)          `async def program(session)`, at three parties of here

The names load when they are first used, so that `mpcnet --help` does not wait for torch.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpcnet.app import App, DemoPlan
    from mpcnet.calibration import Calibration, calibrate
    from mpcnet.checkpoint import load, save
    from mpcnet.current import private, reveal, share, share_each
    from mpcnet.folding import fold
    from mpcnet.onnx import from_onnx
    from mpcnet.parties import local, run
    from mpcnet.precision import Precision, debug
    from mpcnet.session import Session
    from mpcnet.tensor import SecretTensor
    from mpcnet.turns import blocking, wait

__all__ = [
    "App",
    "Calibration",
    "DemoPlan",
    "Precision",
    "SecretTensor",
    "Session",
    "blocking",
    "calibrate",
    "debug",
    "fold",
    "from_onnx",
    "load",
    "local",
    "private",
    "reveal",
    "run",
    "save",
    "share",
    "share_each",
    "wait",
]

__distribution__ = "mpcnet"
__version__ = "0.1.0"

_HOMES = {
    "App": "mpcnet.app",
    "Calibration": "mpcnet.calibration",
    "DemoPlan": "mpcnet.app",
    "Precision": "mpcnet.precision",
    "SecretTensor": "mpcnet.tensor",
    "Session": "mpcnet.session",
    "blocking": "mpcnet.turns",
    "calibrate": "mpcnet.calibration",
    "debug": "mpcnet.precision",
    "fold": "mpcnet.folding",
    "from_onnx": "mpcnet.onnx",
    "load": "mpcnet.checkpoint",
    "local": "mpcnet.parties",
    "private": "mpcnet.current",
    "reveal": "mpcnet.current",
    "run": "mpcnet.parties",
    "save": "mpcnet.checkpoint",
    "share": "mpcnet.current",
    "share_each": "mpcnet.current",
    "wait": "mpcnet.turns",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mpcnet' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def _check_packages() -> None:
    """The lower packages have common names; another distribution may have overwritten one."""
    for package in ("transports", "protocols"):
        if find_spec(package) is None or (
            getattr(import_module(package), "__distribution__", None) != "mpcnet"
        ):
            raise ImportError(
                f"the package {package!r} is not the one that mpcnet installed; another "
                f"distribution replaced it: reinstall mpcnet in an environment of its own"
            )


_check_packages()
