id=$(curl -s {{base_url}}/api/v7/images/text-to-image \
  -H "Authorization: Bearer $API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"model_id": "demo", "prompt": "a red circle", "instant_response": "yes"}' |
  grep -o '"id":[0-9]*' | head -1 | cut -d: -f2)

while reply=$(curl -s {{base_url}}/api/v7/images/fetch/$id -H "Authorization: Bearer $API_KEY"); do
  case $reply in *'"status":"processing"'*) sleep 1 ;; *) break ;; esac
done
echo "$reply"
