-- Tell this server of calls that were admitted while it could not be asked. KEYS[1]: a minute log.
-- ARGV: clock in ms ("" = this server's), then age in ms and token of each call. Known calls stay as they are.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
for i = 2, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'NX', now - tonumber(ARGV[i]), ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], 120002)
return 1
