"""Weights & Biases: one row for each step, in named groups over one step axis, tables of traces, saves as artifacts.

It promises three things. Nothing about W&B stops a run or holds it up, whatever it raises: what is sent to it goes
through a thread; where a server is not reached, or refuses, the same run is written offline, with a line; a service
that does not start, dies or hangs is left alone, with a line. No step is ever written twice, however often the run is
killed and resumed: the last row's step is kept in ``wandb_run.json`` before the row is sent (a kill may cost the rows
of the last second). Offline, nothing touches the network.
"""

from __future__ import annotations

import contextlib
import json
import netrc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tracelift_ray.config.schema import TrackingConfig
from tracelift_ray.tracking.alive import heartbeat
from tracelift_ray.tracking.background import Background
from tracelift_ray.tracking.questions import TRACES, best_of
from tracelift_ray.tracking.run_dir import RunDirectory, write_whole
from tracelift_ray.tracking.wandb_artifacts import UPLOAD_S, ArtifactLog

GROUPS = (
    *("reward", "system", "rubric", "stream", "data", "groups", "learner", "time", "engine", "weights", "faults"),
    *("rates", "pools", "processes", "nodes", "evaluation", "distribution"),
)
_DEFAULT_SERVER = "https://api.wandb.ai"
_INIT_TIMEOUT_S = 30.0
#: Seconds in which what waits for the server must be sent at the end of a run.
FINISH_S = 120.0
#: Seconds after which a service that takes nothing is left alone.
PATIENCE_S = 60.0
#: W&B's own process dies with ours and buffers for 15 s unless asked not to.
_FLUSH_INTERVAL_S = 1.0
#: The name of the process that W&B starts.
_SERVICE = "wandb-core"
#: Characters of an error in a line.
_ERROR_LENGTH = 300
_TABLE_COLUMNS = (
    *("step", "group", "problem", "task", "statement", "trace", "malformed", "verdicts"),
    *("baseline", "uplift", "rubric", "rm_score", "reward", "advantage", "leaked"),
)


