-- start: mark holds as started, just before their calls; from here on they do not expire.
--
-- batch     {calendar, levels, branches, requests}
--             levels    {{node, cap, ...}, ...}: see `refuse` of the prelude
--             branches  {{level, ...}, ...}, level an index into levels
--             requests  {{id, nanodollars, input, output, branch}, ...}, branch an index into branches
-- answers   {stamp, seven integers a request}: see KIND_* of the prelude
--
-- A hold that has expired, or that was lost, is taken anew in the present windows if it fits.

local turned = turned_away()
if turned then return turned end
sweep()

local _, levels, packed, requests = unpack(BATCH)
local known = look_up(requests)
local reply, records, started = {STAMP}, {}, {}

for _, request in ipairs(requests) do
  local id = request[1]
  local found = known[id]
  if found and found.settled then
    answer_settled(reply, request, found.settled)
  else
    local hold, refusal = found and found.hold, nil
    if not hold then
      hold, refusal = take(request, levels, packed)
    end
    if hold then
      if hold.state == 'h' then
        hold.state = 's'
        records[#records + 1] = id
        records[#records + 1] = hold_record(hold)
        started[#started + 1] = id
      end
      known[id] = {hold = hold}
      answer_hold(reply, hold)
    else
      answer_refusal(reply, refusal)
    end
  end
end

write_nodes()
if #records > 0 then
  redis.call('HSET', HOLDS, unpack(records))
  redis.call('ZREM', HELD_IDS, unpack(started))
end
return reply
