"""Stop strings and where they end a text, alike for every engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def special_stops(tokenizer: Any, stop: Sequence[str]) -> dict[int, str]:
    """Stop strings that are one *special* token of the tokenizer, by token id.

    Decoding without special tokens hides these from a search in the text, so an engine must stop at the id.
    """
    specials = set(tokenizer.all_special_ids)
    ids = {tokenizer.convert_tokens_to_ids(text): text for text in stop}
    return {token: text for token, text in ids.items() if token in specials and token != tokenizer.unk_token_id}


def cut(text: str, stop: Sequence[str]) -> str | None:
    """``text`` up to the end of the stop string that ends first; None where there is none."""
    ends = [text.find(each) + len(each) for each in stop if each in text]
    return text[: min(ends)] if ends else None


def with_special_stop(text: str, token_ids: Sequence[int], specials: Mapping[int, str]) -> str:
    """``text`` with the stop string that its last token stands for, where decoding has hidden it."""
    hidden = specials.get(token_ids[-1]) if token_ids else None
    return text if hidden is None or text.endswith(hidden) else text + hidden
