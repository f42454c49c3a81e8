"""What a slot may see: the library, nothing of third parties; and whose user id it has."""

from __future__ import annotations

import os
from pathlib import Path

from tests.sandboxes import sandbox_config
from tracelift_ray.verification.sandbox import policy
from tracelift_ray.verification.sandbox.policy import Policy, interpreter, new_slot_id, slot_message


def test_the_library_can_be_read_and_third_party_packages_cannot() -> None:
    python = interpreter("")
    library = os.path.dirname(os.__file__)
    assert f"{library}/os.py" in python.readable or any(library.startswith(f"{each}/") for each in python.readable)
    assert not any("site-packages" in path or "dist-packages" in path for path in python.readable)
    assert all(Path(path).name in ("site-packages", "dist-packages") for path in python.hidden)
    assert not any("site-packages" in path for path in python.sys_path)
    assert not any(path == "/" or Path.home() == Path(path) for path in (*python.read_only, *python.readable))


def test_a_folder_of_packages_is_added_everywhere(tmp_path: Path) -> None:
    python = interpreter(str(tmp_path))
    for paths in (python.sys_path, python.readable, python.read_only):
        assert str(tmp_path) in paths


def test_slots_have_ids_of_their_own_that_no_ordinary_user_has() -> None:
    ids = [new_slot_id() for _ in range(100)]
    assert len(set(ids)) == 100 and min(ids) >= 60_000


def test_folders_below_others_are_left_out() -> None:
    assert policy._outermost(["/a/b", "/a", "/ab", "/c"]) == ("/a", "/ab", "/c")
    assert policy._stage(("/usr",)) == "/tmp" and policy._stage(("/tmp/python",)) != "/tmp"


def test_only_the_unsafe_tier_has_no_walls() -> None:
    assert Policy.of_tier("namespaces") == Policy("namespaces", True, True)
    assert Policy.of_tier("landlock") == Policy("landlock", True, True)
    assert Policy.of_tier("unsafe_subprocess") == Policy("unsafe_subprocess", False, False)
    message = slot_message(Policy.of_tier("unsafe_subprocess"), sandbox_config(), "/tmp", ())
    assert message["slot_id"] is None and not message["seccomp"] and not message["landlock"]
