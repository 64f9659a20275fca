"""The guard of a party with a policy file, from the first link of a session to its end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

import msgspec
import torch

from mpcnet.errors import PolicyError, describe
from mpcnet.policy import audit
from mpcnet.policy.audit import Counted, Line
from mpcnet.policy.facts import code_of, facts_of, rule_for
from mpcnet.policy.guard import Guard, RuleGuard, Seen
from mpcnet.policy.rules import Rule, load_policy
from mpcnet.policy.settings import policy_of

if TYPE_CHECKING:
    from mpcnet.app import App
    from mpcnet.config import Config

__all__ = ["Admission", "counted"]


class Admission(Guard):
    """Looks for the rule, writes the audit log, and lets happen what the rule allows.

    Until `admit` nothing may be given, revealed or announced. Used as a context, around all links
    of the session.

    Args:
        public: the digest of the program that all parties compare.
        code: what `code_of` said when this process loaded the program; None means now.
        purpose: "prepare" where nothing is revealed; such a session is not counted.

    Raises:
        ConfigError: the policy cannot be used.
    """

    def __init__(
        self,
        config: Config,
        app: App[Any],
        settings: Any,
        public: str,
        *,
        code: str | None = None,
        purpose: Literal["run", "prepare"] = "run",
    ) -> None:
        self._policy = load_policy(policy_of(config).file)
        self._log = policy_of(config).audit
        self._config = config
        self._found = partial(code_of, app, settings)
        self._code = code or self._found()  # before the facts: what changes in between is noticed
        self._facts = facts_of(config, app, settings, public)
        self._checked = False
        self._purpose = purpose
        self._run = secrets.token_hex(8)
        self._guard: RuleGuard | None = None
        self._rule = ""

    def admit(self) -> None:
        """Once links stand, and before anything but greetings is sent on them.

        Raises:
            PolicyError: no rule fits, or its runs are used up; peers are to be told.
        """
        if self._guard is not None:
            return
        rule = rule_for(self._policy, self._facts)
        if isinstance(rule, str):
            self._refuse(f"{rule}; see `mpcnet review`")
        self._rule = rule.name
        self._check_time(rule)
        most = rule.limits.runs_per_day if self._purpose == "run" else None
        if audit.begin(self._log, self._line("began"), most) is not None:
            self._refuse(f"limits.runs_per_day of rule {rule.name!r} is {most}")
        names = [entry.name for entry in self._config.parties]
        self._guard = RuleGuard(names, self._config.rank, rule)

    def gives(self, owner: int, shape: Sequence[int], dtype: torch.dtype) -> None:
        self._admitted().gives(owner, shape, dtype)

    def reveals(self, shape: Sequence[int], dtype: torch.dtype, to: Sequence[int]) -> None:
        self._admitted().reveals(shape, dtype, to)

    def hands_out(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        self._admitted().hands_out(shape, dtype)

    def announces(self, value: Any) -> None:
        self._admitted().announces(value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._guard is None:
            return
        stopped = isinstance(error, asyncio.CancelledError)
        outcome = "done" if error is None else "stopped" if stopped else describe(error)
        line = self._line("ended", outcome)
        audit.write(
            self._log,
            msgspec.structs.replace(
                line,
                inputs=counted(self._guard.inputs),
                reveals=counted(self._guard.revealed),
                announced_bytes=self._guard.announced_bytes,
            ),
        )

    def _admitted(self) -> RuleGuard:
        if self._guard is None:
            raise PolicyError(self._config.name, "to go on", "nothing was approved yet")
        if not self._checked:  # the program has been loaded by now, and nothing has left it
            if self._found() != self._code:
                why = "files of the program changed since it was loaded: start it again"
                raise PolicyError(self._config.name, "to go on", why)
            self._checked = True
        return self._guard

    def _check_time(self, rule: Rule) -> None:
        now, limits = audit.now(), rule.limits
        if limits.not_before is not None and now < limits.not_before:
            self._refuse(f"rule {rule.name!r} begins {limits.not_before.isoformat()}")
        if limits.not_after is not None and now > limits.not_after:
            self._refuse(f"rule {rule.name!r} ended {limits.not_after.isoformat()}")

    def _refuse(self, why: str) -> NoReturn:
        audit.write(self._log, self._line("refused", why))
        raise PolicyError(self._config.name, "this program", why)

    def _line(self, event: Literal["began", "ended", "refused"], outcome: str = "") -> Line:
        return Line(
            time=audit.now(),
            event=event,
            run=self._run,
            session=self._config.session,
            party=self._config.name,
            peers=tuple(
                entry.name for entry in self._config.participants if entry.name != self._config.name
            ),
            app=self._facts.app,
            program=self._facts.public,
            source=self._facts.source,
            rule=self._rule,
            purpose=self._purpose,
            outcome=outcome,
        )


def counted(seen: Mapping[Seen, int]) -> tuple[Counted, ...]:
    """As the audit log writes it."""
    return tuple(
        Counted(at=each.at, who=each.who, shape=each.shape, dtype=each.dtype, times=times)
        for each, times in seen.items()
    )
