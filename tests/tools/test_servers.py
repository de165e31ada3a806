"""The servers that tests lean on do what they promise."""

import psycopg
import pytest
import redis

from gateway.ratelimit.shared import COUNTING_SINCE

EMPTY = [COUNTING_SINCE.encode()]


@pytest.mark.redis
def test_a_killed_redis_comes_back_on_the_same_address(redis_server):
    address = redis_server.url
    redis_server.kill()
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(address).ping()
    redis_server.start()
    assert redis_server.url == address
    assert redis.Redis.from_url(address).ping()


@pytest.mark.redis
def test_each_test_gets_an_empty_redis(redis_url):
    client = redis.Redis.from_url(redis_url)
    assert client.keys() == EMPTY
    client.set("left", "behind")


@pytest.mark.redis
def test_what_another_test_left_is_gone(redis_url):
    assert redis.Redis.from_url(redis_url).keys() == EMPTY


def test_a_killed_postgres_comes_back_with_its_databases(postgres_server):
    address = postgres_server.create_database("kept")
    postgres_server.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address, connect_timeout=2)
    postgres_server.start()
    with psycopg.connect(address, connect_timeout=5) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("kept",)
