import json
import urllib.request

request = urllib.request.Request(
    "{{base_url}}/api/v7/images/text-to-image",
    data=json.dumps({"model_id": "demo", "prompt": "a red circle"}).encode(),
    headers={"Authorization": "Bearer $API_KEY", "Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=60) as response:
    for name in ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"):
        print(name, response.headers[name])
