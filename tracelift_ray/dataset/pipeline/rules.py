"""The plug-ins that make groups by rule, for each task."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from tracelift_ray.config.schema import SandboxConfig
from tracelift_ray.dataset.pipeline.stages import TaskRules
from tracelift_ray.types import DataError, Task

if TYPE_CHECKING:
    from tracelift_ray.dataset.code_rules.trials import Trials

#: Kinds whose flaw is what a trace gives away; all other traces must give nothing away.
LEAKS = frozenset({"leaked_answer", "leaked_implementation"})


class Rules:
    """The plug-ins of one build, made when they are first needed. Owns the sandbox that those for code run in."""

    def __init__(self, sandbox: SandboxConfig) -> None:
        self._sandbox = sandbox
        self._made: dict[Task, TaskRules] = {}
        self._trials: Trials | None = None

    def of(self, task: Task) -> TaskRules:
        """The plug-ins of a task. Raises DataError for a task without rules."""
        if task not in self._made:
            makers = {"math": self._math, "code": self._code}
            if task not in makers:
                raise DataError(f"no rules make traces of task {task!r}: there are rules for {' and '.join(makers)}")
            self._made[task] = makers[task]()
        return self._made[task]

    def close(self) -> None:
        """End the sandbox."""
        if self._trials is not None:
            self._trials.close()

    def __enter__(self) -> Rules:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _math(self) -> TaskRules:
        from tracelift_ray.dataset.math_rules.perturber import MathPerturber
        from tracelift_ray.dataset.math_rules.rubrics import MathRubrics
        from tracelift_ray.dataset.math_rules.traces import MathTraces

        return TaskRules(MathTraces(), MathPerturber(), MathRubrics())

    def _code(self) -> TaskRules:
        from tracelift_ray.dataset.code_rules.flaws import CodePerturber
        from tracelift_ray.dataset.code_rules.rubrics import CodeRubrics
        from tracelift_ray.dataset.code_rules.traces import CodeTraces
        from tracelift_ray.dataset.code_rules.trials import Trials

        self._trials = Trials(self._sandbox)
        return TaskRules(CodeTraces(self._trials), CodePerturber(self._trials), CodeRubrics())
