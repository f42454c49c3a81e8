"""Makes the W&B workspace of the five questions: a file offline, or a saved view in W&B.

    python -m launch.wandb_workspace                          # writes docs/wandb_workspace.json, asks no network
    python -m launch.wandb_workspace --save ENTITY/PROJECT    # a new saved view in that project; needs W&B's key

``make docs`` installs what it needs.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

from launch.conf_files import CONFIG_DIR
from tracelift_ray.tracking.wandb_workspace import spec, workspace

ROOT = CONFIG_DIR.parent
OUT = ROOT / "docs" / "wandb_workspace.json"


def main() -> int:
    """Write the file, or save the view."""
    parser = argparse.ArgumentParser(description="Make the W&B workspace of the five questions.")
    parser.add_argument("--save", metavar="ENTITY/PROJECT", help="save it in W&B as a new view of this project")
    given = parser.parse_args()
    if importlib.util.find_spec("wandb_workspaces") is None:
        print(
            "error: wandb-workspaces is not installed; make docs installs it, or pip install -e '.[docs]'",
            file=sys.stderr,
        )
        return 2
    entity, slash, project = (given.save or "ENTITY/PROJECT").partition("/")
    if not (entity and slash and project):
        print(f"error: --save={given.save}: must be ENTITY/PROJECT, as in the address of the project", file=sys.stderr)
        return 2
    made = workspace(entity, project)
    if given.save:
        made.save()
        return 0
    OUT.write_text(spec(made), "utf-8")
    print(f"wrote {OUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
