import json
import urllib.request

request = urllib.request.Request("{{base_url}}/api/v7/account", headers={"Authorization": "Bearer $API_KEY"})
with urllib.request.urlopen(request, timeout=30) as response:
    account = json.load(response)["data"]
print(account["plan"]["name"], account["limits"]["calls_per_minute"], "calls a minute")
