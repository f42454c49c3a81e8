"""Ranks of one machine: how an error or the death of one ends all."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tracelift_ray.config.errors import ConfigError
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.training.ranks import RankPlace, run_ranks


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
