-- settle: give back what was held and count what was spent, once an id.
--
-- batch     {calendar, {{id, nodes, nanodollars, tokens, day, month, minute}, ...}}, nodes joined by commas
-- answers   {stamp}
--
-- What is held goes back to the windows on record here; what is spent goes to the windows that the caller
-- names, which are those in the ledger. They differ only where a hold was lost and taken anew. Ids are
-- remembered until their day is closed. From then on the record of the hold tells: a started one stays until
-- it is settled, and a rebuild brings back those that are not, so what has no record any more was counted.

local turned = turned_away()
if turned then return turned end

local settlements, days = BATCH[2], {}
for index, settlement in ipairs(settlements) do days[index] = settlement[5] end
local known = look_up(settlements, days)
local ended, remembered = {}, {}

-- What a minute's reserving took too much is free again while that minute lasts.
local function mend_minute(hold, tokens)
  if hold.minute ~= MINUTE then return end
  for _, found in each_node(hold.names) do
    add(found, THIS_MINUTE, REQUESTS, 0, TOKENS_OF_MINUTE, tokens - hold.input - hold.output)
  end
end

for _, settlement in ipairs(settlements) do
  local id, names, nanodollars, tokens, day, month, minute = unpack(settlement)
  local found = known[id]
  if not (found and found.settled) then
    if found then
      give_back(found.hold)
      mend_minute(found.hold, tokens)
      ended[#ended + 1] = id
    end
    if found or day >= FIRST_OPEN_DAY then
      add_to_windows(names, day, month, SPENT, nanodollars, TOKENS, tokens)
    end
    if day >= FIRST_OPEN_DAY then
      remembered[day] = remembered[day] or {}
      table.insert(remembered[day], id)
      table.insert(remembered[day], month .. ' ' .. minute)
    end
    known[id] = {settled = true}
  end
end

write_nodes()
if #ended > 0 then
  redis.call('HDEL', HOLDS, unpack(ended))
  redis.call('ZREM', HELD_IDS, unpack(ended))
end
for day, entries in pairs(remembered) do
  redis.call('HSET', settled_key(day), unpack(entries))
  redis.call('EXPIRE', settled_key(day), settled_ttl(day))
end
return {STAMP}
