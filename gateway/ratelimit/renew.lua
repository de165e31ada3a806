-- Lengthen the leases of a call in the given queues. ARGV: token, lease in ms, clock in ms ("" = this server's).
local lease, now = tonumber(ARGV[2]), tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
for _, queue in ipairs(KEYS) do
  redis.call('ZADD', queue, 'XX', 'GT', now + lease, ARGV[1])
  local left = redis.call('PTTL', queue)
  if left >= 0 and left < 2 * lease then redis.call('PEXPIRE', queue, 2 * lease) end
end
return 1
