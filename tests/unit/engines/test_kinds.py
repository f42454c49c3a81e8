"""Engines, weight transfers and runners are chosen by what they declare; no other package has their names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import engine_config
from tracelift_ray.config.models import RemoteConfig
from tracelift_ray.engines.kinds import ENGINES, build_engine, is_remote, needs_tokenizer, training_kinds
from tracelift_ray.transfer.kinds import TRANSFERS
from tracelift_ray.verification.runners import RUNNERS

ROOT = Path(__file__).resolve().parents[3]
REMOTE = RemoteConfig("http://127.0.0.1:1/v1", "m", "completions", "", 4, 1.0, 0)
#: Name distributions, some of which are called like an engine.
DISTRIBUTIONS = tuple(
    Path("tracelift_ray") / name
    for name in ("tracking/run_dir.py", "planning/checkpoints.py", "planning/model_card.py", "doctor/packages.py")
)


def literals(words: set[str], *allowed: str) -> list[str]:
    """Where the code has one of ``words`` as a string, outside the folders ``allowed``."""
    found = []
    for package in ("tracelift_ray", "actors", "launch"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT)
            if name in DISTRIBUTIONS or any(name.is_relative_to(folder) for folder in allowed):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and node.value in words:
                    found.append(f"{name}:{node.lineno}: {node.value}")
    return found


def test_no_code_outside_the_engines_names_a_kind():
    assert literals(set(ENGINES), "tracelift_ray/engines") == []


def test_no_code_outside_transfer_and_engines_names_a_weight_transfer():
    words = set(TRANSFERS) - {"collective"}  # also the name of a setting of the learner
    assert literals(words, "tracelift_ray/engines", "tracelift_ray/transfer") == []


def test_no_code_outside_verification_names_a_runner():
    words = set(RUNNERS) - {"sandbox"}  # also the name of a group of settings
    assert literals(words, "tracelift_ray/verification") == []


def test_every_transfer_of_an_engine_exists_and_some_engine_trains():
    assert all(transfer in TRANSFERS for kind in ENGINES.values() for transfer in kind.transfers)
    assert training_kinds() == ("vllm", "transformers")


def test_only_a_client_that_sends_token_ids_needs_a_tokenizer_but_no_model():
    chat = RemoteConfig("http://127.0.0.1:1/v1", "m", "chat", "", 4, 1.0, 0)
    client, local = engine_config("openai"), engine_config("vllm")
    assert is_remote(client) and not is_remote(local)
    assert [needs_tokenizer(*each) for each in ((client, chat), (client, REMOTE), (local, chat))] == [False, True, True]


def test_combinations_that_cannot_work_are_refused_before_anything_starts():
    with pytest.raises(ValueError, match="unknown engine kind 'magic': use one of vllm, transformers, openai"):
        build_engine(engine_config("magic"), "")
    with pytest.raises(ValueError, match="of kind openai cannot be trained: use vllm or transformers"):
        build_engine(engine_config("openai"), "", transfer="shared_memory", remote=REMOTE)
    with pytest.raises(ValueError, match="needs the configuration of its server"):
        build_engine(engine_config("openai"), "")
    with pytest.raises(ValueError, match="takes weights by shared_memory or collective, not by 'ipc'"):
        build_engine(engine_config("transformers"), "", transfer="ipc")


@pytest.mark.parametrize("kind", ENGINES)
def test_every_kind_is_built_without_starting(kind: str):
    assert build_engine(engine_config(kind), "nowhere", remote=REMOTE).version == 0


def test_the_tables_load_nothing_heavy():
    code = (
        "import sys, tracelift_ray.engines.kinds, tracelift_ray.transfer.kinds; "
        "sys.exit(', '.join({'torch', 'vllm', 'transformers', 'openai', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
