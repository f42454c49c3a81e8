"""The demo world's tokenizer: one token a word, as an ordinary Hugging Face fast tokenizer.

Words are split at white space, newlines included, so prompts and the reasoning RM's input need no special care. Tags
are tokens wherever they stand, and they survive ``skip_special_tokens``, unlike ``<bos>``, ``<eos>``, ``<pad>`` and
``<unk>``. Encoding puts one ``<bos>`` in front. Numbers from 0 to 99 are one token each, others are ``<unk>``.
Decoding puts a space behind every word and none before the first, however much of a text was decoded earlier: a
program that begins with a space would not be Python.
"""

from __future__ import annotations

from typing import Any

from tracelift_ray.demo.traces import LARGEST_WRITTEN
from tracelift_ray.demo.world import DEMO_TASKS, TASK_WORLDS, words_of_the_world

PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"
PROMPT_TAGS = (*(f"<{task}>" for task in DEMO_TASKS), "<reasoning>", "</reasoning>", "<answer>")
INPUT_TAGS = ("<task>", "</task>", "<type>", "</type>", "<problem>", "</problem>", "<tests>", "</tests>")
#: Words of traces, programs, and the reasoning RM's input.
OTHER_WORDS = (
    *("+", "-", "*", "/", "=", ";", ":", "->"),
    *("n=int(input())", "n=", "print(n)"),
    *(*DEMO_TASKS, *(world.task_type for world in TASK_WORLDS.values()), "input:", "output:"),
)
MAX_LENGTH = 256


def vocabulary() -> dict[str, int]:
    """Token to id, ids from 0 without gaps."""
    numbers = [str(number) for number in range(LARGEST_WRITTEN + 1)]
    words = sorted({*words_of_the_world(), *OTHER_WORDS})
    tokens = [PAD, BOS, EOS, UNKNOWN, *PROMPT_TAGS, *INPUT_TAGS, *numbers, *words]
    return {token: index for index, token in enumerate(tokens)}


def build_tokenizer() -> Any:
    """The tokenizer as a ``transformers.PreTrainedTokenizerFast``; ``save_pretrained`` makes an ordinary directory."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = vocabulary()
    core = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.decoder = decoders.Replace(Regex("$"), " ")
    core.add_special_tokens([AddedToken(token, special=True) for token in (PAD, BOS, EOS, UNKNOWN)])
    core.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in (*PROMPT_TAGS, *INPUT_TAGS)])
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, ids[BOS])])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_LENGTH,
    )
