-- Leaves a session without an owner.
--
-- KEYS[1]  record
-- ARGV     1 epoch, 2 request
-- Returns  1 done, 0 the epoch is another one, -1 no record
--
-- Race closed: writes of the former owner that are still on their way would fall into the time of the next one; the epoch
-- ends with the release, so they are refused. A repeated request gets the answer of the first one.
local key = KEYS[1]
local was = redis.call('HMGET', key, 'ep', 'rq')
if was[1] ~= ARGV[1] then
  if was[1] and was[2] == ARGV[2] then
    return 1
  end
  return was[1] and 0 or -1
end
local time = redis.call('TIME')
local epoch = string.format('%.0f', math.max(time[1] * 1000000 + time[2], tonumber(was[1]) + 1))
redis.call('HSET', key, 'ep', epoch, 'ow', '', 'ad', '', 'rq', ARGV[2])
return 1
