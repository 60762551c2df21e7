-- release: give back holds that never started; a started one ends by its settlement alone.
--
-- batch     {calendar, {{id}, ...}}
-- answers   {stamp}

local turned = turned_away()
if turned then return turned end

local ended = {}
for id, found in pairs(look_up(BATCH[2])) do
  if found.hold and found.hold.state == 'h' then
    give_back(found.hold)
    ended[#ended + 1] = id
  end
end

write_nodes()
if #ended > 0 then
  redis.call('HDEL', HOLDS, unpack(ended))
  redis.call('ZREM', HELD_IDS, unpack(ended))
end
return {STAMP}
