"""The values that cross module boundaries: problem, trace, artifact, verdict, rubric score, trajectory, group.

All are frozen dataclasses of plain Python values, so that they pickle cheaply between processes
and mean the same thing in the library, in Ray actors and in the files of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

FinishReason = Literal["stop", "length"]
TestKind = Literal["stdio", "function"]
#: Why a trace is malformed: its tag never opens, is not closed, the length limit cut it, or it holds nothing.
Malformed = Literal["unopened", "unclosed", "length", "empty"]
#: What became of an artifact. All but "passed" are failures that the artifact itself caused.
Outcome = Literal[
    "passed",
    "wrong_answer",
    "runtime_error",
    "time_limit",
    "memory_limit",
    "output_limit",
    "does_not_compile",
    "no_artifact",
]
TOP_LABEL = 4
#: Share of the labels' score in q; the rest is the total (paper, arXiv 2605.03862).
DERIVED_WEIGHT = 0.5
#: How the name of a reward model's architecture ends, in its config.json.
REWARD_MODEL_ENDING = "ForReasonRewardModel"


@dataclass(frozen=True)
class CodeTests:
    """The tests of a code problem.

    ``stdio`` tests feed ``inputs[i]`` on stdin and compare stdout with ``outputs[i]``. ``function`` tests run
    ``setup`` and then each statement of ``asserts`` beside the program; with an ``entry_point`` and one
    ``check(candidate)`` body in ``asserts`` this is the HumanEval form.

    ``exact``, ``abs_tol`` and ``rel_tol`` say how stdout is compared (``tasks.code_tests.OutputRule``); by
    default the tokens between white space must be the same.
    """

    kind: TestKind
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    asserts: tuple[str, ...] = ()
    setup: str = ""
    entry_point: str | None = None
    exact: bool = False
    abs_tol: float | None = None
    rel_tol: float | None = None

    def __len__(self) -> int:
        return len(self.inputs) if self.kind == "stdio" else len(self.asserts)

    def limited(self, count: int) -> CodeTests:
        """The same problem with only its first ``count`` tests."""
        return replace(self, inputs=self.inputs[:count], outputs=self.outputs[:count], asserts=self.asserts[:count])


@dataclass(frozen=True)
class Problem:
    """What is to be solved.

    Attributes:
        id: unique within a data set; seeds and caches are keyed by it.
        task: one of ``tasks.table.TASKS``.
        task_type: free text such as ``algorithm``; shown to the reasoning RM.
        statement: the text shown to planner, executor and RM.
        answer: the reference answer, where artifacts are checked against one.
        tests: the tests, where artifacts are programs.
        solution: a worked solution or reference program where the data has one.
        tests_text: tests or constraints that the data gives as text, stripped and otherwise as it stands; what the
            reasoning RM reads of them. Empty where there is none.
        entry: the record of a generator that scores answers itself, as JSON. Empty where there is none.
    """

    id: str
    task: str
    statement: str
    task_type: str = ""
    answer: str | None = None
    tests: CodeTests | None = None
    solution: str | None = None
    tests_text: str = ""
    entry: str = ""


@dataclass(frozen=True)
class Completion:
    """One sample from an engine.

    Attributes:
        token_ids: exactly the ids that the engine emitted, the stop token included.
        text: their decoding without special tokens, cut after a stop string where one ended it.
        logprobs: natural log-probabilities of ``token_ids`` under the distribution that they were drawn from, after
            temperature, top-k and top-p; None where not asked for.
        finish_reason: ``length`` where the limit cut the sample.
        oldest_version, newest_version: policy versions that wrote the first and the last token (0 for frozen models).
    """

    token_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    logprobs: tuple[float, ...] | None = None
    oldest_version: int = 0
    newest_version: int = 0


@dataclass(frozen=True)
class Trace:
    """A planner's completion read as a trace.

    Attributes:
        prompt_ids: the token ids the planner was given.
        completion: the sample; the learner trains on its ids and behaviour log-probs (token in, token out).
        reasoning: the text inside the tag, stripped; None where the trace is malformed, unless ``malformed:
            whole_text`` takes its whole text instead.
        malformed: the kind of malformation, or None.
        prompt: the text of ``prompt_ids``, for people.
    """

    problem_id: str
    index: int
    prompt_ids: tuple[int, ...]
    completion: Completion
    reasoning: str | None
    malformed: Malformed | None = None
    prompt: str = ""


@dataclass(frozen=True)
class Artifact:
    """The executor's output: a final answer or a program, as read from its completion (None: none was found)."""

    content: str | None
    completion_text: str


@dataclass(frozen=True)
class Verdict:
    """What a verifier says of an artifact; always about the artifact, never about the verifier's own failures.

    ``passed_tests`` of ``total_tests`` (math counts as one test). ``detail`` is capped text for people. What it took to
    get there (CPU and wall-clock seconds of all tests together, the largest resident size in MiB) and what the program
    wrote (capped) differ from run to run, and are not compared.
    """

    outcome: Outcome
    passed_tests: int = 0
    total_tests: int = 1
    detail: str = ""
    cpu_s: float = field(default=0.0, compare=False)
    wall_s: float = field(default=0.0, compare=False)
    peak_mib: float = field(default=0.0, compare=False)
    stdout: str = field(default="", compare=False)
    stderr: str = field(default="", compare=False)

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    @property
    def success(self) -> int:
        """1 where passed, else 0."""
        return int(self.passed)


