"""Ranks of one machine: how an error or the death of one ends all."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.training import ranks
from tracelift_ray.training.ranks import RankPlace, free_port, run_ranks


def fail_on_one(place: RankPlace, folder: Path) -> None:
    (folder / f"{place.rank}.pid").write_text(str(os.getpid()))
    if place.rank:
        time.sleep(2 * HANG_S)  # as in a collective that the other never joins
    while not (folder / "1.pid").exists():
        time.sleep(0.01)
    raise ConfigError("lora.layers", 9, "must be at most 2")


def die(place: RankPlace) -> None:
    os._exit(3)


def test_an_error_of_one_rank_ends_the_others_and_is_raised_in_its_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lora\.layers=9: must be at most 2"):
        run_ranks(2, fail_on_one, tmp_path)
    for rank in "01":
        assert not Path(f"/proc/{(tmp_path / f'{rank}.pid').read_text()}").exists()


def test_a_rank_that_dies_is_an_error_of_the_ranks() -> None:
    with pytest.raises(InfrastructureError, match=r"ranks: rank 0 of 2 died|ranks: rank 1 of 2 died"):
        run_ranks(2, die)


def test_a_free_port_is_not_one_that_an_outgoing_connection_could_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = tmp_path / "range"
    kernel.write_text("30000\t60999\n")
    monkeypatch.setattr(ranks, "_OUTGOING_PORTS", kernel)
    ports = {free_port() for _ in range(50)}
    assert len(ports) > 40
    assert all(20_000 <= port < 30_000 for port in ports)
    with socket.socket() as listener:
        listener.bind(("", ports.pop()))


@pytest.mark.parametrize("lines", ["1024\t65535\n", None])
def test_a_port_is_found_where_the_kernel_leaves_no_room(
    lines: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = tmp_path / "range"
    if lines is not None:
        kernel.write_text(lines)
    monkeypatch.setattr(ranks, "_OUTGOING_PORTS", kernel)
    assert free_port() > 0
