"""The five questions that the curves of a report answer, in the order in which they matter, and their metrics."""

from __future__ import annotations

from dataclasses import dataclass

#: Stands for each task of a run in the name of a metric.
TASK = "{task}"


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: what it shows, with the unit.
        metrics: label and name of each curve; a name with ``{task}`` is one curve for each task.
    """

    title: str
    metrics: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Question:
    """A question, what its pictures say when all is well, and the pictures."""

    title: str
    well: str
    panels: tuple[Panel, ...]


def _panel(title: str, **metrics: str) -> Panel:
    return Panel(title, tuple((label.replace("_", " "), name) for label, name in metrics.items()))


QUESTIONS = (
    Question(
        "Is it learning?",
        "Held-out accuracy and uplift rise; the training reward rises with them.",
        (
            _panel("Held-out accuracy", accuracy="evaluation/{task}/accuracy"),
            _panel("Held-out uplift", uplift="evaluation/{task}/uplift"),
            _panel("Held-out trace validity", validity="evaluation/{task}/trace_validity"),
            _panel("Training reward", reward="reward/{task}/mean"),
        ),
    ),
    Question(
        "Is the reward honest?",
        "The reasoning RM's score moves with success and uplift; leaks and malformed traces stay rare.",
        (
            _panel("RM score and success", RM_score="rubric/score", success="system/success"),
            _panel("Uplift of training traces", uplift="system/{task}/uplift"),
            _panel("Share of leaks and malformed", leaks="system/leak", malformed="system/malformed"),
            _panel("Share of groups with signal", signal="reward/{task}/signal"),
        ),
    ),
    Question(
        "Is it on-policy?",
        "Staleness stays within its bound; engine and learner give the same log-probabilities.",
        (
            _panel("Staleness, versions", mean="stream/staleness_mean", most="stream/staleness_max"),
            _panel("Log-prob mismatch, nats", mean="learner/mismatch_mean"),
            _panel("Clipped or truncated", clipped="learner/clip_fraction", truncated="learner/truncated_fraction"),
            _panel("KL to the behaviour policy", KL="learner/behaviour_kl"),
        ),
    ),
    Question(
        "Is it fast?",
        "Steps take the same time throughout; most of it is generation.",
        (
            _panel("Step, seconds", step="time/step_s"),
            _panel("Tokens per second", planner="engine/tokens_per_s"),
            _panel("Seconds by phase", rollout="time/rollout", update="time/update", broadcast="time/broadcast"),
            _panel("Trace length, tokens", tokens="system/{task}/trace_tokens"),
        ),
    ),
    Question(
        "Is it healthy?",
        "Gradients and entropy change slowly; nothing is masked, dropped or started again.",
        (
            _panel("Gradient norm", norm="learner/grad_norm"),
            _panel("Entropy, nats", entropy="learner/entropy"),
            _panel("Masked traces, failed groups", masked="stream/masked", failed="stream/groups_failed"),
            _panel(
                "Restarts so far",
                planner="pools/planner/restarts",
                executor="pools/executor/restarts",
                verifier="pools/verifier/restarts",
                RM="pools/reasoning_rm/restarts",
            ),
        ),
    ),
)
