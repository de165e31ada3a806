"""kombu's transport over Redis, with a closed channel that is a lost connection to whoever still uses it.

kombu 5.7 takes the connection from a channel that it closes, and an AttributeError meets those who acknowledge or send
by it from then on. Nobody expects one: a worker would end, and a thread that sends as well. As an error of the
connection it is retried, logged or told like any other.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError as RedisConnectionError


class Channel(redis.Channel):
    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection is None:
            raise RedisConnectionError("The channel is closed.")
        return super()._connparams(asynchronous)  # type: ignore[misc]


class Transport(redis.Transport):
    Channel = Channel
