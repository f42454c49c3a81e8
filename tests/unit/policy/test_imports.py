import subprocess
import sys


def test_planning_and_checkpoints_need_no_heavy_package():
    code = (
        "import sys\n"
        "import tracelift_ray.policy.advantages, tracelift_ray.policy.packing, tracelift_ray.policy.schedule\n"
        "import tracelift_ray.policy.checkpoint\n"
        "assert not {'torch', 'deepspeed', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
