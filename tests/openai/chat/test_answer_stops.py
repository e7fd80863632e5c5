"""Emulated stop sequences: what passes is the text before the first one, however it is cut."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.openai.chat.stops import StopFilter

letters = st.text(alphabet="ab🛑", max_size=14)
sequences = st.lists(st.text(alphabet="ab🛑", min_size=1, max_size=4), min_size=1, max_size=3)


def oracle(text: str, stops: list[str]) -> tuple[str, bool]:
    """Character by character, as a model that stops while it writes."""
    for end in range(1, len(text) + 1):
        done = [stop for stop in stops if text[:end].endswith(stop)]
        if done:
            return text[: end - max(map(len, done))], True
    return text, False


@given(text=letters, stops=sequences, cuts=st.lists(st.integers(0, 14), max_size=5))
@example(text="aab", stops=["aab", "b"], cuts=[1, 2])
@example(text="abab", stops=["bab", "ab"], cuts=[])
def test_cuts_do_not_matter(text: str, stops: list[str], cuts: list[int]) -> None:
    found = StopFilter(stops)
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [found.feed(text[a:b]) for a, b in pairwise(borders)]
    passed = "".join(pieces) + found.end()
    assert (passed, found.matched is not None) == oracle(text, stops)


def test_only_what_may_become_a_sequence_is_held_back() -> None:
    stops = StopFilter(["END"])
    assert stops.feed("one EN") == "one "
    assert stops.held == "EN"
    assert stops.feed("x E") == "ENx "
    assert stops.feed("ND two") == ""
    assert (stops.matched, stops.feed("three"), stops.end()) == ("END", "", "")


def test_a_large_delta_is_searched_once_and_passes_whole() -> None:
    text = "x" * 1_000_000
    stops = StopFilter(["END", "xxy"])
    passed = stops.feed(text)
    assert passed + stops.end() == text
    assert len(passed) == 999_998
