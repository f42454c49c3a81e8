"""Slots that run untrusted programs: which run gets which slot, and how a broken slot is replaced.

A run that ends without a verdict is tried once more, on another slot where there is one. The slot that it happened on
is ended and a new one takes its place, which takes runs only after its controls were judged right.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import CodeTests, Verdict
from tracelift_ray.verification.code_runner import RunnerReport, unread_verdict
from tracelift_ray.verification.errors import COMPONENT, NotHandedOver, NoVerdict, TestsUnusable
from tracelift_ray.verification.sandbox.controls import check_slot
from tracelift_ray.verification.sandbox.policy import Policy
from tracelift_ray.verification.sandbox.probe import TierReport, choose
from tracelift_ray.verification.sandbox.runs import run_tests
from tracelift_ray.verification.sandbox.slot import Slot
from tracelift_ray.verification.sandbox.tiers import SAFE_TIERS

#: How long a run waits for a slot. A slot is held for as long as its tests' limits allow.
ACQUIRE_S = 600.0
#: Tries to restart a slot, the pause between them, and the pause before the next such series where all failed.
RESTARTS, RESTART_PAUSE_S, NEXT_RESTARTS_S = 3, 1.0, 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SandboxCounts:
    """What has happened since the start: runs of programs, those without a verdict at first, slots restarted."""

    runs: int
    no_verdicts: int
    restarts: int


class Sandbox:
    """Runs programs against tests in ``slots`` isolated processes. Safe to use from several threads.

    Args:
        policy: for tests of the isolation; None: what ``sandbox.tier`` says, probed.

    Attributes:
        tier: the tier in use: ``namespaces``, ``landlock`` or ``unsafe_subprocess``.
        reports: what was found about each tier that was tried.

    Raises:
        InfrastructureError: no tier holds on this machine, with the reason of each and the remedy.
    """

    def __init__(self, config: SandboxConfig, slots: int, policy: Policy | None = None) -> None:
        self.config = config
        self.reports: tuple[TierReport, ...] = ()
        # Slots die with the thread that starts them, so this one lives as long as the sandbox.
        self._starter = ThreadPoolExecutor(1, "sandbox-starter")
        self._changed = threading.Condition()
        self._free: deque[Slot] = deque()
        self._slots: list[Slot] = []
        self._closed = False
        self._runs = self._no_verdicts = self._restarts = self._starting = 0
        self._wanted = slots
        #: The cores of each slot that is to be started.
        self._places: deque[tuple[int, ...]] = deque(
            (config.cores[i % len(config.cores)],) if config.cores else () for i in range(slots)
        )
        self._last_cause = ""
        self._gave_up_at = 0.0
        try:
            if policy is None:
                policy, self.reports = self._starter.submit(choose, config).result()
            self._policy = policy
            self._starter.submit(self._start_all).result()
        except BaseException:  # A failure or Ctrl-C: no process stays up; the error propagates.
            self.close()
            raise

    @property
    def report(self) -> RunnerReport:
        """As ``CodeRunner.report``."""
        lines = tuple(each.line() for each in self.reports)
        return RunnerReport(self.tier, isolated=self.tier in SAFE_TIERS, lines=lines)

    @property
    def tier(self) -> str:
        return self._policy.tier

    @property
    def counts(self) -> SandboxCounts:
        """The counts so far."""
        with self._changed:
            return SandboxCounts(self._runs, self._no_verdicts, self._restarts)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots that are up."""
        with self._changed:
            return tuple(self._slots)

    def run(self, program: str, tests: CodeTests, stop_early: bool = False) -> Verdict:
        """As ``CodeRunner.run``.

        Raises:
            NoVerdict: something else than the program ended the run, twice.
            InfrastructureError: the sandbox was closed, or no slot could be started.
        """
        unread = unread_verdict(program, tests)
        if unread is not None:
            return unread
        try:
            return self._try(program, tests, stop_early, avoid=None)
        except _SlotFailed as failed:
            if self._closed:
                raise failed.error from None
            logger.warning("%s; trying again", failed.error)
            try:
                return self._try(program, tests, stop_early, avoid=failed.slot)
            except _SlotFailed as again:
                raise again.error from None

    def close(self) -> None:
        """End every process. A run in progress raises InfrastructureError."""
        with self._changed:
            self._closed = True
            slots, self._slots = self._slots, []
            self._free.clear()
            self._changed.notify_all()
        for slot in slots:
            slot.kill()
        self._starter.shutdown(wait=True, cancel_futures=True)
        for slot in slots:
            slot.stop()

    def _try(self, program: str, tests: CodeTests, stop_early: bool, avoid: Slot | None) -> Verdict:
        slot = self._acquire(avoid)
        try:
            verdict = run_tests(slot, self.config, program, tests, stop_early)
        except TestsUnusable:
            raise
        except NoVerdict as error:
            with self._changed:
                self._no_verdicts += 1
            slot.broken |= not isinstance(error, NotHandedOver)
            closed = InfrastructureError(COMPONENT, "closed while a program was running")
            raise _SlotFailed(slot, closed if self._closed else error) from error
        finally:
            self._release(slot)
        return verdict

    def _acquire(self, avoid: Slot | None) -> Slot:
        """A free slot, preferably another than ``avoid``; waits for one."""
        deadline = time.monotonic() + ACQUIRE_S
        with self._changed:
            while not self._free:
                self._check_open()
                if not self._slots and not self._starting:
                    self._replace()
                if not self._changed.wait(deadline - time.monotonic()):
                    raise InfrastructureError(
                        COMPONENT, f"a program waited {ACQUIRE_S:g} s for one of {len(self._slots)} sandbox slots"
                    )
                if not self._slots and not self._starting:
                    raise InfrastructureError(COMPONENT, f"no sandbox slot could be started ({self._last_cause})")
            self._check_open()
            self._runs += 1
            if self._free[0] is avoid:
                self._free.rotate(-1)
            return self._free.popleft()

    def _release(self, slot: Slot) -> None:
        with self._changed:
            if self._closed:
                return
            if not slot.broken:
                self._free.append(slot)
                self._start_missing()
            else:
                self._slots.remove(slot)
                self._replace(slot)
            self._changed.notify_all()

    def _replace(self, broken: Slot | None = None) -> None:
        """Start a new slot, in the thread that starts them."""
        self._starting += 1
        self._starter.submit(self._restart, broken)

    def _start_missing(self) -> None:
        """Try again to start a slot that could not be replaced, every ``NEXT_RESTARTS_S``."""
        missing = len(self._slots) + self._starting < self._wanted
        if missing and time.monotonic() > self._gave_up_at + NEXT_RESTARTS_S:
            self._replace()

    def _start_all(self) -> None:
        for _ in range(self._wanted):
            slot = self._new_slot()
            with self._changed:
                self._slots.append(slot)
                self._free.append(slot)

    def _restart(self, broken: Slot | None) -> None:
        slot = None
        if broken is not None:
            broken.stop()
            self._places.append(broken.cores)
        for attempt in range(RESTARTS):
            if self._closed:
                break
            try:
                slot = self._new_slot()
                break
            except NoVerdict as error:
                self._last_cause = error.cause
                logger.warning("a sandbox slot could not be restarted (try %d): %s", attempt + 1, error.cause)
                time.sleep(RESTART_PAUSE_S)
        with self._changed:
            self._starting -= 1
            if slot is None:
                self._gave_up_at = time.monotonic()
            if slot is not None and self._closed:
                slot.stop()
            elif slot is not None:
                self._restarts += 1
                self._slots.append(slot)
                self._free.append(slot)
            self._changed.notify_all()

    def _new_slot(self) -> Slot:
        """A slot in the place of one that is missing, whose controls were judged right. Raises NoVerdict."""
        slot = Slot(self._policy, self.config, self._places[0])
        slot.start()
        try:
            check_slot(slot, self.config)
        except NoVerdict:
            slot.stop()
            raise
        self._places.popleft()  # Only the thread that starts slots gets here.
        return slot

    def _check_open(self) -> None:
        if self._closed:
            raise InfrastructureError(COMPONENT, "the sandbox was used after it was closed")


class _SlotFailed(Exception):
    """A run without a verdict, and the slot that it was on."""

    def __init__(self, slot: Slot, error: InfrastructureError) -> None:
        super().__init__(str(error))
        self.slot = slot
        self.error = error
