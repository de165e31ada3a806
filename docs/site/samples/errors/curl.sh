curl {{base_url}}/api/v7/images/text-to-image \
  -H "Authorization: Bearer $API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"model_id": "demo", "prompt": "a red circle", "width": 99999}'
