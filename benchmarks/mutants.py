"""Thirty bugs that trainers of this kind have had, each put into this project's own code by one replacement.

``old`` occurs exactly once in ``file``. ``tests`` are the unit tests that are nearest to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SCHEDULER, LEDGER, ROLLOUT = "rl/scheduler.py", "rl/ledger.py", "rl/rollout.py"
STREAM = ("rl/test_scheduler.py", "rl/test_ledger.py", "rl/test_loop.py")
GROUPS = ("rl/test_rollout.py", "rl/test_scheduler.py")
POOLS = ("pools",)
WEIGHTS = ("rl/test_weights.py", "rl/test_loop.py")
SAVES = ("training/test_checkpoint.py", "rl/test_loop.py")


@dataclass(frozen=True)
class Mutant:
    """One bug: what it does, as a user would meet it; the replacement; and the tests that may notice."""

    bug: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, package: Path) -> str:
        """The text of its file with the bug in it. Raises ``ValueError`` where ``old`` does not occur exactly once."""
        text = (package / self.file).read_text("utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.bug}: its text occurs {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)


MUTANTS = (
    Mutant(
        "a failed group keeps its place for ever: the buffer stays one short",
        SCHEDULER,
        "            self.ledger.failed(serial)\n",
        "",
        STREAM,
    ),
    Mutant(
        "groups without signal keep their places after their batch",
        SCHEDULER,
        "        self._zero_signal = 0\n        self._passed_over.clear()\n",
        "        self._passed_over.clear()\n",
        STREAM,
    ),
    Mutant(
        "the bound on staleness is off by one",
        SCHEDULER,
        "self.version - group.oldest_version > self.stream.max_staleness",
        "self.version - group.oldest_version > self.stream.max_staleness + 1",
        STREAM,
    ),
    Mutant(
        "a trace is as old as its newest token",
        "types.py",
        "        return min(\n            (t.trace.completion.oldest_version",
        "        return max(\n            (t.trace.completion.newest_version",
        STREAM,
    ),
    Mutant(
        "staleness is counted in batches here and in versions there",
        SCHEDULER,
        "(stream.max_staleness // algorithm.updates_per_batch + 1)",
        "(stream.max_staleness + 1)",
        STREAM,
    ),
    Mutant(
        "on-policy, groups are consumed as they finish, which favours short traces",
        SCHEDULER,
        "if self._by_index or self.stream.max_staleness == 0:",
        "if self.stream.max_staleness < 0:",
        STREAM,
    ),
    Mutant(
        "the newest finished group is consumed first, and old ones spoil",
        SCHEDULER,
        "return min(self._ended)",
        "return max(self._ended)",
        STREAM,
    ),
    Mutant(
        "a resume skips what was in flight",
        SCHEDULER,
        '"in_flight": sorted(in_flight)}',
        '"in_flight": []}',
        STREAM,
    ),
    Mutant(
        "a resume forgets the groups without signal of the batch that was forming",
        SCHEDULER,
        "        self._passed_over[serial] = self._tickets.pop(serial)\n",
        "        self._tickets.pop(serial)\n",
        STREAM,
    ),
    Mutant(
        "a resume gives groups new numbers",
        SCHEDULER,
        "            self.ledger.submit_again(ticket.serial)\n",
        "            ticket = replace(ticket, serial=self.ledger.submit())\n",
        STREAM,
    ),
    Mutant(
        "a resume starts the data again",
        SCHEDULER,
        '        self.sampler.restore(state["sampler"])\n',
        "",
        STREAM,
    ),
    Mutant(
        "one refill too many",
        SCHEDULER,
        "if len(self.replaced) < self.max_refills:",
        "if len(self.replaced) <= self.max_refills:",
        STREAM,
    ),
    Mutant(
        "an exception is scored 0",
        ROLLOUT,
        "            return Trajectory(trace, masked=str(error))",
        "            return Trajectory(trace, reward=0.0)",
        GROUPS,
    ),
    Mutant(
        "no answer from the verifier is a wrong answer",
        "rl/system.py",
        "        verdicts = await self.pools.verifier.verify(problem, artifacts)\n",
        "        try:\n"
        "            verdicts = await self.pools.verifier.verify(problem, artifacts)\n"
        "        except Exception:\n"
        '            verdicts = [__import__("tracelift_ray.types").types.Verdict("wrong_answer")] * len(artifacts)\n',
        GROUPS,
    ),
    Mutant(
        "no answer from the reward model is 0.5",
        "rl/system.py",
        "        score = await self.pools.reasoning_rm.score(problem, reasoning[: self.settings.max_trace_chars])\n",
        "        try:\n"
        "            score = await self.pools.reasoning_rm.score(problem, reasoning[: self.settings.max_trace_chars])\n"
        "        except Exception:\n"
        "            return RubricScore((2.0,) * 5, 0.5, 0.5)\n",
        GROUPS,
    ),
    Mutant(
        "a baseline that was not measured is 0",
        ROLLOUT,
        "        return await self.baselines.sample(ticket.problem, ticket.epoch, count, known)\n",
        "        try:\n"
        "            return await self.baselines.sample(ticket.problem, ticket.epoch, count, known)\n"
        "        except InfrastructureError:\n"
        "            return Baseline(0, count)\n",
        GROUPS,
    ),
    Mutant(
        "the fresh sample is one of the K",
        ROLLOUT,
        "fresh = executions[-1] if",
        "fresh = executions[0] if",
        GROUPS,
    ),
    Mutant(
        "all traces of a group have one seed",
        "rl/system.py",
        'seed=self._seed(sampling, "planner", *key, index)',
        'seed=self._seed(sampling, "planner", *key)',
        GROUPS,
    ),
    Mutant(
        "a problem has the same seeds in every epoch",
        ROLLOUT,
        "problem, key = ticket.problem, (ticket.problem.id, ticket.epoch)",
        "problem, key = ticket.problem, (ticket.problem.id, 0)",
        GROUPS,
    ),
    Mutant(
        "new weights do not reach the engines after some updates",
        "rl/loop.py",
        '            if training.samples:\n                with clock.phase("broadcast"):',
        '            if training.samples and self.progress.step % 2:\n                with clock.phase("broadcast"):',
        WEIGHTS,
    ),
    Mutant(
        "an engine's word for its version is taken, whatever it holds",
        "rl/weights.py",
        "(receipt.version, receipt.checksum) != (manifest.version, checksum)",
        "receipt.version != manifest.version",
        WEIGHTS,
    ),
    Mutant(
        "a restarted engine works before it has the weights",
        "pools/pool.py",
        "                if self.prepare is not None:\n",
        "                if self.prepare is None:\n",
        POOLS,
    ),
    Mutant(
        "a transfer and an update run at a time: half old, half new",
        "rl/weights.py",
        "    async with learner.lock:\n",
        "    if learner.lock:\n",
        WEIGHTS,
    ),
    Mutant(
        "a call that was retried never gives its place back",
        "pools/pool.py",
        "                self._admission.leave(member, since)\n",
        "                if len(tried) < 2:\n                    self._admission.leave(member, since)\n",
        POOLS,
    ),
    Mutant(
        "a deadline counts the time in the queue",
        "pools/pool.py",
        "            member, since = await self._admission.enter(lane, tried, first=bool(tried), near=near)\n",
        "            async with asyncio.timeout(self.limits.deadline_s):\n"
        "                member, since = await self._admission.enter(lane, tried, first=bool(tried), near=near)\n",
        POOLS,
    ),
    Mutant(
        "a deadline starts again at every trace of a group",
        ROLLOUT,
        "            async with asyncio.timeout(self.deadline_s):\n                return await self._run(ticket)\n",
        "            async with asyncio.timeout(self.deadline_s * self.group_size):\n"
        "                return await self._run(ticket)\n",
        GROUPS,
    ),
    Mutant(
        "a call that was given up on goes on in its member",
        "pools/pool.py",
        "                async with asyncio.timeout(deadline_s):\n                    return await call\n",
        "                return await asyncio.wait_for(asyncio.shield(call), deadline_s)\n",
        POOLS,
    ),
    Mutant(
        "a member that hangs is never looked at, and gets more work",
        "pools/pool.py",
        "            await self._check_health(member)\n",
        "",
        POOLS,
    ),
    Mutant(
        "a checkpoint has its name before its bytes are on the disk",
        "training/checkpoint.py",
        "        _flush_tree(draft.path)\n",
        "",
        SAVES,
    ),
    Mutant(
        "the old checkpoint is removed before the new one is whole",
        "rl/saving.py",
        "            saved = self.newest = await asyncio.to_thread(checkpoint.publish, draft, state)\n",
        "            for each in checkpoint.complete(self.checkpoints):\n"
        "                checkpoint._retire(each.path)\n"
        "            saved = self.newest = await asyncio.to_thread(checkpoint.publish, draft, state)\n",
        SAVES,
    ),
)
