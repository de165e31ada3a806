"""Messages as files: whole, in order, each to one reader, whatever races for them."""

import multiprocessing
from queue import Empty

import pytest
from kombu import Connection

from inference import broker, file_transport


def channel_at(folder):
    options = broker._transport_options("filesystem://", folder)
    return Connection("filesystem://", transport_options=options).channel()


def put_many(folder, first, count):
    channel = channel_at(folder)
    for number in range(first, first + count):
        channel._put("work", {"number": number, "filling": "x" * 5000})


def test_the_embedded_broker_is_the_transport_with_whole_files(tmp_path):
    assert isinstance(channel_at(tmp_path), file_transport.Channel)


def test_messages_are_taken_in_their_order_and_once(tmp_path):
    channel = channel_at(tmp_path)
    for number in range(5):
        channel._put("work", {"number": number})
    assert [channel._get("work")["number"] for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(Empty):
        channel._get("work")
    assert list((tmp_path / "broker").iterdir()) == []


def test_a_queue_hears_nothing_of_another(tmp_path):
    channel = channel_at(tmp_path)
    channel._put("work", {"for": "work"})
    with pytest.raises(Empty):
        channel._get("render.one")
    assert channel._size("work") == 1


def test_a_reader_that_races_with_writers_gets_every_message_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=put_many, args=(tmp_path, first, 150)) for first in (0, 150)]
    channel = channel_at(tmp_path)
    for writer in writers:
        writer.start()
    seen = []
    while any(writer.is_alive() for writer in writers) or channel._size("work"):
        try:
            seen.append(channel._get("work")["number"])
        except Empty:
            continue
    assert sorted(seen) == list(range(300))


def test_an_unfinished_file_is_no_message(tmp_path):
    channel = channel_at(tmp_path)
    (tmp_path / "broker" / f"{file_transport.UNFINISHED}work.msg").write_text("")
    assert channel._size("work") == 0
    with pytest.raises(Empty):
        channel._get("work")


def test_bindings_made_at_once_are_all_kept(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=lambda n=n: channel_at(tmp_path)._queue_bind("tasks", f"key{n}", "", f"queue{n}"))
        for n in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    table = channel_at(tmp_path).get_table("tasks")
    assert sorted(entry.queue for entry in table) == [f"queue{n}" for n in range(8)]
