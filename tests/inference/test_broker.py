"""Messages while the broker comes and goes: one kind of error, and nobody who falls silent."""

import logging
import threading
import time

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from inference import redis_transport
from inference.broker import configure
from tests.support.flaky import FlakyProxy

TASK = "anything"


@pytest.fixture
def app(monkeypatch, tmp_path, flaky):
    monkeypatch.setenv("REDIS_URL", flaky.url)
    made = Celery("test", set_as_current=False)
    configure(made, run_dir=tmp_path)
    yield made
    made.close()


@pytest.fixture
def flaky(redis_url):
    proxy = FlakyProxy(redis.Redis.from_url(redis_url).connection_pool.connection_kwargs["port"], seed=7)
    yield proxy
    proxy.close()


@pytest.fixture
def closing(monkeypatch):
    """The connection is closed under so many of the next messages."""
    left = []
    put = redis_transport.Channel._put

    def closed(channel, *args, **options):
        if left:
            left.pop()
            channel.close()
        return put(channel, *args, **options)

    monkeypatch.setattr(redis_transport.Channel, "_put", closed)
    return left


@pytest.mark.redis
class TestAConnectionThatIsClosedInUse:
    def test_is_replaced_by_another(self, app, closing):
        closing.append(1)
        app.send_task(TASK, queue="closing", retry=True)
        assert not closing

    def test_is_an_error_of_the_broker_for_who_does_not_try_again(self, app, closing):
        closing.append(1)
        with pytest.raises(OperationalError, match="closed"):
            app.send_task(TASK, queue="closing", retry=False)

    def test_is_one_too_when_it_goes_on(self, app, closing):
        closing += [1] * 10
        with pytest.raises(OperationalError, match="closed"):
            app.send_task(TASK, queue="closing", retry=True, retry_policy={"max_retries": 2, "interval_start": 0})

    def test_is_no_end_of_who_acknowledges(self, app, caplog):
        app.send_task(TASK, queue="acknowledged")
        with app.connection_for_read() as connection:
            channel = connection.channel()
            message = channel.basic_get("acknowledged")
            channel.close()
            message.ack_log_error(logging.getLogger("test"), connection.connection_errors)
        assert "Couldn't ack" in caplog.text

    def test_faults_of_our_own_stay_what_they_are(self, app, monkeypatch):
        def broken(*args, **options):
            raise AttributeError("ours")

        monkeypatch.setattr(redis_transport.Channel, "_put", broken)
        with pytest.raises(AttributeError, match="ours"):
            app.send_task(TASK, queue="closing")


@pytest.mark.redis
def test_no_other_error_comes_out_of_a_flaky_broker(app, flaky):
    flaky.trouble = 0.3
    found, until = set(), time.monotonic() + 6

    def work():
        while time.monotonic() < until:
            try:
                app.send_task(TASK, queue="flaky", retry=True, retry_policy={"max_retries": 2, "interval_start": 0})
            except Exception as problem:  # noqa: BLE001 - whatever it is, it is judged below
                found.add(type(problem))

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found <= {OperationalError}
    assert flaky.faults > 20
