import json
import urllib.request


def draw(order):
    request = urllib.request.Request(
        "{{base_url}}/api/v7/images/text-to-image",
        data=json.dumps({"model_id": "demo", "prompt": "a red circle"}).encode(),
        headers={
            "Authorization": "Bearer $API_KEY",
            "Content-Type": "application/json",
            "Idempotency-Key": order,
        },
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["id"]


first, second = draw("order-4711"), draw("order-4711")
print("the same job" if first == second else "two jobs", first)
