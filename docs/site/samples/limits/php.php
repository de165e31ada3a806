<?php
$call = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => ['Authorization: Bearer $API_KEY', 'Content-Type: application/json'],
    'content' => json_encode(['model_id' => 'demo', 'prompt' => 'a red circle']),
    'timeout' => 60,
    'ignore_errors' => true,
]]);
file_get_contents('{{base_url}}/api/v7/images/text-to-image', false, $call);
foreach (preg_grep('/^ratelimit-/i', $http_response_header) as $line) {
    echo $line, PHP_EOL;
}
