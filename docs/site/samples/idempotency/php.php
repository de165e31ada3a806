<?php
function draw(string $order): int
{
    $call = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => [
            'Authorization: Bearer $API_KEY',
            'Content-Type: application/json',
            "Idempotency-Key: $order",
        ],
        'content' => json_encode(['model_id' => 'demo', 'prompt' => 'a red circle']),
        'timeout' => 60,
    ]]);
    $reply = file_get_contents('{{base_url}}/api/v7/images/text-to-image', false, $call);
    return json_decode($reply, true)['id'];
}

[$first, $second] = [draw('order-4711'), draw('order-4711')];
echo $first === $second ? 'the same job ' : 'two jobs ', $first, PHP_EOL;
