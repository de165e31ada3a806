<?php
$body = [
    'key' => '$API_KEY', 'model_id' => 'demo', 'prompt' => 'a red circle', 'width' => '256', 'height' => '256',
    'samples' => '1', 'safety_checker' => 'no', 'seed' => null, 'webhook' => null,
];
$call = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => 'Content-Type: application/json',
    'content' => json_encode($body),
    'timeout' => 60,
]]);
$reply = json_decode(file_get_contents('{{base_url}}/api/v6/images/text2img', false, $call), true);
echo $reply['status'], ' ', $reply['output'][0] ?? $reply['fetch_result'], PHP_EOL;
