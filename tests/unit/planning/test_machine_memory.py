"""What is known of a machine's memory."""

from __future__ import annotations

from pathlib import Path

from tracelift_ray.planning.machine_memory import own_gpu_gib, own_memory_gib, with_own_memory
from tracelift_ray.planning.resources import ClusterResources, Node, resources_of


def test_a_container_has_what_it_is_allowed(tmp_path: Path) -> None:
    installed = own_memory_gib(tmp_path / "none")
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text(f"{2**28}\n")
    assert own_memory_gib(tmp_path / "max") == installed > 0.25 == own_memory_gib(tmp_path / "limit")


def test_the_smallest_gpu_counts_and_none_where_no_driver_answers(tmp_path: Path) -> None:
    driver = tmp_path / "smi"
    driver.write_text("#!/bin/sh\necho 81559\necho 24564\n")
    driver.chmod(0o755)
    assert own_gpu_gib(str(driver)) == 24564 / 1024
    driver.write_text("#!/bin/sh\necho no devices were found\n")
    assert own_gpu_gib(str(driver)) is None and own_gpu_gib(str(tmp_path / "none")) is None


def test_a_machine_whose_gpus_are_not_known_stays_so() -> None:
    unknown = ClusterResources(4, float("inf"))
    assert with_own_memory(unknown) == unknown
    (node,) = with_own_memory(resources_of([Node("here", 4, 0)])).machines
    assert node.memory_gib and node.gpu_memory_gib is None
