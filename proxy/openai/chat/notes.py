"""What a translation did not carry over as asked, told instead of lost.

A note is a short stable token for ``x-bedrock-proxy-notes`` and its metric: ``<param>:<what>``,
where *what* is one of dropped, clamped, renamed, emulated, moved, added, merged. Tokens never hold
a client's own words. In strict mode a note that stands for a loss or a repair is a 400 instead, and
names the parameter.
"""

from proxy.errors import invalid


class Notes:
    """The notes of one translation, in order, each token once."""

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self._tokens: dict[str, None] = {}
        self.said = 0
        """How often anything was noted, be it the same."""

    def add(self, token: str, param: str, message: str) -> None:
        """Note a loss or repair. Raises ``ProxyError`` 400 in strict mode.

        ``param`` is the full path in the request; ``message`` a sentence for the strict 400.
        """
        if self._strict:
            raise invalid(f"{message} (strict mode)", param, "unsupported_value")
        self.tell(token)

    def tell(self, token: str) -> None:
        """Note something faithful that the caller may want to know (a renaming that is undone)."""
        self.said += 1
        self._tokens[token] = None

    def tokens(self) -> tuple[str, ...]:
        return tuple(self._tokens)
