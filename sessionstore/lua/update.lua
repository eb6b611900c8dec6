-- Stores another static part and renews the expiry.
--
-- KEYS[1]  record
-- ARGV     1 epoch, 2 number of the update, 3 time to live in ms, 4 static part
-- Returns  1 done, 0 the epoch is another one, -1 no record
--
-- Races closed: as in persist.lua. Updates have numbers of their own, since they overtake counters and are overtaken.
local key = KEYS[1]
local was = redis.call('HMGET', key, 'ep', 'm')
if was[1] ~= ARGV[1] then
  return was[1] and 0 or -1
end
if not (was[2] and tonumber(was[2]) >= tonumber(ARGV[2])) then
  redis.call('HSET', key, 'm', ARGV[2], 'st', ARGV[4])
end
redis.call('PEXPIRE', key, ARGV[3])
return 1
