<?php
$call = stream_context_create(['http' => ['header' => 'Authorization: Bearer $API_KEY', 'timeout' => 30]]);
$url = '{{base_url}}/api/v7/account/usage?range=24h&group=model_id';
$usage = json_decode(file_get_contents($url, false, $call), true)['data'];
echo $usage['totals']['calls'], ' calls, ', $usage['totals']['amount_usd'], ' dollars', PHP_EOL;
foreach ($usage['rows'] as $row) {
    echo $row['time'], ' ', $row['group'], ' ', $row['status'], ' ', $row['amount_microusd'], PHP_EOL;
}
