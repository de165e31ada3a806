<?php
function post(string $url, array $body): array
{
    $call = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => ['Authorization: Bearer $API_KEY', 'Content-Type: application/json'],
        'content' => json_encode((object) $body),
        'timeout' => 60,
        'ignore_errors' => true,
    ]]);
    return json_decode(file_get_contents($url, false, $call), true);
}

$reply = post('{{base_url}}/api/v7/images/text-to-image', [
    'model_id' => 'demo',
    'prompt' => 'a red circle',
    'instant_response' => 'yes',
]);
$pause = 1.0;
while ($reply['status'] === 'processing') {
    usleep((int) ($pause * 1e6));
    $pause = min($pause * 1.5, 10);
    $reply = post('{{base_url}}/api/v7/images/fetch/' . $reply['id'], []);
}
echo $reply['status'], ' ', $reply['output'][0] ?? $reply['message'], PHP_EOL;
