-- Takes the lowest free slot of an account, or renews the one that the session has.
--
-- KEYS[1]  slots: number -> session, a space, the time in ms until which the session needs no record
-- ARGV     1 session, 2 grace in ms, 3 life of the whole in ms, 4 how many slots, 5 "ask" or "decide",
--          then three for each slot that was looked into: number, session, "dead" or "live"
-- Returns  {"slot", number}, {"full"}, or {"ask", number, session, ...}: whether these sessions have a record
--
-- Races closed: two logins at once get different slots. Whether a session still has a record is asked elsewhere (its key
-- may be on another server of a cluster); the answer counts only for the session that it was asked for, so a slot that
-- changed hands in between is not taken from its new holder.
local slots, session = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local verdict = {}
for i = 6, #ARGV, 3 do
  verdict[ARGV[i] .. ' ' .. ARGV[i + 1]] = ARGV[i + 2]
end
local holder, needs = {}, {}
local all = redis.call('HGETALL', slots)
local found
for i = 1, #all, 2 do
  local who, till = string.match(all[i + 1], '^(%S+) (%d+)$')
  if who then
    holder[all[i]], needs[all[i]] = who, tonumber(till)
  end
  if who == session then
    found = all[i]
  end
end
local doubts = {'ask'}
for n = 0, tonumber(ARGV[4]) - 1 do
  if found then
    break
  end
  local slot = string.format('%d', n)
  local who = holder[slot]
  local known = who and verdict[slot .. ' ' .. who]
  if not who or known == 'dead' then
    found = slot
  elseif known == 'live' then
    redis.call('HSET', slots, slot, who .. ' ' .. string.format('%.0f', now + ARGV[2]))
  elseif needs[slot] < now and #doubts < 64 then
    doubts[#doubts + 1] = slot
    doubts[#doubts + 1] = who
  end
end
if #doubts > 1 and ARGV[5] == 'ask' then
  return doubts
end
if not found then
  return {'full'}
end
redis.call('HSET', slots, found, session .. ' ' .. string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', slots, ARGV[3])
return {'slot', found}
