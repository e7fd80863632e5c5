"""Reasoning between tags, taken out of the text across any chunk borders."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.openai.chat.tags import Piece, TagSplitter

TAGS = ("think", "thinking")


def split(text: str, cuts: list[int]) -> tuple[str, str]:
    """(reasoning, text) of one block, cut at these places."""
    splitter = TagSplitter(TAGS)
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces: list[Piece] = []
    for a, b in pairwise(borders):
        pieces += splitter.feed(text[a:b])
    pieces += splitter.end()
    return (
        "".join(piece.text for piece in pieces if piece.thought),
        "".join(piece.text for piece in pieces if not piece.thought),
    )


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("plain", "", "plain"),
        ("\n\n plain", "", "\n\n plain"),
        ("<thinking>a</thinking>\n\nb", "a", "b"),
        ("  <think>a</think>b c", "a", "b c"),
        ("<think>a</thinking>b</think>c", "a</thinking>b", "c"),
        ("<think></think>", "", ""),
        ("<think>a</think> \n ", "a", ""),
        ("<think>a</think><thinking>b</thinking> c <think>d</think>", "ab", "c <think>d</think>"),
        ("a <think>b</think>", "", "a <think>b</think>"),
        ("<thin", "", "<thin"),
        ("<thinker>x", "", "<thinker>x"),
        ("<think>never closed </thi", "never closed </thi", ""),
        ("</think>b", "", "</think>b"),
        ("<think>a<b</think>c", "a<b", "c"),
    ],
)
def test_every_split_gives_the_same(text: str, reasoning: str, answer: str) -> None:
    assert split(text, []) == (reasoning, answer)
    assert split(text, list(range(len(text)))) == (reasoning, answer)
    for cut in range(len(text)):
        assert split(text, [cut]) == (reasoning, answer)


@given(
    parts=st.lists(
        st.sampled_from(["<think>", "</think>", "<thinking>", "</thinking>", "<", "a", " ", "\n"]),
        max_size=8,
    ),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_cuts_do_not_matter(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    assert split(text, cuts) == split(text, [])


def test_each_block_begins_afresh_and_an_open_span_is_remembered() -> None:
    splitter = TagSplitter(TAGS)
    splitter.feed("text")
    splitter.end()
    assert splitter.feed("<think>a") == [Piece(True, "a")]
    assert splitter.unclosed == ""
    splitter.feed("b</")
    assert splitter.end() == [Piece(True, "</")]
    assert splitter.unclosed == "ab</"
