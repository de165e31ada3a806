-- Remove a call (ARGV[1]) from the given logs and queues.
for _, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[1]) end
return 1
