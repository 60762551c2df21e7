-- Stands before each verb's script when it is loaded: the clock, the check of the epoch, the counters.
--
--   EVALSHA <sha> 1 <gate> <identity> <seen> <now> <batch>
--
-- KEYS[1]   <prefix>:{o<organization>}:gate. The hash tag puts all keys of an organization in one slot of a
--           Redis Cluster; the others are named after this one:
--             ...:gate           hash    epoch       run id of the Redis process that the counters were made in,
--                                                    and the layout that they have
--                                        stamp       microseconds, when a script last came by; never goes back
--                                        rebuilding  token of the rebuild under way
--             ...:node:<name>    hash    counters of one node of the budget tree: o, the organization,
--                                        p<project>, k<key>; a field a window, its numbers parted by spaces:
--                                        d:<day>     nanodollars spent, held; tokens spent, held
--                                        m:<month>   the same
--                                        i:<minute>  requests; tokens
--                                        jobs        the number of holds there are, held and started
--             ...:holds          hash    hold id -> state|nodes|nanodollars|input|output|day|month|minute
--                                        state: h held, s started; nodes are joined by commas
--             ...:held           zset    ids of the holds not started, by the millisecond they expire at
--             ...:settled:<day>  hash    ids of the settled holds of that day -> month minute
--             ...:corrected:<month>  set  ids of the batches of corrections that are counted, of charges of
--                                        that month
-- ARGV[1]   identity: the run id of the Redis process, where the caller knows it of its connection; else empty.
--           The embedded server has none: there it stands for one.
-- ARGV[2]   seen: greatest stamp that the caller has been given
-- ARGV[3]   now: milliseconds, or empty for the clock of Redis
-- ARGV[4]   batch: JSON, {calendar, ...}, the rest described at each verb
--             calendar  {day, {start, ...}, month, {start, ...}}: days and months around now, the first number
--                       of each and where it and those after it begin; the last start only ends the one before
--
-- Every verb answers {stamp, ...}; or {0} when the gate is closed: the counters are gone (no epoch), from
-- before a restart or a failover (another epoch), or from a snapshot put back in place (a stamp that is older
-- than one seen); or {-1, now} when the calendar does not hold now and the day before. A node is read once a
-- script, and each of its fields that changes is written once, at the end. Amounts are integers below 2^53,
-- which doubles hold exactly.

local GATE, IDENTITY, SEEN = KEYS[1], ARGV[1], tonumber(ARGV[2])
local BASE = string.sub(GATE, 1, -5)
local HOLDS, HELD_IDS = BASE .. 'holds', BASE .. 'held'
local LAYOUT = '/2'
local MINUTE_MS, DAY_S = 60000, 86400
local SWEPT_MAX = 1000
local CORRECTED_TTL_S = 70 * DAY_S
local BATCH = cjson.decode(ARGV[4])

local clock = redis.call('TIME')
local STAMP = clock[1] * 1000000 + clock[2]
local NOW = tonumber(ARGV[3]) or math.floor(STAMP / 1000)
local MINUTE = math.floor(NOW / MINUTE_MS)
local NEXT_MINUTE = (MINUTE + 1) * MINUTE_MS

-- The number of the window that holds `at`, where the next one begins and where the one before began.
local function locate(first, starts, at)
  for index = #starts - 1, 1, -1 do
    if at >= starts[index] then
      if at >= starts[index + 1] then return nil end
      return first + index - 1, starts[index + 1], starts[index - 1]
    end
  end
end

local calendar = BATCH[1]
local DAY, NEXT_DAY, YESTERDAY = locate(calendar[1], calendar[2], NOW)
local MONTH, NEXT_MONTH = locate(calendar[3], calendar[4], NOW)
local FIRST_OPEN_DAY = DAY and DAY - 1
local FIRST_OPEN_MONTH = YESTERDAY and locate(calendar[3], calendar[4], YESTERDAY)

-- Lua's own conversion would round amounts beyond 14 digits.
local function decimal(number)
  return string.format('%d', number)
end

local function present_epoch()
  if IDENTITY ~= '' then return IDENTITY .. LAYOUT end
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. LAYOUT
end

-- Answers an error that says whose key is not as the gate writes it, and changes nothing more.
local function damaged(key)
  error({err = 'DAMAGED ' .. key})
end

