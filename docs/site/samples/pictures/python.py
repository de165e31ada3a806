import base64
import json
import urllib.request
from pathlib import Path

request = urllib.request.Request(
    "{{base_url}}/api/v7/images/text-to-image",
    data=json.dumps({"model_id": "demo", "prompt": "a red circle", "seed": 4211, "base64": "yes"}).encode(),
    headers={"Authorization": "Bearer $API_KEY", "Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=60) as response:
    reply = json.load(response)
Path("picture.png").write_bytes(base64.b64decode(reply["output"][0]))
