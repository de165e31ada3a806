<?php
$call = stream_context_create(['http' => ['header' => 'Authorization: Bearer $API_KEY', 'timeout' => 30]]);
$account = json_decode(file_get_contents('{{base_url}}/api/v7/account', false, $call), true)['data'];
echo $account['plan']['name'], ' ', $account['limits']['calls_per_minute'], ' calls a minute', PHP_EOL;
