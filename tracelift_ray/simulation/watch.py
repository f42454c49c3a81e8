"""What must hold in every run, checked from outside: at each event, each batch, each update, each save and each resume.

A ``Watch`` outlives the simulated processes of a run. It keeps an account that shares no code with the scheduler and
the ledger, and goes back to the state of a checkpoint when a process resumes from it. Whatever breaks a rule is kept
in ``violations``; the loop ends the run after the event.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any

from tracelift_ray.reward.compute import floor_reward
from tracelift_ray.simulation.account import Account, Counts, Written
from tracelift_ray.tasks.table import task_of
from tracelift_ray.types import Baseline, Problem, Trace, TrainBatch, Trajectory

if TYPE_CHECKING:
    from tracelift_ray.config.schema import RewardConfig
    from tracelift_ray.rl.scheduler import GroupBatch
    from tracelift_ray.rl.tickets import Ticket
    from tracelift_ray.simulation.plan import Scenario


class Watch:
    """The rules of one simulated run."""

    def __init__(self, scenario: Scenario, reward: RewardConfig) -> None:
        self.scenario = scenario
        self.reward = reward
        self.violations: list[str] = []
        self.events: list[tuple[Any, ...]] = []
        self.account = Account()
        self.saved: list[Account] = []
        self.live = True
        self.moved = False  # a group came or went since the stream was looked at
        self.published = 0  # the step of the newest checkpoint that was announced
        self.evaluated: list[int] = []
        self.samples: list[tuple[int, str, int]] = []  # by executor sample: its trace (or -1), problem and epoch
        self.draws: dict[int, tuple[int, str]] = {}  # by serial, for the whole life of the run
        self.traces: list[Written] = []
        self.verdicts: dict[int, tuple[int, int]] = {}  # by executor sample: its trace (or -1) and success
        self.baselines: dict[tuple[str, int], set[tuple[int, int]]] = {}  # by problem and epoch (cached ones: -1)
        self.capacity = (scenario.max_staleness // scenario.updates_per_batch + 1) * scenario.groups_per_step
        self.restart()

    def restart(self) -> None:
        """A new process: what only lived in the memory of the last one is gone."""
        self.running: set[int] = set()
        self.ready: set[int] = set()
        self.tickets: dict[int, Ticket] = {}  # of both
        self.forming: list[tuple[int, str]] = []
        self.holding = 0  # groups without signal that keep their place until their batch is done
        self.sent: dict[int, str] = {}
        self.outdated: dict[int, str] = {}  # what was sent before the learner went back to a checkpoint
        self.batch: GroupBatch | None = None

    def event(self, now: float, *what: Any) -> None:
        """A line of the run's log."""
        if self.live:
            self.events.append((round(now, 6), *what))

    def check(self, holds: bool, rule: str, *details: Any) -> None:
        """Keep ``rule`` as broken unless it holds."""
        if not holds and self.live:
            self.violations.append(f"{rule}: {', '.join(map(str, details))}" if details else rule)

    # ---- groups

    def submitted(self, ticket: Ticket) -> None:
        """A group starts to run."""
        serial, drawn = ticket.serial, (ticket.epoch, ticket.problem.id)
        if serial not in self.draws:
            self.check(drawn not in self.draws.values(), "each problem is drawn once an epoch", serial, drawn)
            self.draws[serial] = drawn
        self.check(self.draws[serial] == drawn, "a resume keeps serial and problem together", serial, drawn)
        self.check(serial not in self.account.ended, "no group is run after it ended", serial)
        self.check(serial not in self.running | self.ready, "no group runs twice at a time", serial)
        self.running.add(serial)
        self.tickets[serial] = ticket
        if ticket.known is not None:
            self._given(ticket)

    def drawn(self, epoch: int, problem: str) -> None:
        """The sampler gives a problem."""
        broken = self.account.epochs.draw(epoch, problem, [f"p{i}" for i in range(self.scenario.problems)])
        self.check(not broken, broken, epoch, problem)

    def _given(self, ticket: Ticket) -> None:
        """A group is submitted, for the first time or again, with what is pooled of its problem's baseline."""
        account, known = self.account, ticket.known
        totals = (sum(n for n, _ in account.pooled.values()), sum(n for _, n in account.pooled.values()))
        now = account.pooled.get(ticket.problem.id, (0, 0)), totals
        expected = account.known.setdefault(ticket.serial, now)
        assert known is not None
        self.check((known.successes, known.samples) == expected[0], "a group keeps its baseline", ticket.serial)

    def finished(self, serial: int, held_s: float, deadline_s: float) -> None:
        """A group has all of its traces, or failed; it held on for ``held_s``."""
        self.running.discard(serial)
        self.ready.add(serial)
        self.check(held_s <= deadline_s + 1e-6, "a group ends within its deadline", serial, held_s)

    def consumed(self, serial: int, state: str) -> None:
        """The scheduler took a group: ``training``, or an end."""
        self.moved = True
        if state == "training" or serial in self.ready:
            self.check(serial in self.ready, "only a finished group is consumed", serial, state)
            self.check(serial == min(self.ready, default=-1), "the oldest finished group is consumed first", serial)
            if self.scenario.by_index:
                self.check(not any(s < serial for s in self.running), "groups keep their order", serial)
            self.ready.discard(serial)
        if state in ("failed", "dropped"):
            self.account.gaps += 1
            self.ended(serial, state)
        elif state != "trained" and (serial, "training") in self.forming:
            self.forming[self.forming.index((serial, "training"))] = (serial, state)
        elif state != "trained":
            self.forming.append((serial, state))

    def ended(self, serial: int, end: str) -> None:
        """The one end of a group."""
        self.check(serial not in self.account.ended, "a group ends once", serial, self.account.ended.get(serial), end)
        self.account.ended[serial] = end

    def taken(self, batch: GroupBatch, version: int) -> None:
        """A batch is complete."""
        self.batch = batch
        self.holding = len(batch.zero_signal)
        self.check(
            len(batch.groups) + len(batch.zero_signal) == self.scenario.groups_per_step,
            "a batch has its size",
            len(batch.groups),
            len(batch.zero_signal),
        )
        refills = len(batch.replaced)
        self.check(refills <= self.scenario.max_refills, "refills are bounded", refills)
        serials = [scored.group.serial for scored in batch.seen]
        self.check(len(serials) == len(set(serials)), "a batch holds a group once", serials)
        self.check(
            sorted(serials) == sorted(serial for serial, _ in self.forming), "a batch is what was consumed", serials
        )
        for scored in batch.seen:
            group = scored.group
            self.check(self.draws[group.serial][1] == group.problem.id, "a group keeps its problem", group.serial)
            kept = sum(trajectory.masked is None for trajectory in group.trajectories)
            self.check(kept >= self.scenario.min_traces, "a group has enough traces", group.serial, kept)
            self.account.gaps += self.scenario.group_size - kept
            for trajectory, advantage in zip(group.trajectories, scored.advantages, strict=True):
                self.check((trajectory.reward is None) == (trajectory.masked is not None), "a mask is no reward")
                self.check((advantage is None) == (trajectory.masked is not None), "a mask has no advantage")
                if trajectory.masked is None:
                    self._rewarded(group.serial, group.problem, trajectory, group.baseline)
        for scored in batch.groups:
            oldest = [self._trace(t).version for t in scored.group.trajectories if t.masked is None]
            behind = version - min(oldest, default=version)
            self.check(behind <= self.scenario.max_staleness, "nothing too old is trained", scored.group.serial, behind)

    def done(self, batch: GroupBatch, version: int) -> None:
        """The batch was trained, or passed over."""
        account = self.account
        for scored in batch.groups:
            self.ended(scored.group.serial, "trained")
        for scored in (*batch.zero_signal, *batch.replaced):
            self.ended(scored.group.serial, "filtered")
        content = tuple(
            (scored.group.serial, *self.draws[scored.group.serial], tuple(t.reward for t in scored.group.trajectories))
            for scored in sorted(batch.seen, key=lambda each: each.group.serial)
        )
        for group in (scored.group for scored in batch.seen):
            if group.serial in account.known and group.baseline is not None:
                drawn = self._drawn(group.serial, group.baseline)
                successes, samples = account.pooled.get(group.problem.id, (0, 0))
                account.pooled[group.problem.id] = (successes + drawn[0], samples + drawn[1])
            if self.scenario.curriculum and group.baseline is not None:
                account.epochs.measured(group.problem.id, group.baseline, self.scenario.baseline != "per_group")
        account.step += 1
        account.consumed.append((account.step, version, content))
        self.check(version >= account.version, "versions only grow", account.version, version)
        account.version = version
        self.forming, self.holding, self.batch = [], 0, None

    def _trace(self, trajectory: Trajectory) -> Written:
        return self.traces[trajectory.trace.completion.token_ids[1]]

    def _rewarded(self, serial: int, problem: Problem, got: Trajectory, baseline: Baseline | None) -> None:
        """Whether a reward is the one that the members' own answers give."""
        number = got.trace.completion.token_ids[1]
        written = self.traces[number]
        epoch, name = self.draws[serial]
        asked = (name, epoch, got.trace.index)
        self.check((written.problem, written.epoch, written.index) == asked, "a trace belongs to its group", asked)
        if got.trace.reasoning is None:
            floor = floor_reward(self.reward, task_of(problem.task).reward_form)
            self.check(
                got.reward == floor and not got.executions, "a malformed trace has the floor", serial, got.reward
            )
            return
        tracelift = self.scenario.arm == "tracelift"
        samples = [*got.executions, *([got.fresh] if got.fresh else [])]
        wanted = (self.reward.num_samples if tracelift else 0) + 1
        self.check(len(samples) == wanted, "a reward has all of its verdicts", serial, len(samples))
        numbers = {sample_number(each.artifact.completion_text) for each in samples}
        self.check(len(numbers) == len(samples), "no sample counts twice", serial)
        for each in samples:
            known = self.verdicts.get(sample_number(each.artifact.completion_text))
            self.check(known == (number, each.verdict.success), "a verdict is the verifier's, on this trace", serial)
        mean = sum(each.verdict.success for each in got.executions) / max(1, len(got.executions))
        value = float(got.fresh.verdict.success) if got.fresh else mean  # every sample in turn, which is their mean
        if tracelift:
            base = (-1, 0) if baseline is None else self._drawn(serial, baseline)
            measured = self.baselines.get((problem.id, -1 if self.scenario.baseline == "cached" else epoch), ())
            enough = base == (0, 0) and serial in self.account.known
            self.check(enough or base in measured, "a baseline was measured on its problem", serial)
            score = quality_score(written.quality)
            self.check(
                got.rubric is not None and got.rubric.score == score, "a score is the RM's, on this trace", serial
            )
            value = 0.5 * value + 0.5 * score * (mean - self._rate(serial, base))
        self.check(got.reward is not None and abs(got.reward - value) < 1e-9, "a reward follows from its parts", serial)

    def _drawn(self, serial: int, baseline: Baseline) -> Counts:
        """What a group has drawn itself."""
        (successes, samples), _ = self.account.known.get(serial, ((0, 0), (0, 0)))
        return baseline.successes - successes, baseline.samples - samples

    def _rate(self, serial: int, drawn: Counts) -> float:
        """The success rate without a trace that a group's rewards are made with."""
        if serial not in self.account.known:
            return drawn[0] / max(1, drawn[1])
        (successes, samples), (passed, tried) = self.account.known[serial]
        strength = self.reward.baseline_strength
        prior = strength * (passed + 1) / (tried + 2)
        return (successes + drawn[0] + prior) / (samples + drawn[1] + strength)

    # ---- weights, updates

    def faulty(self, version: int | None, weights: str | None, member: str) -> bool:
        """An engine wrote a trace with ``weights`` and called them ``version``; whether they are not.

        Corrupt weights serve until the broadcast has the receipts of all engines, and ends the run.
        """
        faulty = version is None or weights not in (self.sent.get(version), self.outdated.get(version))
        corrupt = version in self.sent and weights == f"{self.sent[version]}?"
        self.check(corrupt or not faulty, "an engine serves what was broadcast as its version", member, version)
        return faulty

    def update(self, batch: TrainBatch, version: int) -> None:
        """The learner gets ``batch`` at ``version``."""
        if self.batch is None:
            return self.check(False, "an update has a batch")
        if not self.scenario.max_staleness:
            self.check(not self.running, "on-policy, nothing runs while the learner works", *self.running)
        kept = {
            t.trace.completion.token_ids[1]: t
            for scored in self.batch.groups
            for t in scored.group.trajectories
            if t.masked is None
        }
        numbers = [sample.completion_ids[1] for sample in batch.samples]
        self.check(sorted(numbers) == sorted(kept), "the learner trains on the batch, and on no masked trace", numbers)
        for number in numbers:
            self.check(number not in self.account.trained, "a trace is trained on once", number)
            written = self.traces[number]
            self.check(version - written.version <= self.scenario.max_staleness, "no older trace is trained on", number)
            self.check(not written.faulty, "no trace of corrupt weights is trained on", number)
            self.account.trained.add(number)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """A step reports its account."""
        counts = Counter(self.account.ended.values())
        for end in ("trained", "filtered", "failed", "dropped"):
            found = values[f"groups/{end}"]
            self.check(found == counts[end], "the account of groups is right", step, end, found, counts[end])
        held = sum(values[f"groups/{state}"] for state in ("running", "ready", "training"))
        self.check(values["groups/submitted"] == sum(counts.values()) + held, "the account adds up", step)
        self.check(step == self.account.step, "steps are counted one by one", step, self.account.step)

    # ---- saves

    def save(self, version: int) -> int:
        """The state of this moment is written; its number."""
        self.check(version == self.account.version, "a save holds the version that was trained", version)
        saved = copy.deepcopy(self.account)
        saved.gaps += self._unwritten()
        self.saved.append(saved)
        return len(self.saved) - 1

    def _unwritten(self) -> int:
        """Traces that faults kept from being written under the weights that were theirs: a resume writes them again.

        On-policy the weights of a group in flight are those of the save, so nothing is lost by that.
        """
        if not self.scenario.max_staleness:
            return 0
        failed = sum(list(self.tickets[serial].traces.values()).count(None) for serial in self.running)
        missing = (self.scenario.group_size - len(self._written(self.tickets[serial])) for serial in self.ready)
        return failed + sum(missing)

    @staticmethod
    def _written(ticket: Ticket) -> list[Trace]:
        return [trace for trace in ticket.traces.values() if trace is not None]

    def saved_stream(self, state: dict[str, Any]) -> None:
        """Every problem that was drawn is in the saved stream once: ended, or in flight."""
        serials = sorted(serial for serial, _, _ in state["in_flight"])
        drawn = self.account.epochs.drawn
        whole = sorted([*serials, *self.account.ended])
        self.check(whole == list(range(drawn)), "a save accounts for every problem once", whole, drawn)
        counts = Counter(self.account.ended.values())
        ends = {end: state["ledger"][end] for end in ("trained", "filtered", "dropped", "failed")}
        self.check(all(ends[end] == counts[end] for end in ends), "a save counts what has ended", ends, dict(counts))

    def saved_traces(self, state: dict[str, Any]) -> None:
        """The stream is saved, with the traces of groups in flight that it keeps."""
        for group in state.get("traces", {}).values():
            for trace in group["traces"]:
                number = trace["completion"]["token_ids"][1]
                self.check(not self.traces[number].faulty, "no trace of corrupt weights is saved", number)

    def resume(self, number: int | None, *, engines_stay: bool) -> None:
        """A process goes on from the save ``number``; None: from the beginning. ``engines_stay``: its learner does."""
        outdated = {**self.outdated, **self.sent} if engines_stay else {}
        self.account = Account() if number is None else copy.deepcopy(self.saved[number])
        self.evaluated = [step for step in self.evaluated if step <= self.account.step and number is not None]
        if self.scenario.curriculum:  # what is drawn from there on follows from what is measured
            self.draws = {serial: drawn for serial, drawn in self.draws.items() if serial < self.account.epochs.drawn}
        self.live = True
        self.restart()
        self.outdated = outdated

    def over(self) -> None:
        """The run has come to its end."""
        scenario = self.scenario
        self.check(self.account.step == scenario.steps, "a run has all of its steps", self.account.step)
        every = scenario.evaluate_every
        due = {0, scenario.steps, *(range(every, scenario.steps, every) if every else ())}
        self.check(sorted(self.evaluated) == sorted(due), "each evaluation is there once", self.evaluated)


def quality_score(quality: int) -> float:
    """The simulated reasoning RM's score of a trace."""
    return (quality % 4 + 1) / 4


def sample_number(text: str) -> int:
    """The number that a simulated executor writes into its sample."""
    return int(text.split()[0][1:])
