-- Takes a session over, on one condition, and returns what is needed to go on with it.
--
-- KEYS[1]  record
-- ARGV     1 owner to be, 2 its address, 3 request, 4 schema version, 5 least time to live in ms,
--          6 condition: "free"   it has no owner, or its owner's incarnation is 7
--                      "same"   its owner is 7 and its epoch 8
--                      "force"  none
--          9 what the names of channels begin with, 10 name of the session: to tell a former owner that may live
-- Returns  {"taken", epoch, former owner, its address, static part, counters}
--          {"owned", epoch, owner, its address}
--          {"none"} or {"newer"}
--
-- Races closed: of several claims one meets its condition, because each changes owner and epoch. Whether the owner's lease
-- stands is asked elsewhere, since the lease is another key, in a cluster on another server; "same" ties that answer to
-- this step: had anybody taken the session in between, the epoch would differ. If the owner renewed its lease in between
-- it has been fenced, by its own clock, for longer than its lease was gone, and its writes are refused from here on.
-- A record of a newer schema is left alone; one of an older schema becomes ours, as we may now write what older gateways do
-- not understand. A repeated request gets the answer of the first one. Numbers of writes start anew under the new epoch.
local key = KEYS[1]
local was = redis.call('HMGET', key, 'v', 'ep', 'ow', 'ad', 'rq', 'pw', 'pa')
if not was[1] then
  return {'none'}
end
if tonumber(was[1]) > tonumber(ARGV[4]) then
  return {'newer'}
end
local epoch, owner, address = was[2], was[3], was[4]
if was[5] == ARGV[3] then
  owner, address = was[6], was[7]
else
  local condition = ARGV[6]
  if condition == 'free' then
    if owner ~= '' and string.match(owner, '/(.*)$') ~= ARGV[7] then
      return {'owned', epoch, owner, address}
    end
  elseif condition == 'same' then
    if owner ~= ARGV[7] or epoch ~= ARGV[8] then
      return {'owned', epoch, owner, address}
    end
  end
  local time = redis.call('TIME')
  epoch = string.format('%.0f', math.max(time[1] * 1000000 + time[2], tonumber(epoch) + 1))
  redis.call('HSET', key, 'v', ARGV[4], 'ep', epoch, 'ow', ARGV[1], 'ad', ARGV[2], 'rq', ARGV[3], 'pw', owner, 'pa', address)
  redis.call('HDEL', key, 'n', 'm')
  local id, incarnation = string.match(owner, '^(.-)/(.*)$')
  if id and condition ~= 'free' and owner ~= ARGV[1] then
    redis.pcall('PUBLISH', ARGV[9] .. id, incarnation .. ' ' .. ARGV[10]) -- a hint only: it may fail
  end
  if redis.call('PTTL', key) < tonumber(ARGV[5]) then
    redis.call('PEXPIRE', key, ARGV[5])
  end
end
local kept = redis.call('HMGET', key, 'st', 'c')
return {'taken', epoch, owner, address, kept[1] or '', kept[2] or ''}
