import json
import urllib.request

request = urllib.request.Request(
    "{{base_url}}/api/v7/account/usage?range=24h&group=model_id",
    headers={"Authorization": "Bearer $API_KEY"},
)
with urllib.request.urlopen(request, timeout=30) as response:
    usage = json.load(response)["data"]
print(usage["totals"]["calls"], "calls,", usage["totals"]["amount_usd"], "dollars")
for row in usage["rows"]:
    print(row["time"], row["group"], row["status"], row["amount_microusd"])
