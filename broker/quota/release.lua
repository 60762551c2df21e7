-- release: give back holds that never started; a started one ends by its settlement alone.
--
-- batch     {{id}, ...}
-- answers   {stamp}

local batch = cjson.decode(ARGV[4])
if not is_open() then return {0} end

local ended = {}
for id, found in pairs(look_up(batch)) do
  if found.hold and found.hold.state == 'h' then
    give_back(found.hold)
    ended[#ended + 1] = id
  end
end

if #ended > 0 then
  redis.call('HDEL', HOLDS, unpack(ended))
  redis.call('ZREM', HELD, unpack(ended))
end
return {STAMP}
