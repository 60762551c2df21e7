-- rebuild: make an organization's counters anew from what the ledger says, in one call or in several.
--
-- batch     {token, begin, open, nodes, spent, requests, holds, settled}
--             token     names this rebuild: a second one that begins meanwhile takes over from it
--             begin     true on the first call: empties everything; the gate is closed from here on
--             open      true on the last call: opens the gate in the present epoch
--             nodes     {node, ...}, all of the organization; read on the first call
--             spent     {{nodes, day, nanodollars}, ...}; on the last call only, which counts once
--             requests  {{nodes, minute, number}, ...}; so too
--             holds     {{id, nodes, nanodollars, input, output, day, minute}, ...}, all of them started
--             settled   {{id, day, minute}, ...}
-- answers   {stamp, now}, or {0} where another rebuild took over or the gate's keys went away again
--
-- A client that gets no answer may send a call again.

local token, begin, open, names, spent, requests, holds, settled = unpack(cjson.decode(ARGV[4]))

if begin then
  redis.call('DEL', GATE, HOLDS, HELD)
  for day = FIRST_OPEN_DAY, DAY do redis.call('DEL', settled_key(day)) end
  for _, name in ipairs(names) do redis.call('DEL', node_key(name)) end
  redis.call('HSET', GATE, 'rebuilding', token)
end
if redis.call('HGET', GATE, 'rebuilding') ~= token then return {0} end

for _, entry in ipairs(spent) do add_to_day(entry[1], spent_field, entry[2], entry[3]) end
for _, entry in ipairs(requests) do
  for name in string.gmatch(entry[1], '[^,]+') do add(name, requests_field(entry[2]), entry[3]) end
end
for _, hold in ipairs(holds) do
  local id, nodes_held, nanodollars, input, output, day, minute = unpack(hold)
  local record = pack_hold('s', nodes_held, nanodollars, input, output, day, minute)
  if redis.call('HSETNX', HOLDS, id, record) == 1 then
    add_to_day(nodes_held, held_field, day, nanodollars)
    add_jobs(nodes_held, 1)
  end
end
for _, entry in ipairs(settled) do
  redis.call('HSET', settled_key(entry[2]), entry[1], decimal(entry[3]))
  redis.call('EXPIRE', settled_key(entry[2]), settled_ttl(entry[2]))
end

if open then
  redis.call('HDEL', GATE, 'rebuilding')
  redis.call('HSET', GATE, 'epoch', present_epoch(), 'stamp', decimal(math.max(STAMP, SEEN)))
end
return {STAMP, NOW}
