<?php
$call = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => ['Authorization: Bearer $API_KEY', 'Content-Type: application/json'],
    'content' => json_encode(['model_id' => 'demo', 'prompt' => 'a red circle', 'width' => 99999]),
    'timeout' => 60,
    'ignore_errors' => true,
]]);
$reply = json_decode(file_get_contents('{{base_url}}/api/v7/images/text-to-image', false, $call), true);
if ($reply['status'] !== 'error') {
    print_r($reply['output']);
} elseif ($reply['code'] === 'rate_limited') {
    echo 'again in ', $reply['retry_after'], ' s', PHP_EOL;
} else {
    echo $reply['code'], ' ', $reply['message'], PHP_EOL;
}