local function is_open()
  local found = redis.call('HMGET', GATE, 'epoch', 'stamp')
  if found[1] ~= present_epoch() or (tonumber(found[2]) or damaged(GATE)) < SEEN then return false end
  STAMP = math.max(STAMP, tonumber(found[2]))
  redis.call('HSET', GATE, 'stamp', decimal(STAMP))
  return true
end

-- What to answer where the verb may do nothing, or nil.
local function turned_away()
  if not (MONTH and FIRST_OPEN_MONTH) then return {-1, NOW} end
  if not is_open() then return {0} end
end

local function node_key(name) return BASE .. 'node:' .. name end
local function day_field(day) return 'd:' .. day end
local function month_field(month) return 'm:' .. month end
local function minute_field(minute) return 'i:' .. minute end
local function settled_key(day) return BASE .. 'settled:' .. decimal(day) end
local function corrected_key(month) return BASE .. 'corrected:' .. decimal(month) end

-- Seconds for which the settled ids of a day are kept: until two days after it, when it is long closed.
local function settled_ttl(day) return decimal((day + 3) * DAY_S - math.floor(NOW / 1000)) end

local function pack_hold(state, names, nanodollars, input, output, day, month, minute)
  return string.format('%s|%s|%d|%d|%d|%d|%d|%d', state, names, nanodollars, input, output, day, month, minute)
end

local function unpack_hold(record)
  local state, names, nanodollars, input, output, day, month, minute =
    string.match(record, '^(%a)|([^|]+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)$')
  if not state then damaged(HOLDS) end
  return {state = state, names = names, nanodollars = tonumber(nanodollars), input = tonumber(input),
    output = tonumber(output), day = tonumber(day), month = tonumber(month), minute = tonumber(minute)}
end

local function hold_record(hold)
  return pack_hold(hold.state, hold.names, hold.nanodollars, hold.input, hold.output, hold.day, hold.month,
    hold.minute)
end

-- Places in a day or a month, and in a minute.
local SPENT, HELD, TOKENS, TOKENS_HELD = 1, 2, 3, 4
local REQUESTS, TOKENS_OF_MINUTE = 1, 2
local THIS_DAY, THIS_MONTH, THIS_MINUTE =
  day_field(DAY or 0), month_field(MONTH or 0), minute_field(MINUTE)

local nodes, splits, holds_there = {}, {}, nil

local function numbers_of(stored, key)
  if not stored then return {0, 0, 0, 0} end
  local one, two, three, four = string.match(stored, '^(-?%d+) (-?%d+) ?(-?%d*) ?(-?%d*)$')
  if not one then damaged(key) end
  return {tonumber(one), tonumber(two), tonumber(three), tonumber(four)}
end

-- A window of a node, as it is after what the script has changed so far.
local function window(found, field)
  local counters = found.windows[field]
  if not counters then
    counters = numbers_of(redis.call('HGET', found.key, field), found.key)
    found.windows[field] = counters
  end
  return counters
end

-- A node's number of jobs, put right where it cannot be: no node has more holds than its organization, none
-- less than none. No window ends this counter, so what a worker of another version did not count, while one
-- took the other's place, would stay for ever. Before the script changes a hold.
local function right_jobs(stored)
  holds_there = holds_there or redis.call('HLEN', HOLDS)
  return math.max(0, math.min(stored, holds_there))
end

