import json
import time
import urllib.request

HEADERS = {"Authorization": "Bearer $API_KEY", "Content-Type": "application/json"}


def post(url, body):
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=HEADERS)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


reply = post(
    "{{base_url}}/api/v7/images/text-to-image",
    {"model_id": "demo", "prompt": "a red circle", "instant_response": "yes"},
)
pause_s = 1.0
while reply["status"] == "processing":
    time.sleep(pause_s)
    pause_s = min(pause_s * 1.5, 10)
    reply = post(f"{{base_url}}/api/v7/images/fetch/{reply['id']}", {})
print(reply["status"], reply.get("output") or reply["message"])
