"""Serves rubric scores over HTTP: ``python -m launch.serve_rm reasoning_rm.model=DIR``.

Every field is described in ``conf/serve_rm.yaml``, the protocol in ``docs/reasoning_rm.md``. SIGTERM or Ctrl-C ends it
in order: nothing new is taken, what is under way is answered.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from omegaconf import DictConfig

from launch.entry import entry_point
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.config.load import to_dataclass
from tracelift_ray.config.models import ReasoningRmConfig
from tracelift_ray.config.rules import Between, Given, NotNegative, OneOf, Positive, PositiveCount
from tracelift_ray.planning.files import check_scorer
from tracelift_ray.planning.run_config import absolute_rm_paths
from tracelift_ray.reasoning_rm.scoring.kinds import build_scorer, check_reasoning_rm, scorer_kind

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True)
class ServeRmConfig:
    """The settings of the service."""

    host: Annotated[str, Given("an address to listen at, such as 127.0.0.1")]
    port: Annotated[int, Between(0, 65535)]  # 0: a free one
    task: Annotated[str, OneOf("tracelift_ray.tasks.table:TASKS")]  # of items that name none
    max_body_kib: PositiveCount
    max_items: PositiveCount
    max_waiting: PositiveCount
    timeout_s: Positive
    drain_s: NotNegative
    reasoning_rm: ReasoningRmConfig


def check(config: ServeRmConfig) -> None:
    """Raises ConfigError where two values do not fit each other, and where there is nothing to score with."""
    if config.max_waiting < config.max_items:
        raise ConfigError("max_waiting", config.max_waiting, f"must be max_items={config.max_items} or more")
    rm = config.reasoning_rm
    if not scorer_kind(rm).servable:
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
    from tracelift_ray.tracking.alive import heartbeat

    logging.disable_progress_bar()
    limits = ServiceLimits(config.task, config.max_body_kib, config.max_items, config.max_waiting, config.timeout_s)
    scorer, name = build_scorer(config.reasoning_rm), scorer_kind(config.reasoning_rm).name(config.reasoning_rm)
    try:
        with heartbeat(_say, f"loading {name}"):
            await scorer.start()
        service = ScoringService(scorer, limits, {"backend": config.reasoning_rm.backend, "model": name})
        runner = web.AppRunner(
            service.application(), access_log=None, handler_cancellation=True, shutdown_timeout=config.drain_s
        )
        try:
            address = await _listen(runner, config)
            stop = _stop_signal()
            _say(f"scores by {name} at http://{address}/score; SIGTERM or Ctrl-C ends it in order")
            await stop.wait()
            _say(f"taking nothing new; answering what is under way, {config.drain_s:g} s at most")
            service.drain()
        finally:
            await runner.cleanup()  # stops listening, then waits for the requests under way
    finally:
        await scorer.close()
    return 0


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


def _say(line: str) -> None:
    print(line, flush=True)


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
