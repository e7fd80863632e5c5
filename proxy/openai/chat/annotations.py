"""Bedrock's citations as OpenAI's ``url_citation``, and as an extension where that has no room.

A citation of a web page (or of a search result whose source is a URL) becomes a ``url_citation``.
One of a document has no URL, and clients parse ``annotations`` strictly by type, so it goes into a
field of its own, ``citations``, with the passage that was cited; nothing of it is lost.
Offsets count characters of the message's ``content``, the end exclusive.
Sources: Bedrock API reference, *Citation*; OpenAI API reference, *Annotations*.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from proxy.converse.types import Json


class Span(NamedTuple):
    """A stretch of the message's content, in characters."""

    start: int
    end: int


class Citations:
    """Citations as they come, with offsets once the text they belong to is there.

    Claude cites in front of the text, within its block; Nova's grounding in a block of its own
    after the text's (both recorded). So a block's citations belong to its text, or, if it has
    none, to the text of the block before.
    """

    def __init__(self) -> None:
        self._open: list[Mapping[str, Json]] = []
        self._start = 0
        self._span = Span(0, 0)

    def add(self, citation: Mapping[str, Json]) -> None:
        """A ``CitationsDelta``."""
        self._open.append(citation)

    def close_block(self, end: int) -> Iterator[tuple[str, dict[str, Json]]]:
        """The block is over; ``end`` is the content's length by now. Yields the message's field
        and its new entry, without an index."""
        if end > self._start:
            self._span = Span(self._start, end)
        self._start = end
        citations, self._open = self._open, []
        for citation in citations:
            if (annotation := url_citation(citation, self._span)) is not None:
                yield "annotations", annotation
            if (passage := document_citation(citation, self._span)) is not None:
                yield "citations", passage


def url_citation(citation: Mapping[str, Json], span: Span) -> dict[str, Json] | None:
    """OpenAI's annotation (without an index), or ``None`` if the source has no URL."""
    web = _location(citation).get("web")
    web = web if isinstance(web, Mapping) else {}
    source = str(citation.get("source") or "")
    url = web.get("url") or (source if source.startswith(("https://", "http://")) else "")
    if not url:
        return None
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": span.start,
            "end_index": span.end,
            "url": url,
            "title": citation.get("title") or web.get("domain") or url,
        },
    }


def document_citation(citation: Mapping[str, Json], span: Span) -> dict[str, Json] | None:
    """The extension's entry (without an index), or ``None`` if an annotation says it all.

    Shape: ``type``, ``start_index``, ``end_index``, and where known ``title``, ``source``,
    ``cited_text`` and ``location`` (``{kind, …}`` with Bedrock's own members).
    """
    location = _location(citation)
    passages = [
        entry["text"]
        for entry in citation.get("sourceContent") or ()
        if isinstance(entry, Mapping) and isinstance(entry.get("text"), str)
    ]
    if not passages and url_citation(citation, span) is not None and "web" in location:
        return None
    entry: dict[str, Json] = {
        "type": "citation",
        "start_index": span.start,
        "end_index": span.end,
    }
    for name in ("title", "source"):
        if citation.get(name):
            entry[name] = citation[name]
    if passages:
        entry["cited_text"] = "".join(passages)
    for kind, place in location.items():
        if isinstance(place, Mapping):
            entry["location"] = {"kind": kind, **place}
    return entry


def _location(citation: Mapping[str, Json]) -> Mapping[str, Json]:
    location = citation.get("location")
    return location if isinstance(location, Mapping) else {}
