"""Brings models into the catalogue: from the model folder, from the hub, or from a web address.

Whatever is fetched comes through the guarded client into the model folder, with its size bounded and its hash checked,
and only .safetensors is taken for weights: such a file cannot run code. The catalogue's row that comes of it is hidden
until somebody publishes it. The rows of ModelImport are the queue; a task is only the moment.
"""

from gateway.importing.services import ImportRefused, import_begin, import_retry, imports_run, imports_waiting

__all__ = ["ImportRefused", "import_begin", "import_retry", "imports_run", "imports_waiting"]
