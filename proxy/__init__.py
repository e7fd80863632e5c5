"""An OpenAI-compatible proxy in front of Amazon Bedrock.

Rooms and their order are described in the README, *How it is built*, and held by
``tests/test_house.py``. Nothing happens when a module here is imported.
"""

__version__ = "0.1.0"
