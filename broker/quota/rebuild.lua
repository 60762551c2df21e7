-- rebuild: make an organization's counters anew from what the ledger says, in one call or in several.
--
-- batch     {calendar, token, begin, open, nodes, holds, settled, corrected, counters}
--             token     names this rebuild: a second one that begins meanwhile takes over from it
--             begin     true on the first call: empties everything; the gate is closed from here on
--             open      true on the last call: opens the gate in the present epoch
--             nodes     {node, ...}, all of the organization; emptied by the calls that name them
--             holds     {{id, nodes, nanodollars, input, output, day, month, minute}, ...}, all of them started
--             settled   {{id, day, month, minute}, ...}
--             corrected {{id, month}, ...}: batches of corrections that the counters have
--             counters  {{node, field, number, ...}, ...}: what a field of a node is to hold
-- answers   {stamp, now}, {0} where another rebuild took over or the gate's keys went away again, or {-1, now}
--
-- A client that gets no answer may send a call again.

if not (MONTH and FIRST_OPEN_MONTH) then return {-1, NOW} end
local _, token, begin, open, names, holds, settled, corrected, counters = unpack(BATCH)

if begin then
  redis.call('DEL', GATE, HOLDS, HELD_IDS)
  for day = FIRST_OPEN_DAY, DAY do redis.call('DEL', settled_key(day)) end
  for month = FIRST_OPEN_MONTH, MONTH do redis.call('DEL', corrected_key(month)) end
  redis.call('HSET', GATE, 'rebuilding', token)
end
if redis.call('HGET', GATE, 'rebuilding') ~= token then return {0} end

for _, name in ipairs(names) do redis.call('DEL', node_key(name)) end
for _, hold in ipairs(holds) do redis.call('HSET', HOLDS, hold[1], pack_hold('s', unpack(hold, 2))) end
local days = {}
for _, entry in ipairs(settled) do
  local id, day, month, minute = unpack(entry)
  redis.call('HSET', settled_key(day), id, month .. ' ' .. minute)
  days[day] = true
end
for day in pairs(days) do redis.call('EXPIRE', settled_key(day), settled_ttl(day)) end
for _, entry in ipairs(corrected) do
  redis.call('SADD', corrected_key(entry[2]), entry[1])
  redis.call('EXPIRE', corrected_key(entry[2]), CORRECTED_TTL_S)
end
for _, entry in ipairs(counters) do
  local numbers = {}
  for index = 3, #entry do numbers[index - 2] = decimal(entry[index]) end
  redis.call('HSET', node_key(entry[1]), entry[2], table.concat(numbers, ' '))
end

if open then
  redis.call('HDEL', GATE, 'rebuilding')
  redis.call('HSET', GATE, 'epoch', present_epoch(), 'stamp', decimal(math.max(STAMP, SEEN)))
end
return {STAMP, NOW}
