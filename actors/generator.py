"""An actor that owns one text-generation engine; planner and executor actors are made of it."""

from __future__ import annotations

from actors.pool import PoolActor
from actors.sealed import open_secrets
from tracelift_ray.config.models import EngineConfig, RemoteConfig
from tracelift_ray.config.schema import LoraConfig
from tracelift_ray.engines.base import Engine
from tracelift_ray.engines.kinds import build_engine
from tracelift_ray.types import Completion, Prompt, SamplingParams


class GeneratorActor(PoolActor):
    """Owns an engine and adds nothing but Ray."""

    def __init__(
        self,
        engine: EngineConfig,
        model: str,
        *,
        transfer: str | None = None,
        adapter: LoraConfig | None = None,
        remote: RemoteConfig | None = None,
        seed: int = 0,
        sleeps: bool = False,
    ) -> None:
        open_secrets()
        self.engine: Engine = build_engine(
            engine, model, transfer=transfer, adapter=adapter, remote=remote, seed=seed, sleeps=sleeps
        )

    async def start(self) -> None:
        """Return when the engine answers."""
        await self.engine.start()

    async def health(self) -> None:
        """Return if the engine's processes answer."""
        await self.engine.health()

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        """``params.n`` completions of ``prompt``."""
        return await self.engine.generate(prompt, params)

    async def sleep(self) -> None:
        """Free the GPU."""
        await self.engine.sleep()

    async def wake(self) -> None:
        """Take it again."""
        await self.engine.wake()

    def figures(self) -> dict[str, float]:
        """What the engine says of its cache."""
        return self.engine.figures()

    async def close(self) -> None:
        """End the engine and its processes."""
        await self.engine.close()
