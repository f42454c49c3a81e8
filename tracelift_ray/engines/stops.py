"""Stop strings and patterns, and the text of a sample, alike for every engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

#: Prompt tokens that are decoded along with a sample, for tokenizers whose tokens read differently at a beginning.
CONTEXT_TOKENS = 4


def special_stops(tokenizer: Any, stop: Sequence[str]) -> dict[int, str]:
    """Stop strings that are one *special* token of the tokenizer, by token id.

    Decoding without special tokens hides these from a search in the text, so an engine must stop at the id.
    """
    specials = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    ids = {tokenizer.convert_tokens_to_ids(text): text for text in stop}
    return {token: text for token, text in ids.items() if token in specials}


def with_special_stop(text: str, token_ids: Sequence[int], specials: Mapping[int, str]) -> str:
    """``text`` with the stop string that its last token stands for, where decoding has hidden it."""
    hidden = specials.get(token_ids[-1]) if token_ids else None
    return text if hidden is None or text.endswith(hidden) else text + hidden


class StopFinder:
    """Decodes samples and finds the stop string or the pattern that ends them, decoding only where one can end.

    Args:
        stop: the stop strings; may be empty.
        until: a pattern that ends in a newline; empty: none.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], until: str = "") -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._until = re.compile(until, re.MULTILINE) if until else None
        self._specials = special_stops(tokenizer, stop)
        last = {each[-1] for each in stop} | ({"\n"} if until else set())
        self._closing = self._closing_tokens(last) if last else frozenset()

    def _closing_tokens(self, last: set[str]) -> frozenset[int]:
        """The tokens that can end a sample: those whose own text holds one of the characters that can come ``last``.

        A token that is part of a character cannot be told by its text, and a space may come from between two tokens,
        so these always count.
        """
        vocabulary = range(len(self._tokenizer))
        if " " in last:
            return frozenset(vocabulary)
        texts = self._tokenizer.batch_decode([[token] for token in vocabulary], skip_special_tokens=True)
        closing = {token for token, text in enumerate(texts) if "\ufffd" in text or not last.isdisjoint(text)}
        return frozenset(closing | set(self._specials))

    def text(self, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> str:
        """The sample's text without special tokens."""
        context = list(prompt_ids[-CONTEXT_TOKENS:])
        before = self._decode(context)
        both = self._decode([*context, *token_ids])
        return both[len(before) :] if both.startswith(before) else self._decode(list(token_ids))

    def ending(self, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> str | None:
        """The sample's text up to the end of a stop string or pattern; None where its last token completes none."""
        if token_ids[-1] not in self._closing:
            return None
        text = self.text(prompt_ids, token_ids)
        if token_ids[-1] in self._specials:
            return with_special_stop(text, token_ids, self._specials)
        ends = [text.find(each) + len(each) for each in self._stop if each in text]
        if self._until is not None and (match := self._until.search(text)) is not None:
            ends.append(match.end())
        return text[: min(ends)] if ends else None

    def _decode(self, token_ids: list[int]) -> str:
        return self._tokenizer.decode(token_ids, skip_special_tokens=True)