local function forget_closed_windows(key)
  local closed = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local kind, number = string.match(field, '^(%a):(%d+)$')
    local first = kind == 'd' and FIRST_OPEN_DAY or kind == 'm' and FIRST_OPEN_MONTH or MINUTE
    if kind and tonumber(number) < first then closed[#closed + 1] = field end
  end
  if #closed > 0 then redis.call('HDEL', key, unpack(closed)) end
end

-- A node's counters; changes are written by `write_nodes`.
local function node(name)
  local found = nodes[name]
  if not found then
    local key = node_key(name)
    local stored = redis.call('HMGET', key, THIS_DAY, THIS_MONTH, THIS_MINUTE, 'jobs')
    if not stored[3] then forget_closed_windows(key) end
    local day, month, minute =
      numbers_of(stored[1], key), numbers_of(stored[2], key), numbers_of(stored[3], key)
    local stored_jobs = tonumber(stored[4] or 0) or damaged(key)
    found = {key = key, day = day, month = month, minute = minute, jobs = right_jobs(stored_jobs),
      stored_jobs = stored_jobs, changed = {},
      windows = {[THIS_DAY] = day, [THIS_MONTH] = month, [THIS_MINUTE] = minute}}
    nodes[name] = found
  end
  return found
end

local function write_nodes()
  for _, found in pairs(nodes) do
    local values = {}
    for field, counters in pairs(found.changed) do
      values[#values + 1] = field
      local form = counters == found.minute and '%d %d' or '%d %d %d %d'
      values[#values + 1] = string.format(form, unpack(counters))
    end
    if found.jobs ~= found.stored_jobs then
      values[#values + 1] = 'jobs'
      values[#values + 1] = decimal(found.jobs)
    end
    if #values > 0 then redis.call('HSET', found.key, unpack(values)) end
  end
end

-- The nodes of names that are joined by commas.
local function each_node(names)
  local found = splits[names]
  if not found then
    found = {}
    for name in string.gmatch(names, '[^,]+') do found[#found + 1] = node(name) end
    splits[names] = found
  end
  return ipairs(found)
end

-- Adds to two places of a window that is open; one that is closed has no counters any more.
local function add(found, field, dollars_place, nanodollars, tokens_place, tokens)
  if nanodollars == 0 and tokens == 0 then return end
  local counters = window(found, field)
  counters[dollars_place] = counters[dollars_place] + nanodollars
  counters[tokens_place] = counters[tokens_place] + tokens
  found.changed[field] = counters
end

local function add_to_windows(names, day, month, dollars_place, nanodollars, tokens_place, tokens)
  for _, found in each_node(names) do
    if day >= FIRST_OPEN_DAY then
      add(found, day_field(day), dollars_place, nanodollars, tokens_place, tokens)
    end
    if month >= FIRST_OPEN_MONTH then
      add(found, month_field(month), dollars_place, nanodollars, tokens_place, tokens)
    end
  end
end

-- Gives back what a hold holds. Its record is removed by the caller.
local function give_back(hold)
  add_to_windows(hold.names, hold.day, hold.month, HELD, -hold.nanodollars, TOKENS_HELD,
    -hold.input - hold.output)
  for _, found in each_node(hold.names) do found.jobs = found.jobs - 1 end
end

-- Ends holds whose time has run out before they were started, the oldest first. An id whose hold is not there,
-- as only a hand can leave it, is no reason to let nothing pass.
local function sweep()
  local ids = redis.call('ZRANGEBYSCORE', HELD_IDS, '-inf', decimal(NOW), 'LIMIT', 0, SWEPT_MAX)
  if #ids == 0 then return end
  for _, record in ipairs(redis.call('HMGET', HOLDS, unpack(ids))) do
    if record then give_back(unpack_hold(record)) end
  end
  redis.call('HDEL', HOLDS, unpack(ids))
  redis.call('ZREM', HELD_IDS, unpack(ids))
end

-- What is known of each id of a batch whose items begin with it: {hold}, {settled = {day, month, minute}} or
-- nothing. Settled ids are looked for in the open days; those of `days` are open too when they lie ahead,
-- which happens when the clock was set back.
local function look_up(items, days)
  local ids, known = {}, {}
  for index, item in ipairs(items) do ids[index] = item[1] end
  if #ids == 0 then return known end
  local held = redis.call('HMGET', HOLDS, unpack(ids))
  local settled = {}
  for day = FIRST_OPEN_DAY, DAY do settled[day] = redis.call('HMGET', settled_key(day), unpack(ids)) end
  for _, day in ipairs(days or {}) do
    if day > DAY and not settled[day] then settled[day] = redis.call('HMGET', settled_key(day), unpack(ids)) end
  end
  for index, id in ipairs(ids) do
    known[id] = held[index] and {hold = unpack_hold(held[index])} or nil
    for day, windows in pairs(settled) do
      if windows[index] then
        local month, minute = string.match(windows[index], '^(%d+) (%d+)$')
        if not month then damaged(settled_key(day)) end
        known[id] = {settled = {day = day, month = tonumber(month), minute = tonumber(minute)}}
      end
    end
  end
  return known
end

-- Of two refusals the one that lasts: never, then the later window, then what no settlement can free.
local function longer(one, other)
  if not one then return other end
  if one.never ~= other.never then return one.never > other.never and one or other end
  if one.retry_at ~= other.retry_at then return one.retry_at > other.retry_at and one or other end
  return one.held <= other.held and one or other
end

-- Of `worst` and the refusal of a limit that would be exceeded: the one that lasts.
local function over(worst, depth, reason, cap, amount, spent, retry_at)
  return longer(worst, {reason = reason, depth = depth, retry_at = retry_at,
    never = amount > cap and 1 or 0, held = spent + amount <= cap and 1 or 0})
end

-- Adds to `worst` why a request does not fit under a level, {node, cap, ...}. The reasons are numbered in the
-- order of the caps: dollars a day, requests a minute, jobs in flight, tokens a minute, tokens a day, tokens a
-- month, dollars a month.
local function refuse(worst, depth, level, nanodollars, tokens)
  local found = node(level[1])
  local day, month, minute = found.day, found.month, found.minute
  if day[SPENT] + day[HELD] + nanodollars > level[2] then
    worst = over(worst, depth, 1, level[2], nanodollars, day[SPENT], NEXT_DAY)
  end
  if minute[REQUESTS] + 1 > level[3] then
    worst = over(worst, depth, 2, level[3], 1, minute[REQUESTS], NEXT_MINUTE)
  end
  if found.jobs + 1 > level[4] then
    worst = over(worst, depth, 3, level[4], 1, 0, NOW)
  end
  if minute[TOKENS_OF_MINUTE] + tokens > level[5] then
    worst = over(worst, depth, 4, level[5], tokens, minute[TOKENS_OF_MINUTE], NEXT_MINUTE)
  end
  if day[TOKENS] + day[TOKENS_HELD] + tokens > level[6] then
    worst = over(worst, depth, 5, level[6], tokens, day[TOKENS], NEXT_DAY)
  end
  if month[TOKENS] + month[TOKENS_HELD] + tokens > level[7] then
    worst = over(worst, depth, 6, level[7], tokens, month[TOKENS], NEXT_MONTH)
  end
  if month[SPENT] + month[HELD] + nanodollars > level[8] then
    worst = over(worst, depth, 7, level[8], nanodollars, month[SPENT], NEXT_MONTH)
  end
  return worst
end

local branches = {}

-- A branch's levels and the names of their nodes, from {level, ...}, indices into `levels`.
local function branch(number, packed, levels)
  local found = branches[number]
  if not found then
    found = {levels = {}}
    local names = {}
    for depth, index in ipairs(packed[number]) do
      found.levels[depth] = levels[index]
      names[depth] = levels[index][1]
    end
    found.names = table.concat(names, ',')
    branches[number] = found
  end
  return found
end

-- Takes from every level of a request {id, nanodollars, input, output, branch, ...} or from none. Answers the
-- hold, or nil and the refusal.
local function take(request, levels, packed)
  local nanodollars, tokens = request[2], request[3] + request[4]
  local mine, refusal = branch(request[5], packed, levels), nil
  for depth, level in ipairs(mine.levels) do refusal = refuse(refusal, depth, level, nanodollars, tokens) end
  if refusal then return nil, refusal end
  for _, found in each_node(mine.names) do
    add(found, THIS_DAY, HELD, nanodollars, TOKENS_HELD, tokens)
    add(found, THIS_MONTH, HELD, nanodollars, TOKENS_HELD, tokens)
    add(found, THIS_MINUTE, REQUESTS, 1, TOKENS_OF_MINUTE, tokens)
    found.jobs = found.jobs + 1
  end
  return {state = 'h', names = mine.names, nanodollars = nanodollars, input = request[3], output = request[4],
    day = DAY, month = MONTH, minute = MINUTE}
end

-- Seven integers a request: kind, then a hold's nanodollars, input, output, day, month, minute; or what a
-- refusal says.
local KIND_OVER, KIND_HELD, KIND_STARTED, KIND_SETTLED = 0, 1, 2, 3

local function answer(reply, kind, one, two, three, four, five, six)
  local last = #reply
  reply[last + 1], reply[last + 2], reply[last + 3], reply[last + 4] = kind, one, two, three
  reply[last + 5], reply[last + 6], reply[last + 7] = four, five, six
end

local function answer_hold(reply, hold)
  local kind = hold.state == 's' and KIND_STARTED or KIND_HELD
  answer(reply, kind, hold.nanodollars, hold.input, hold.output, hold.day, hold.month, hold.minute)
end

local function answer_settled(reply, request, settled)
  answer(reply, KIND_SETTLED, request[2], request[3], request[4], settled.day, settled.month, settled.minute)
end

local function answer_refusal(reply, refusal)
  answer(reply, KIND_OVER, refusal.reason, refusal.depth, refusal.retry_at, refusal.never, refusal.held, 0)
end
