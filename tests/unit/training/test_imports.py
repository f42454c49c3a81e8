import subprocess
import sys

from tests.hang import HANG_S


def test_planning_and_checkpoints_need_no_heavy_package():
    code = (
        "import sys\n"
        "import tracelift_ray.rl.advantages, tracelift_ray.training.packing, tracelift_ray.training.schedule\n"
        "import tracelift_ray.rl.losses, tracelift_ray.reward.arms, tracelift_ray.training.checkpoint\n"
        "assert not {'torch', 'deepspeed', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANG_S)
