import json
import urllib.request

body = {
    "key": "$API_KEY", "model_id": "demo", "prompt": "a red circle", "width": "256", "height": "256",
    "samples": "1", "safety_checker": "no", "seed": None, "webhook": None,
}
request = urllib.request.Request(
    "{{base_url}}/api/v6/images/text2img",
    data=json.dumps(body).encode(),
    headers={"Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=60) as response:
    reply = json.load(response)
print(reply["status"], reply.get("output") or reply["fetch_result"])
