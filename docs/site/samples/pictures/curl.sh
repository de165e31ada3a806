curl -s {{base_url}}/api/v7/images/text-to-image \
  -H "Authorization: Bearer $API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"model_id": "demo", "prompt": "a red circle", "seed": 4211, "base64": "yes"}' |
  sed 's/.*"output":\["\([^"]*\)".*/\1/' | base64 -d > picture.png
