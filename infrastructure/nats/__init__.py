"""NATS as Kasal uses it.

Its one rule: nats-py is loaded without aiohttp, which it would import where crews have it installed, for URLs
(`ws://`) that our settings refuse; 70 ms of every start.
"""

import sys

if "nats.aio.transport" not in sys.modules and "aiohttp" not in sys.modules:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # says "not installed"
    import nats.aio.transport  # noqa: F401

    del sys.modules["aiohttp"]
