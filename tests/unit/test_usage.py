"""CPU and memory of processes, as the operating system counts them."""

from __future__ import annotations

import subprocess
import sys
from time import monotonic, process_time

from tracelift_ray.usage import Usage, UsageMeter, joined, usage_metrics


def test_work_and_memory_of_a_process_are_seen() -> None:
    meter = UsageMeter(children=False)
    began, used = monotonic(), process_time()
    held = bytearray(b"x" * (64 << 20))
    while process_time() - used < 0.2:
        pass
    found = meter.read({"batch_traces_mean": 4.0})
    assert 0.15 <= found.cpu_cores * (monotonic() - began) <= 1.0
    assert found.rss_mib > len(held) / 2**20
    assert 0 < found.node_memory_percent <= 100 and found.figures == {"batch_traces_mean": 4.0}


def test_children_count_where_asked_for_also_when_they_have_ended() -> None:
    whole, alone, began = UsageMeter(), UsageMeter(children=False), monotonic()
    code = "import time; held = b'x' * (64 << 20); t = time.process_time()\nwhile time.process_time() - t < 0.3: pass"
    child = subprocess.Popen([sys.executable, "-c", code + "\nprint(flush=True)\ninput()"], stdin=-1, stdout=-1)
    assert child.stdout is not None and child.stdout.readline()
    read_at = monotonic()
    both, one = whole.read(), alone.read()
    assert both.rss_mib > one.rss_mib + 60
    assert both.cpu_cores * (monotonic() - began) > 0.25
    child.communicate(b"\n")
    assert whole.read().cpu_cores * (monotonic() - read_at) < 0.25  # what was counted is not counted again


def test_metrics_name_the_process_and_its_node() -> None:
    usage = Usage("node.local", 1.5, 300.0, 20.0, 40.0, {"batch_traces_mean": 4.0})
    assert usage_metrics({"planner/0": usage}) == {
        "processes/planner/0/cpu_cores": 1.5,
        "processes/planner/0/rss_mib": 300.0,
        "processes/planner/0/batch_traces_mean": 4.0,
        "nodes/node_local/cpu_percent": 20.0,
        "nodes/node_local/memory_percent": 40.0,
    }


def test_machines_of_one_name_are_told_apart_by_their_ids() -> None:
    first, second = "ab" * 14, "cd" * 14
    found = {
        "driver": Usage("vm", 1.0, 1.0, 10.0, 20.0, node_id=first),
        "planner/0": Usage("vm", 1.0, 1.0, 30.0, 40.0, node_id=second),
        "executor/0": Usage("other", 1.0, 1.0, 50.0, 60.0, node_id="ef" * 14),
    }
    nodes = {name: value for name, value in usage_metrics(found).items() if name.endswith("cpu_percent")}
    assert nodes == {
        "nodes/vm_ababab/cpu_percent": 10.0,
        "nodes/vm_cdcdcd/cpu_percent": 30.0,
        "nodes/other/cpu_percent": 50.0,
    }


def test_readings_of_a_step_are_one_with_the_fullest_memory_and_all_that_was_counted() -> None:
    busy = {"kv_cache_percent": 90.0, "preemptions": 2.0, "gpu_percent": 80.0, "gpu_memory_percent": 70.0}
    idle = {"kv_cache_percent": 0.0, "preemptions": 1.0, "gpu_percent": 0.0, "gpu_memory_percent": 10.0}
    first = Usage("vm", 2.0, 500.0, 80.0, 60.0, {**busy, "batch_traces_mean": 4.0})
    assert joined([first, Usage("vm", 1.0, 300.0, 20.0, 40.0, idle)]) == Usage(
        "vm",
        1.5,
        500.0,
        50.0,
        60.0,
        {
            "kv_cache_percent": 90.0,
            "preemptions": 3.0,
            "gpu_percent": 40.0,
            "gpu_memory_percent": 70.0,
            "batch_traces_mean": 4.0,
        },
    )
    assert joined([first]) == first
