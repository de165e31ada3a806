curl {{base_url}}/api/v7/account \
  -H "Authorization: Bearer $API_KEY"
