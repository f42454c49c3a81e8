"""An engine on the other side of an OpenAI-compatible server, for a frozen executor that is served elsewhere.

Every sampling field is sent, because servers fill in fields that are left out from the model's own settings. A request
that fails for a reason that may pass is tried again with growing, jittered pauses; one that cannot be answered raises.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from tracelift_ray.engines.base import EngineKind, EngineRequest
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import Completion, Prompt, SamplingParams

if TYPE_CHECKING:
    from tracelift_ray.config.models import RemoteConfig
    from tracelift_ray.transfer.manifest import WeightManifest, WeightReceipt

COMPONENT = "remote executor"


class MalformedAnswer(Exception):
    """The server answered, but not with what was asked for."""


class OpenAIEngine:
    """See the module and ``Engine``.

    ``completions`` sends the prompt's token ids, so that the server reads exactly what we rendered; ``chat`` sends its
    messages. ``timeout_s`` bounds each try, ``retries`` the further tries after the first.

    Raises:
        ValueError: a key that is not in the environment.
    """

    def __init__(self, remote: RemoteConfig) -> None:
        import openai

        self.version = 0
        self._remote = remote
        self._client = openai.AsyncOpenAI(
            base_url=remote.base_url, api_key=read_key(remote.api_key_env), timeout=remote.timeout_s, max_retries=0
        )
        self._slots = asyncio.Semaphore(remote.concurrency)
        self._extended = remote.api == "completions"

    async def start(self) -> None:
        models = await self._tried(self._client.models.list)
        served = {model.id: model.owned_by for model in models.data}
        if self._remote.model not in served:
            raise InfrastructureError(
                COMPONENT,
                f"{self._remote.base_url} does not serve {self._remote.model!r}; it serves {', '.join(sorted(served))}",
            )
        # vLLM takes its own fields on chat too; others refuse fields that they do not know.
        self._extended = self._remote.api == "completions" or served[self._remote.model] == "vllm"

    async def generate(self, prompt: Prompt, params: SamplingParams) -> list[Completion]:
        if params.logprobs:
            raise ValueError(
                "a remote server's log-probs are not those of its sampling: serve the planner with a local engine"
            )
        fields = sampling_fields(params, self._extended)
        async with self._slots:
            return await self._tried(lambda: self._ask(prompt, params.n, fields))

    async def _ask(self, prompt: Prompt, count: int, fields: dict[str, Any]) -> list[Completion]:
        if self._remote.api == "completions":
            answer: Any = await self._client.completions.create(
                model=self._remote.model, prompt=list(prompt.token_ids), **fields
            )
        else:
            messages: Any = [{"role": role, "content": content} for role, content in prompt.messages]
            answer = await self._client.chat.completions.create(model=self._remote.model, messages=messages, **fields)
        return read_answer(answer, count)

    async def _tried(self, call: Any) -> Any:
        """``await call()``, tried again after failures that may pass."""
        import openai
        import tenacity

        passing = (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError, openai.ConflictError)

        async def once() -> Any:  # tenacity awaits the result of coroutine functions only
            return await call()

        patiently = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(1 + self._remote.retries),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=30.0),
            retry=tenacity.retry_if_exception_type((*passing, MalformedAnswer)),
            reraise=True,
        )
        try:
            return await patiently(once)
        except openai.APITimeoutError as error:
            raise InfrastructureError(
                COMPONENT,
                f"{self._remote.base_url} did not answer within {self._remote.timeout_s:g} s, in "
                f"{1 + self._remote.retries} tries: check its load, or raise remote.timeout_s",
            ) from error
        except openai.APIConnectionError as error:
            raise InfrastructureError(
                COMPONENT, f"cannot reach {self._remote.base_url} ({error.__cause__ or error}): check that it is up"
            ) from error
        except openai.APIStatusError as error:
            text = " ".join(error.message.split())[:300]
            raise InfrastructureError(COMPONENT, f"the server refused with {error.status_code}: {text}") from error
        except (MalformedAnswer, openai.APIError, ValueError) as error:
            raise InfrastructureError(COMPONENT, f"the server's answer cannot be read: {error}") from error

    async def receive_weights(self, manifest: WeightManifest) -> WeightReceipt:
        raise TypeError("a remote server takes no weights from us: use a local engine for the planner")

    async def sleep(self) -> None:
        """The model is on the server."""

    async def wake(self) -> None:
        """It never slept."""

    async def health(self) -> None:
        """The client has nothing that can hang: each request has a deadline of its own."""

    def figures(self) -> dict[str, float]:
        return {}

    async def close(self) -> None:
        await self._client.close()


def read_key(variable: str) -> str:
    """The key held by an environment variable; servers without keys (no variable) ignore what is sent.

    Raises:
        ValueError: the variable is not set.
    """
    if not variable:
        return "none"
    key = os.environ.get(variable)
    if not key:
        raise ValueError(f"the remote executor's key is not in the environment: set {variable}, or empty api_key_env")
    return key


def sampling_fields(params: SamplingParams, extended: bool) -> dict[str, Any]:
    """Request fields that fix how the server samples.

    Args:
        extended: whether the server takes vLLM's fields, by which the model's own defaults (top-k and the like) are
            switched off, stop strings stay in the text, and token ids come back.
    """
    fields: dict[str, Any] = {
        "n": params.n,
        "max_tokens": params.max_new_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stream": False,
    }
    if params.stop:
        fields["stop"] = list(params.stop)
    if params.seed is not None:
        fields["seed"] = params.seed
    if extended:
        fields["extra_body"] = {
            "top_k": params.top_k or -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "min_tokens": 0,
            "ignore_eos": False,
            "skip_special_tokens": True,
            "include_stop_str_in_output": True,
            "return_token_ids": True,
        }
    return fields


def read_answer(answer: Any, count: int) -> list[Completion]:
    """The completions in an answer, by index. Without token ids from the server they are empty.

    Raises:
        MalformedAnswer: choices are missing, or one has no text or ended abnormally.
    """
    choices = getattr(answer, "choices", None) or []
    if sorted(choice.index for choice in choices) != list(range(count)):
        raise MalformedAnswer(f"{len(choices)} choices where {count} were asked for")
    completions = []
    for choice in sorted(choices, key=lambda each: each.index):
        message = getattr(choice, "message", None)
        text = choice.text if message is None else message.content
        if not isinstance(text, str):
            raise MalformedAnswer(f"choice {choice.index} has no text")
        if choice.finish_reason not in ("stop", "length"):
            raise MalformedAnswer(f"choice {choice.index} ended as {choice.finish_reason!r}")
        token_ids = getattr(choice, "token_ids", None) or ()
        completions.append(Completion(tuple(token_ids), text, choice.finish_reason))
    return completions


def _build(request: EngineRequest) -> OpenAIEngine:
    assert request.remote is not None  # the factory checks it
    return OpenAIEngine(request.remote)


KIND = EngineKind(build=_build, local=False, transfers=(), logprobs=False, request_seeds=True, tensor_parallel=False)