@dataclass(frozen=True)
class RubricScore:
    """A rubric judgement: ``labels`` in [0, 4] by dimension (expected labels, so real numbers; empty where a scorer
    elsewhere gives none), ``total`` and the score ``q`` used by the reward in [0, 1]. ``truncated`` where the RM did
    not see the whole input."""

    labels: tuple[float, ...]
    total: float
    score: float
    truncated: bool = False

    @classmethod
    def of(cls, labels: Sequence[float], total: float) -> RubricScore:
        """The score q of five labels in [0, 4], which weigh the same, and a total in [0, 1]."""
        derived = sum(labels) / (TOP_LABEL * len(labels))
        return cls(tuple(map(float, labels)), total, DERIVED_WEIGHT * derived + (1 - DERIVED_WEIGHT) * total)


@dataclass(frozen=True)
class Execution:
    """One executor sample and its verdict."""

    artifact: Artifact
    verdict: Verdict


@dataclass(frozen=True)
class Baseline:
    """The executor without a trace: ``successes`` of ``samples``, and those that a prior stands for.

    ``executions`` are the samples that were drawn for the group that has the baseline, for people. No reward and no
    comparison reads them, and neither a cache, a pool nor a checkpoint keeps them: from there they are empty.
    """

    successes: int
    samples: int
    prior_successes: float = 0.0
    prior_samples: float = 0.0
    executions: tuple[Execution, ...] = field(default=(), compare=False, repr=False)

    @property
    def rate(self) -> float:
        """The success rate in [0, 1]; with a prior the posterior mean."""
        return (self.successes + self.prior_successes) / (self.samples + self.prior_samples)


@dataclass(frozen=True)
class Trajectory:
    """A trace with all that is known of it, and its reward.

    Attributes:
        executions: the K executor samples with the trace; empty for a floored malformed trace or an arm without uplift.
        fresh: the extra sample that ``e2e: fresh`` and the execution reward use.
        rubric: the reasoning RM's score, where the arm uses one.
        uplift: mean success with the trace minus baseline in [-1, 1], where the arm uses one.
        reward: None exactly where the trace is masked.
        masked: why the trace takes no part in training (an infrastructure error, say), or None.
        leaked: whether the trace states the reference answer.
        components: the parts of the reward by name, as the arm declares them; empty where the trace is masked.
    """

    trace: Trace
    executions: tuple[Execution, ...] = ()
    fresh: Execution | None = None
    rubric: RubricScore | None = None
    uplift: float | None = None
    reward: float | None = None
    masked: str | None = None
    leaked: bool = False
    components: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """All traces sampled for one problem at one time.

    Attributes:
        serial: counts submissions of the run; groups are consumed in this order when on-policy.
        submitted_version: the learner's version at submission.
        baseline: the executor without a trace, shared by the group; None where the arm needs none.
    """

    serial: int
    problem: Problem
    submitted_version: int
    trajectories: tuple[Trajectory, ...]
    baseline: Baseline | None = None

    @property
    def oldest_version(self) -> int:
        """The oldest policy version that wrote any trace of the group that is trained on."""
        return min(
            (t.trace.completion.oldest_version for t in self.trajectories if t.masked is None),
            default=self.submitted_version,
        )


@dataclass(frozen=True)
class ScoredGroup:
    """A finished group, and what its traces are worth to the learner.

    Attributes:
        advantages: of each trajectory; None for masked ones, all zero where the group has no signal.
        has_signal: whether the group moves the policy.
    """

    group: Group
    advantages: tuple[float | None, ...]
    has_signal: bool


@dataclass(frozen=True)
class TrainSample:
    """One trace as the learner sees it: ids and behaviour log-probs as the engine emitted them, and an advantage.

    ``group_tokens`` counts the completion tokens of all traces of its group that the batch counts.
    """

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    behaviour_logprobs: tuple[float, ...]
    advantage: float
    group_tokens: int = 0

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True)
class TrainBatch:
    """What one learner step trains on.

    ``num_traces`` and ``num_tokens`` (completion tokens) count every unmasked trace of the batch, and ``num_groups``
    every group with one, those without signal included, so that normalisers do not depend on which samples carry
    gradient.
    """

    samples: tuple[TrainSample, ...]
    num_traces: int
    num_tokens: int
    num_groups: int = 0


@dataclass(frozen=True)
class SamplingParams:
    """How an engine samples. ``stop`` strings end a sample and stay in its token ids. ``seed`` None: unseeded;
    ``top_k`` 0: all tokens. ``until``: a pattern of ``re`` (multi-line) that ends in a newline and ends a sample's text
    where its first match ends; empty: none."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    n: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    top_k: int = 0
    until: str = ""


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt: token ids for engines of ours, and chat messages for remote chat servers.

    ``strip_thinking``: the model's own reasoning is no part of what is read of a completion (``tasks.thinking``).
    ``near``: prompts that begin alike have this in common, so that a pool gives them to one engine, whose prefix cache
    then computes the beginning once; empty: none.
    """

    token_ids: tuple[int, ...]
    text: str
    messages: tuple[tuple[str, str], ...] = field(default=())
    strip_thinking: bool = False
    near: str = ""