def has_credentials(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether W&B could log in: ``WANDB_API_KEY`` is set, or a netrc file has an entry for its server."""
    if environment.get("WANDB_API_KEY"):
        return True
    host = urlsplit(environment.get("WANDB_BASE_URL") or _DEFAULT_SERVER).hostname or ""
    path = Path(environment.get("NETRC") or Path(environment.get("HOME") or "~").expanduser() / ".netrc")
    try:
        return host in netrc.netrc(str(path)).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def resolve_mode(wanted: str, environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """The mode in force and why, for people.

    Args:
        wanted: ``tracking.wandb``; ``auto`` is online with credentials and offline without.
    """
    if wanted != "auto":
        return wanted, f"tracking.wandb={wanted}"
    if environment.get("WANDB_MODE") in ("online", "offline", "disabled"):
        return environment["WANDB_MODE"], f"WANDB_MODE={environment['WANDB_MODE']}"
    if has_credentials(environment):
        return "online", "credentials found"
    return "offline", "no WANDB_API_KEY and no netrc entry"


def table_row(record: Mapping[str, Any]) -> list[Any]:
    """One row of the table of traces, from a record of ``trajectories.jsonl``; its columns are ``_TABLE_COLUMNS``."""
    rubric = record["rubric"]
    labels = "" if rubric is None else ", ".join(f"{name} {value:.1f}" for name, value in rubric["labels"].items())
    shown = dict(record) | {
        "trace": record["reasoning"] if record["reasoning"] is not None else record["text"],
        "verdicts": ", ".join(verdict["outcome"] for verdict in record["verdicts"]),
        "rubric": labels,
        "rm_score": None if rubric is None else rubric["score"],
        "malformed": record["malformed"] or "",
    }
    return [shown[column] for column in _TABLE_COLUMNS]


class WandbSink:
    """One W&B run. Use ``WandbSink.start``; every method is harmless once the service has failed.

    Args:
        run: what ``wandb.init`` returned.
        sent_before: steps up to here were sent by an earlier start, and are not sent again; -1: none.
        state_path: keeps the run's id and the step of the last row that was sent.
        say: prints one line.
        artifacts: makes artifacts of saves; None: nothing does.
    """

    def __init__(
        self,
        run: Any,
        run_id: str,
        sent_before: int,
        state_path: Path,
        say: Callable[[str], None],
        artifacts: ArtifactLog | None = None,
    ) -> None:
        self.run_id = run_id
        self._run: Any | None = run
        self._sent_before = sent_before
        self._state_path = state_path
        self._say = say
        self._artifacts = artifacts
        self._step = -1
        self._row: dict[str, Any] = {}
        self._known: set[str] = set()  # metrics whose summary is defined
        self._background = Background("wandb")  # W&B's own calls wait where its service does not read

    @classmethod
    def start(
        cls,
        config: TrackingConfig,
        directory: RunDirectory,
        run_config: Mapping[str, Any],
        name: str,
        *,
        resumed: bool,
        say: Callable[[str], None],
    ) -> WandbSink | None:
        """Start or go on with the run's W&B run; None where it is disabled or does not start, which ``say`` tells."""
        mode, reason = resolve_mode(config.wandb)
        if mode == "disabled":
            say(f"W&B: disabled ({reason})")
            return None
        stored = _stored_position(directory.wandb_state_path) if resumed else None
        run_id, sent_before = stored or (os.urandom(4).hex(), -1)
        try:
            _store_position(directory.wandb_state_path, run_id, sent_before)
            with heartbeat(say, f"W&B: starting, {_INIT_TIMEOUT_S:g} s at most"):
                try:
                    run = _init(config, mode, directory.path, run_config, name, run_id)
                except Exception as error:  # the server, the network or the key: files need none of them
                    if mode != "online":
                        raise
                    _end_service()  # which holds on to a run that it could not start
                    mode, reason = "offline", f"{reason}, but online it did not start: {_one_line(error)}"
                    run = _init(config, mode, directory.path, run_config, name, run_id)
        except Exception as error:  # a sink that does not start, for whatever reason, is left alone
            say(f"W&B: did not start ({_one_line(error)}); the run goes on, metrics are in {directory.metrics_path}")
            _end_service()
            return None
        where = run.url if mode == "online" else f"{directory.path / 'wandb'}, upload with `wandb sync`"
        say(f"W&B: {mode} ({reason}), run {run_id}: {where}")
        artifacts = ArtifactLog(config.wandb_artifacts, directory.path / "wandb" / "artifacts", say)
        return cls(run, run_id, sent_before, directory.wandb_state_path, say, artifacts)

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add metrics to the row of ``step``; the row before is sent when the step moves on."""
        if self._run is None or step <= self._sent_before:
            return
        if step != self._step:
            self._send()
            self._step = step
        self._row |= metrics

    def rewind(self) -> None:
        """Steps that were sent will come again, and are left out then."""
        self._send()
        self._sent_before = max(self._sent_before, self._step)

    def log_traces(self, step: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Add a table of traces to the row of ``step``."""
        if self._run is None or step <= self._sent_before or not records:
            return
        with self._stopped_by_failure():
            import wandb

            table = wandb.Table(columns=list(_TABLE_COLUMNS), data=[table_row(record) for record in records])
            self.log(step, {TRACES: table})

    def log_distributions(self, step: int, values: Mapping[str, Sequence[float]]) -> None:
        """Add histograms to the row of ``step``."""
        if self._run is None or step <= self._sent_before:
            return
        with self._stopped_by_failure():
            import wandb

            self.log(step, {name: wandb.Histogram(list(some)) for name, some in values.items()})

    def log_save(self, saved: Path) -> None:
        """Have a complete checkpoint made an artifact of the run, as the configuration asks; nothing waits for it."""
        if self._artifacts is not None and self._run is not None:
            self._artifacts.add(saved, lambda: self._run)

    def note(self, name: str, text: str) -> None:
        """Put a text into the run's summary."""

        def write(run: Any) -> None:
            run.summary[name] = text

        self._in_turn(write)

    def close(self, exit_code: int = 0) -> None:
        """Send the last row and finish; closing twice is harmless."""
        self._send()
        if self._run is None:
            return
        failed = list[str]()
        if self._artifacts is not None and (waiting := self._artifacts.waiting):
            with heartbeat(self._say, f"W&B: sending {waiting} artifacts, {UPLOAD_S:g} s at most"):
                self._artifacts.finish()
        self._in_turn(partial(_finish, exit_code=exit_code, failed=failed))
        with heartbeat(self._say, f"W&B: sending what is left, {FINISH_S:g} s at most"):
            in_time = self._background.finish(FINISH_S)
        run, self._run = self._run, None
        if run is None:  # it failed meanwhile, which was said
            return
        if not in_time:
            failed.append(f"W&B: not all was sent in {FINISH_S:g} s; `wandb sync` on the run in wandb/ sends the rest")
        if failed:
            self._say(failed[0])
            _end_service()

    def _send(self) -> None:
        if self._run is None or not self._row:
            return
        row, self._row = self._row, {}
        self._in_turn(partial(self._write, self._step, row))

    def _write(self, step: int, row: Mapping[str, Any], run: Any) -> None:
        self._summarise(row, run)
        _store_position(self._state_path, self.run_id, step)
        run.log({"step": step, **row}, step=step, commit=True)

    def _summarise(self, row: Mapping[str, Any], run: Any) -> None:
        """Have the summary hold the best and the last value of new metrics that have a best one; W&B's default is the
        last. By name: a pattern of W&B's may only end with a star."""
        for name in row.keys() - self._known:
            if best := best_of(name):
                run.define_metric(name, step_metric="step", summary=f"{best},last")
        self._known |= row.keys()

    def _in_turn(self, call: Callable[[Any], None]) -> None:
        """Have ``call`` made with the run after the calls before it, unless W&B takes nothing any more."""
        if (stuck_s := self._background.stuck_s()) > PATIENCE_S:
            self._leave(f"its service has taken nothing for {stuck_s:.0f} s")

        def guarded() -> None:
            if (run := self._run) is not None:
                with self._stopped_by_failure():
                    call(run)

        if self._run is not None:
            self._background.add(guarded)

    @contextlib.contextmanager
    def _stopped_by_failure(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a sink that fails, in whatever way, is left alone
            self._leave(_one_line(error))

    def _leave(self, why: str) -> None:
        """Go on without W&B; it is said once."""
        run, self._run = self._run, None
        if run is not None:
            self._say(f"W&B: stopped ({why}); the run goes on without it, metrics.jsonl is whole")
            _end_service()


def _store_position(path: Path, run_id: str, last_step: int) -> None:
    """Keep what ``_stored_position`` reads."""
    write_whole(path, json.dumps({"id": run_id, "last_step": last_step}) + "\n")


def _stored_position(path: Path) -> tuple[str, int] | None:
    """The W&B run's id and the step of the last row that was sent to it."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return str(content["id"]), int(content["last_step"])
    except (OSError, ValueError, KeyError):
        return None


def _init(
    config: TrackingConfig, mode: str, folder: Path, run_config: Mapping[str, Any], name: str, run_id: str
) -> Any:
    """``wandb.init`` with the run's files in ``folder/wandb``, and the step axis of every group."""
    if mode == "offline":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=_INIT_TIMEOUT_S,
        x_transaction_log_flush_interval=_FLUSH_INTERVAL_S,
    )
    run = wandb.init(
        mode=mode,  # type: ignore[arg-type]
        dir=str(folder),
        project=config.project,
        entity=config.entity,
        name=name,
        id=run_id,
        resume="allow",
        config=dict(run_config),
        settings=settings,
    )
    run.define_metric("step", hidden=True)
    for group in GROUPS:
        run.define_metric(f"{group}/*", step_metric="step")
    return run


def _finish(run: Any, *, exit_code: int, failed: list[str]) -> None:
    """Finish a run; what went wrong is added to ``failed``."""
    try:
        run.finish(exit_code=exit_code)
    except Exception as error:  # as while the run was going on
        failed.append(f"W&B: did not finish ({_one_line(error)}); metrics.jsonl is whole")


def _end_service() -> None:
    """End W&B's service by force: as it exits, this process would wait for it without end, or say that it is gone."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            if child.name() == _SERVICE:
                child.kill()
    with contextlib.suppress(Exception, SystemExit):  # of whatever kind, as the service is gone
        import wandb

        wandb.teardown()


def _one_line(error: BaseException) -> str:
    """What an error says, shortened, or its type where it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _ERROR_LENGTH else f"{text[: _ERROR_LENGTH - 3]}..."
