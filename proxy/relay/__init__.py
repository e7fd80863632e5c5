"""From Bedrock's events to a client's bytes.

``client.py`` is the client's end of an exchange, ``exchange.py`` pumps to it under one deadline.
"""

from proxy.relay.client import FAREWELL, Client, ClientGone, Receive, Send
from proxy.relay.exchange import Exchange, Limits, Opener, gone

__all__ = [
    "FAREWELL",
    "Client",
    "ClientGone",
    "Exchange",
    "Limits",
    "Opener",
    "Receive",
    "Send",
    "gone",
]
