for attempt in 1 2; do
  curl -s {{base_url}}/api/v7/images/text-to-image \
    -H "Authorization: Bearer $API_KEY" \
    -H "Content-Type: application/json" \
    -H "Idempotency-Key: order-4711" \
    -d '{"model_id": "demo", "prompt": "a red circle"}'
  echo
done
