"""Serves rubric scores over HTTP: ``python -m launch.serve_rm reasoning_rm.model=DIR``.

Every field is described in ``conf/serve_rm.yaml``, the protocol in ``docs/reasoning_rm.md``. SIGTERM or Ctrl-C ends it
in order: nothing new is taken, what is under way is answered.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.schema import ReasoningRmConfig
from tracelift_ray.planning.checks import CHOICES, RANGES
from tracelift_ray.planning.files import check_scorer
from tracelift_ray.planning.run_config import absolute_rm_paths
from tracelift_ray.planning.scoring import check_reasoning_rm
from tracelift_ray.types import Task

if TYPE_CHECKING:
    from aiohttp import web

    from tracelift_ray.reasoning_rm.scoring.judge import JudgeScorer
    from tracelift_ray.reasoning_rm.scoring.local import ModelScorer


@dataclass(frozen=True)
class ServeRmConfig:
    """What the service is told."""

    host: str
    port: int  # 0: a free one
    task: str  # of items that name none
    max_body_kib: int
    max_items: int
    max_waiting: int
    timeout_s: float
    drain_s: float
    reasoning_rm: ReasoningRmConfig


def check(config: ServeRmConfig) -> None:
    """Raises ConfigError for the first value out of range, and where there is nothing to score with."""
    rules = (
        ("host", bool(config.host), "must be an address to listen at, such as 127.0.0.1"),
        ("port", 0 <= config.port < 65536, "must be 0 (a free one) to 65535"),
        ("task", config.task in ("math", "code"), "must be math or code"),
        ("max_body_kib", config.max_body_kib >= 1, "must be 1 or more"),
        ("max_items", config.max_items >= 1, "must be 1 or more"),
        ("max_waiting", config.max_waiting >= config.max_items, f"must be max_items={config.max_items} or more"),
        ("timeout_s", config.timeout_s > 0, "must be above 0"),
        ("drain_s", config.drain_s >= 0, "must be 0 or more"),
    )
    for key, holds, right in rules:
        if not holds:
            raise ConfigError(key, getattr(config, key), right)
    rm = config.reasoning_rm
    words = CHOICES["reasoning_rm.dtype"]
    if rm.dtype not in words:
        raise ConfigError("reasoning_rm.dtype", rm.dtype, f"must be {' or '.join(words)}")
    for key, value in (
        ("reasoning_rm.max_length", rm.max_length),
        ("reasoning_rm.max_batch_tokens", rm.max_batch_tokens),
    ):
        in_range, right = RANGES[key]
        if not in_range(value):
            raise ConfigError(key, value, right)
    if rm.backend == "remote":
        raise ConfigError("reasoning_rm.backend", rm.backend, "cannot be served; point its clients at that service")
    check_reasoning_rm(rm)
    check_scorer(rm)


@entry_point("serve_rm")
def main(cfg: DictConfig) -> int:
    """The command: configuration first, so that a wrong value answers before anything heavy is imported."""
    config = to_dataclass(ServeRmConfig, cfg)
    config = replace(config, reasoning_rm=absolute_rm_paths(config.reasoning_rm, Path.cwd()))
    check(config)
    return asyncio.run(_serve(config))


async def _serve(config: ServeRmConfig) -> int:
    from aiohttp import web
    from transformers.utils import logging

    from tracelift_ray.reasoning_rm.service.server import ScoringService, ServiceLimits

    logging.disable_progress_bar()
    task = cast(Task, config.task)
    limits = ServiceLimits(task, config.max_body_kib, config.max_items, config.max_waiting, config.timeout_s)
    scorer, name = _scorer(config.reasoning_rm)
    try:
        await scorer.start()
        service = ScoringService(scorer, limits, {"backend": config.reasoning_rm.backend, "model": name})
        runner = web.AppRunner(
            service.application(), access_log=None, handler_cancellation=True, shutdown_timeout=config.drain_s
        )
        try:
            address = await _listen(runner, config)
            stop = _stop_signal()
            print(f"scores by {name} at http://{address}/score; SIGTERM or Ctrl-C ends it in order", flush=True)
            await stop.wait()
            print(f"taking nothing new; answering what is under way, {config.drain_s:g} s at most", flush=True)
            service.drain()
        finally:
            await runner.cleanup()  # stops listening, then waits for the requests under way
    finally:
        await scorer.close()
    return 0


def _scorer(config: ReasoningRmConfig) -> tuple[ModelScorer | JudgeScorer, str]:
    """What scores, and its name for people."""
    if config.backend == "judge" and config.judge is not None:
        from tracelift_ray.reasoning_rm.scoring.judge import JudgeScorer

        served = config.judge.engine.kind == "openai"
        return JudgeScorer(config.judge), config.judge.remote.model if served else config.judge.model
    from tracelift_ray.reasoning_rm.scoring.local import ModelScorer

    return ModelScorer(config), config.model


async def _listen(runner: web.AppRunner, config: ServeRmConfig) -> str:
    """Start to answer; the address, with the port that was found for 0."""
    from aiohttp import web

    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port).start()
    except OSError as error:
        right = f"cannot listen at {config.host} ({error.strerror or error}); choose another, or 0 for a free one"
        raise ConfigError("port", config.port, right) from error
    host, port = runner.addresses[0][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; the next one ends the process as usual."""
    stop, running = asyncio.Event(), asyncio.get_running_loop()

    def ask() -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            running.remove_signal_handler(each)
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(each, ask)
    return stop


if __name__ == "__main__":
    main()
