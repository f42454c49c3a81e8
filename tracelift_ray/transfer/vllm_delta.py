"""Changes of the weights inside vLLM's workers: made ready in a copy beside generation, then loaded out of it.

A worker keeps the version that it serves in the memory of its machine, as the checkpoint has it. A change arrives, is
applied there and checked by a thread while the worker generates; generation stops only while the model loads the copy,
by the very path on which whole versions are loaded. So fused, divided and packed layers need nothing of their own.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from tracelift_ray.errors import TransferBroken

if TYPE_CHECKING:
    from tracelift_ray.transfer.manifest import WeightManifest

#: Seconds between two looks at whether all workers are ready.
POLL_S = 0.005


class Preparation:
    """One change that a worker's thread makes ready. ``engine``: the worker's receiver, which keeps the copy."""

    def __init__(self, engine: Any, manifest: WeightManifest, worker: int) -> None:
        self._failure: BaseException | None = None
        arguments = (engine, manifest, {"manifest": manifest.fields(), "worker": worker})
        self._thread = threading.Thread(target=self._run, args=arguments, name="changed weights", daemon=True)
        self._thread.start()

    def _run(self, engine: Any, manifest: WeightManifest, update: dict[str, Any]) -> None:
        import torch

        from tracelift_ray.transfer.vllm_adapters import Taken

        try:
            if engine.device.type != "cpu":
                torch.accelerator.set_device_index(engine.device.index)
            taken = Taken()
            model, engine.model = engine.model, taken
            try:
                engine.update_weights(update)
            finally:
                engine.model = model
            engine.keeping.changed(manifest, taken.tensors.items())
        except BaseException as error:  # raised to the caller of ``ready``
            self._failure = error

    def ready(self) -> tuple[bool, str]:
        """Whether it is done, and why it broke, if so.

        Raises:
            InfrastructureError: what results is not what the sender has.
        """
        if self._thread.is_alive():
            return False, ""
        if isinstance(self._failure, TransferBroken):
            return True, self._failure.cause
        if self._failure is not None:
            raise self._failure
        return True, ""


async def prepared(llm: Any, manifest: WeightManifest) -> None:
    """Have every worker of an engine make a change ready. The caller sets the limit.

    Raises:
        TransferBroken: it has to be sent again; the engine goes on as before.
    """
    await llm.collective_rpc("prepare_change", args=(manifest.fields(),))
    while True:
        states = await llm.collective_rpc("change_ready")
        broken = [why for _, why in states if why]
        if all(done for done, _ in states):
            break
        await asyncio.sleep(POLL_S)
    if broken:
        raise TransferBroken("vllm engine", broken[0])
