-- Renews the lease of a replica, or takes it.
--
-- KEYS[1]  lease; its value is the incarnation, a space, the address
-- ARGV     1 incarnation, 2 address, 3 time to live in ms, 4 "take" from whoever has it, or "renew"
-- Returns  "renewed" it was ours, "made" there was none, "taken" it was another incarnation's, or "lost" to one
--
-- Race closed: a process that was frozen while its successor started under the same name must not take the name back: it
-- would make its successor's sessions look orphaned. It learns that it is "lost".
local mine = ARGV[1] .. ' ' .. ARGV[2]
local was = redis.call('GET', KEYS[1])
local answer = 'renewed'
if not was then
  answer = 'made'
elseif string.match(was, '^(%S*)') ~= ARGV[1] then
  if ARGV[4] ~= 'take' then
    return 'lost'
  end
  answer = 'taken'
end
redis.call('SET', KEYS[1], mine, 'PX', ARGV[3])
return answer
