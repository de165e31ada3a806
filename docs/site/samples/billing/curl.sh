curl "{{base_url}}/api/v7/account/usage?range=24h&group=model_id" \
  -H "Authorization: Bearer $API_KEY"
