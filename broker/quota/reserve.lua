-- reserve: hold money and quota for attempts, each on all of its levels or on none.
--
-- batch     {calendar, levels, branches, requests}
--             levels    {{node, cap, ...}, ...}: see `refuse` of the prelude
--             branches  {{level, ...}, ...}, level an index into levels
--             requests  {{id, nanodollars, input, output, branch, ttl}, ...}, branch an index into branches
-- answers   {stamp, seven integers a request}: see KIND_* of the prelude
--
-- An id that is held keeps its hold, and its time begins anew.

local turned = turned_away()
if turned then return turned end
sweep()

local _, levels, packed, requests = unpack(BATCH)
local known = look_up(requests)
local reply, records, expiries = {STAMP}, {}, {}

local function expire_later(id, ttl)
  expiries[#expiries + 1] = decimal(NOW + ttl)
  expiries[#expiries + 1] = id
end

for _, request in ipairs(requests) do
  local id, ttl = request[1], request[6]
  local found = known[id]
  if found and found.settled then
    answer_settled(reply, request, found.settled)
  elseif found then
    if found.hold.state == 'h' then expire_later(id, ttl) end
    answer_hold(reply, found.hold)
  else
    local hold, refusal = take(request, levels, packed)
    if hold then
      known[id] = {hold = hold}
      records[#records + 1] = id
      records[#records + 1] = hold_record(hold)
      expire_later(id, ttl)
      answer_hold(reply, hold)
    else
      answer_refusal(reply, refusal)
    end
  end
end

write_nodes()
if #records > 0 then redis.call('HSET', HOLDS, unpack(records)) end
if #expiries > 0 then redis.call('ZADD', HELD_IDS, unpack(expiries)) end
return reply
