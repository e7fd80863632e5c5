"""An embedded Bedrock on loopback: the proxy's independent judge, for demos and tests.

It speaks the runtime plane (Converse, ConverseStream, CountTokens, InvokeModel for embeddings) and
the control plane on one port, checks signatures for real, validates requests against botocore's own
service model and against rules of its own, and answers with a rule-based model over real event
stream frames. It imports nothing of the proxy's translators, decoder or family table: what it
refuses, it refuses independently. Start with `Simulator` (`server.py`).
"""

from proxy.simulator.faults import Fault
from proxy.simulator.server import Simulator

__all__ = ["Fault", "Simulator"]
