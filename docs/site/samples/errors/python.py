import json
import urllib.error
import urllib.request

request = urllib.request.Request(
    "{{base_url}}/api/v7/images/text-to-image",
    data=json.dumps({"model_id": "demo", "prompt": "a red circle", "width": 99999}).encode(),
    headers={"Authorization": "Bearer $API_KEY", "Content-Type": "application/json"},
)
try:
    with urllib.request.urlopen(request, timeout=60) as response:
        print(json.load(response)["output"])
except urllib.error.HTTPError as refusal:
    problem = json.load(refusal)
    if problem["code"] == "rate_limited":
        print("again in", problem["retry_after"], "s")
    else:
        print(refusal.code, problem["code"], problem["message"])
