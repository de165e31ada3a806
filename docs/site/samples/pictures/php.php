<?php
$call = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => ['Authorization: Bearer $API_KEY', 'Content-Type: application/json'],
    'content' => json_encode(['model_id' => 'demo', 'prompt' => 'a red circle', 'seed' => 4211, 'base64' => 'yes']),
    'timeout' => 60,
]]);
$reply = json_decode(file_get_contents('{{base_url}}/api/v7/images/text-to-image', false, $call), true);
file_put_contents('picture.png', base64_decode($reply['output'][0]));
