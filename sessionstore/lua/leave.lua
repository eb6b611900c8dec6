-- Gives the lease of a replica up.
--
-- KEYS[1]  lease
-- ARGV     1 incarnation
-- Returns  1 given up, 0 it was not ours
--
-- Race closed: a process that ends late does not take the lease from its successor under the same name.
local was = redis.call('GET', KEYS[1])
if was and string.match(was, '^(%S*)') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 1
end
return 0
