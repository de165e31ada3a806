"""How processes of pytest share out the tests that need servers: by file, or by the service that they use."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# The tests of such a folder all talk to the same running service; a second process would have to start another.
ONE_SERVICE = ("tests/browser/", "tests/clients/")


class ByService(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        shared = (folder for folder in ONE_SERVICE if nodeid.startswith(folder))
        return next(shared, super()._split_scope(nodeid))
