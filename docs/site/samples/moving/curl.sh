curl {{base_url}}/api/v6/images/text2img \
  -H "Content-Type: application/json" \
  -d '{"key": "'"$API_KEY"'", "model_id": "demo", "prompt": "a red circle", "width": "256", "height": "256",
       "samples": "1", "safety_checker": "no", "seed": null, "webhook": null}'
