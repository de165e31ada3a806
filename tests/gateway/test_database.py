"""What every connection to PostgreSQL has."""

from __future__ import annotations

import os
import socket

import pytest
from django.db import connection

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]


def test_a_server_that_is_gone_without_a_word_is_noticed_within_a_minute():
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as wire:
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle_s = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        interval_s = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        count = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert idle_s + interval_s * count <= 60
        assert 0 < wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000
