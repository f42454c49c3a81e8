"""What W&B and TensorBoard wrote into a run directory, read back from their files."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def wandb_records(run_dir: Path) -> Iterator[Any]:
    """Everything in every offline segment of a run, read back from W&B's own files, oldest segment first."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # W&B's process ends, and with it the last write
    record_type: Any = wandb_internal_pb2
    for file in sorted((run_dir / "wandb").glob("offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime):
        yield from (record_type.Record.FromString(content) for content in _log_records(file.read_bytes()))


def wandb_rows(run_dir: Path) -> list[dict[str, Any]]:
    """Every history row of a run."""
    return [
        {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
        for record in wandb_records(run_dir)
        if record.HasField("history")
    ]


def wandb_artifacts(run_dir: Path) -> list[tuple[str, set[str], dict[str, bytes]]]:
    """Every artifact of a run: its name, its aliases, and its files as `wandb sync` would send them."""
    return [
        (
            record.artifact.name,
            set(record.artifact.aliases),
            {file.path: Path(file.local_path).read_bytes() for file in record.artifact.manifest.contents},
        )
        for record in wandb_records(run_dir)
        if record.HasField("artifact") and record.artifact.type == "model"
    ]


def tensorboard_events(directory: Path) -> list[Any]:
    """What the files hold: records of a length, its checksum, an event and its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(directory.glob("events.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def tensorboard_scalars(directory: Path) -> list[tuple[int, str, float]]:
    """As TensorBoard shows them: a session's start drops what an earlier one wrote of its step and of later ones."""
    shown: list[tuple[int, str, float]] = []
    for event in tensorboard_events(directory):
        if event.WhichOneof("what") == "session_log" and event.step:
            shown = [each for each in shown if each[0] < event.step]
        shown += [
            (event.step, value.tag, value.simple_value)
            for value in event.summary.value
            if value.WhichOneof("value") == "simple_value"
        ]
    return shown


def tensorboard_histograms(directory: Path) -> dict[str, float]:
    """Number of values by tag."""
    values = [value for event in tensorboard_events(directory) for value in event.summary.value]
    return {value.tag: value.histo.num for value in values if value.WhichOneof("value") == "histo"}


def _log_records(data: bytes) -> Iterator[bytes]:
    """The records of a W&B file: after 7 bytes, blocks of 32 KiB with chunks of checksum, length, kind and content."""
    offset, whole = 7, b""
    while offset + 7 <= len(data):
        left = 32768 - offset % 32768
        if left < 7:
            offset += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, offset)
        whole += data[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # a full record, or the last chunk of one
            yield whole
            whole = b""
