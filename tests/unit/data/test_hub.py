"""Data sets of the hub are read over HTTP, as a hub on loopback serves them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

from pyarrow import Table, parquet

from tests.hang import HANG_S
from tests.hub import hub

ROOT = Path(__file__).resolve().parents[3]
CARD = """---
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train.parquet
  - split: test
    path: main/test.parquet
---
"""
#: The library finds its hub when it is imported. The export of a data set is kept by another server, not asked for.
READ = """import json, sys
import datasets
from tracelift_ray.data.problems import load_problems
from tracelift_ray.errors import DataError
datasets.config.USE_PARQUET_EXPORT = False
for source in sys.argv[1:]:
    try:
        print(json.dumps([problem.answer for problem in load_problems(source, limit=3)]))
    except DataError as error:
        print(json.dumps(str(error)))
"""


def table(first: int, last: int) -> bytes:
    rows = [{"question": f"{n} + 1?", "answer": f"#### {n + 1}"} for n in range(first, last)]
    parquet.write_table(Table.from_pylist(rows), packed := io.BytesIO())
    return packed.getvalue()


def read(address: str, home: Path, *sources: str) -> list[object]:
    """Read each source in a process that uses this hub: the answers of its problems, or the error."""
    closed = "http://127.0.0.1:9"  # Nothing but the hub is to be reached.
    own = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "https_proxy": closed, "http_proxy": closed, "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-c", READ, *sources]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | own, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_data_set_of_the_hub_is_read_by_configuration_and_split(tmp_path: Path) -> None:
    files = {"README.md": CARD.encode(), "main/train.parquet": table(0, 9), "main/test.parquet": table(20, 22)}
    with hub("me/mine", files) as address:
        sources = ("hub:me/mine", "hub:me/mine:main@test", "hub:me/mine:other", "hub:me/none")
        train, test, other, none = read(address, tmp_path, *sources)
    assert (train, test) == (["1", "2", "3"], ["21", "22"])
    assert str(other).startswith("hub:me/mine:other: the split train cannot be read (ValueError: BuilderConfig")
    assert str(none).startswith("hub:me/none: the split train cannot be read (DatasetNotFoundError: ")
    assert all(
        str(told).endswith("; check the hub, or HF_ENDPOINT, and the form hub:NAME:CONFIGURATION@SPLIT")
        for told in (other, none)
    )
