"""Static files with hashed names, the imports between our script modules included."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):
    """`import "./copy.js"` becomes the hashed name, so that a deployment never mixes old and new modules."""

    support_js_module_import_aggregation = True
    # A file that is not in the manifest (tests, a development run before collectstatic) is served by its plain name.
    manifest_strict = False
