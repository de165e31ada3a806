"""How gunicorn serves the web process: threads, because a waiting call holds a thread and nothing else."""

import gc
import os
import threading
from typing import Any

from gateway import settings

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{settings.PORT}"
worker_class = "gateway.even_worker.EvenWorker"
workers = settings.WEB_PROCESSES
threads = settings.WEB_THREADS
timeout = 60
# Longer than a call waits for its result, so that a restart cuts nobody off.
graceful_timeout = int(settings.WAIT_TIMEOUT_S) + 10
keepalive = 15
# The control socket would be written into the home directory, which a container does not have.
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    """After the application is loaded: count what this process refuses, and note where keys are used."""
    from gateway.api import last_use
    from gateway.refusals import refusals

    # What is loaded now stays: nothing of it is looked through again. And a call leaves little behind that only the
    # collector can free, so it comes less often. Together a twentieth of a call.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    last_use.writer_start()
    threading.Thread(target=refusals.flush_forever, name="refusals", daemon=True).start()


def worker_exit(server: Any, worker: Any) -> None:
    """What was noted last is written before the process ends."""
    from gateway.api import last_use

    last_use.writer_stop()
