-- Stands before each verb's script when it is loaded: the clock, the check of the epoch, the counters.
--
--   EVALSHA <sha> 1 <gate> <identity> <seen> <now> <batch>
--
-- KEYS[1]   <prefix>:{o<organization>}:gate. The hash tag puts all keys of an organization in one slot of a
--           Redis Cluster; the others are named after this one:
--             ...:gate           hash    epoch       run id of the Redis process that the counters were made in
--                                        stamp       microseconds, when a script last came by; never goes back
--                                        rebuilding  token of the rebuild under way
--             ...:node:<name>    hash    counters of one node of the budget tree (p<project>):
--                                        d:<day>:spent and d:<day>:held      nanodollars
--                                        m:<minute>:requests
--                                        jobs, the number of holds there are, held and started
--             ...:holds          hash    hold id -> state|nodes|nanodollars|input|output|day|minute
--                                        state: h held, s started; nodes are joined by commas
--             ...:held           zset    ids of the holds not started, by the millisecond they expire at
--             ...:settled:<day>  hash    ids of the settled holds of that day -> minute
-- ARGV[1]   identity: empty on Redis. The embedded server has no run id: there it stands for one.
-- ARGV[2]   seen: greatest stamp that the caller has been given
-- ARGV[3]   now: milliseconds, or empty for the clock of Redis
-- ARGV[4]   batch: JSON, described at each verb
--
-- Every verb answers {stamp, ...}, or {0} when the gate is closed: the counters are gone (no epoch), from
-- before a restart or a failover (another epoch), or from a snapshot put back in place (a stamp that is older
-- than one seen). Amounts are integers below 2^53, which doubles hold exactly.

local GATE, IDENTITY, SEEN = KEYS[1], ARGV[1], tonumber(ARGV[2])
local BASE = string.sub(GATE, 1, -5)
local HOLDS, HELD = BASE .. 'holds', BASE .. 'held'
local DAY_MS, MINUTE_MS, DAY_S = 86400000, 60000, 86400
local SWEPT_MAX = 1000

local clock = redis.call('TIME')
local STAMP = clock[1] * 1000000 + clock[2]
local NOW = tonumber(ARGV[3]) or math.floor(STAMP / 1000)
local DAY, MINUTE = math.floor(NOW / DAY_MS), math.floor(NOW / MINUTE_MS)
local FIRST_OPEN_DAY = DAY - 1

-- Lua's own conversion would round amounts beyond 14 digits.
local function decimal(number)
  return string.format('%.0f', number)
end

local function present_epoch()
  if IDENTITY ~= '' then return IDENTITY end
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end

local function is_open()
  local found = redis.call('HMGET', GATE, 'epoch', 'stamp')
  if found[1] ~= present_epoch() or tonumber(found[2]) < SEEN then return false end
  STAMP = math.max(STAMP, tonumber(found[2]))
  redis.call('HSET', GATE, 'stamp', decimal(STAMP))
  return true
end

local function node_key(name) return BASE .. 'node:' .. name end
local function spent_field(day) return 'd:' .. decimal(day) .. ':spent' end
local function held_field(day) return 'd:' .. decimal(day) .. ':held' end
local JOBS = 'jobs'
local function requests_field(minute) return 'm:' .. decimal(minute) .. ':requests' end
local function settled_key(day) return BASE .. 'settled:' .. decimal(day) end

-- Seconds for which the settled ids of a day are kept: until two days after it, when it is long closed.
local function settled_ttl(day) return decimal((day + 3) * DAY_S - math.floor(NOW / 1000)) end

local function add(name, field, amount)
  if amount ~= 0 then redis.call('HINCRBY', node_key(name), field, decimal(amount)) end
end

-- Adds to the day's counter of each node; days that are closed have no counters any more.
local function add_to_day(names, field, day, amount)
  if day < FIRST_OPEN_DAY then return end
  for name in string.gmatch(names, '[^,]+') do add(name, field(day), amount) end
end

local function pack_hold(state, names, nanodollars, input, output, day, minute)
  return table.concat({state, names, decimal(nanodollars), decimal(input), decimal(output),
    decimal(day), decimal(minute)}, '|')
end

local function unpack_hold(record)
  local state, names, nanodollars, input, output, day, minute =
    string.match(record, '^(%a)|([^|]+)|(%d+)|(%d+)|(%d+)|(%d+)|(%d+)$')
  return {state = state, names = names, nanodollars = tonumber(nanodollars), input = tonumber(input),
    output = tonumber(output), day = tonumber(day), minute = tonumber(minute)}
end

local function add_jobs(names, number)
  for name in string.gmatch(names, '[^,]+') do add(name, JOBS, number) end
end

-- Gives back what a hold holds. Its record is removed by the caller.
local function give_back(hold)
  add_to_day(hold.names, held_field, hold.day, -hold.nanodollars)
  add_jobs(hold.names, -1)
end

-- Ends holds whose time has run out before they were started, the oldest first.
local function sweep()
  local ids = redis.call('ZRANGEBYSCORE', HELD, '-inf', decimal(NOW), 'LIMIT', 0, SWEPT_MAX)
  if #ids == 0 then return end
  for _, record in ipairs(redis.call('HMGET', HOLDS, unpack(ids))) do give_back(unpack_hold(record)) end
  redis.call('HDEL', HOLDS, unpack(ids))
  redis.call('ZREM', HELD, unpack(ids))
end

-- What is known of each id of a batch whose items begin with it: {hold} or {settled = {day, minute}} or nothing.
-- Settled ids are looked for in the open days; those of `days` are open too when they lie ahead, which
-- happens when the clock was set back.
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
    for day, minutes in pairs(settled) do
      if minutes[index] then known[id] = {settled = {day = day, minute = tonumber(minutes[index])}} end
    end
  end
  return known
end

-- A node's number of jobs, put right where it cannot be: no node has more holds than its organization, none
-- less than none. No window ends this counter, so what a worker of another version did not count, while one
-- took the other's place, would stay for ever. Before the script changes a hold.
local function right_jobs(name, found)
  local jobs = tonumber(found or 0)
  local right = math.max(0, math.min(jobs, redis.call('HLEN', HOLDS)))
  if right ~= jobs then redis.call('HSET', node_key(name), JOBS, decimal(right)) end
  return right
end

-- Counters of nodes in the present windows, read once a script; changes are written by `write_nodes`.
local nodes = {}

local function forget_closed_windows(name)
  for _, field in ipairs(redis.call('HKEYS', node_key(name))) do
    local window, number = string.match(field, '^(%a):(%d+):')
    local first = window == 'd' and FIRST_OPEN_DAY or MINUTE
    if window and tonumber(number) < first then redis.call('HDEL', node_key(name), field) end
  end
end

local function node(name)
  if not nodes[name] then
    local found = redis.call('HMGET', node_key(name),
      spent_field(DAY), held_field(DAY), requests_field(MINUTE), JOBS)
    if not found[3] then forget_closed_windows(name) end
    nodes[name] = {spent = tonumber(found[1] or 0), held = tonumber(found[2] or 0),
      requests = tonumber(found[3] or 0), jobs = right_jobs(name, found[4]),
      held_more = 0, requests_more = 0, jobs_more = 0}
  end
  return nodes[name]
end

local function write_nodes()
  for name, counters in pairs(nodes) do
    add(name, held_field(DAY), counters.held_more)
    add(name, requests_field(MINUTE), counters.requests_more)
    add(name, JOBS, counters.jobs_more)
  end
end

local NANODOLLARS_PER_DAY, REQUESTS_PER_MINUTE, JOBS_IN_FLIGHT = 1, 2, 3

-- Of two refusals the one that lasts: never, then the later window, then what no settlement can free.
local function longer(one, other)
  if not one then return other end
  if one.never ~= other.never then return one.never > other.never and one or other end
  if one.retry_at ~= other.retry_at then return one.retry_at > other.retry_at and one or other end
  return one.held <= other.held and one or other
end

-- Why a request does not fit under {name, nanodollars_per_day, requests_per_minute, jobs_in_flight}, or nil.
local function refuse(level, nanodollars)
  local counters, refusal = node(level[1]), nil
  if counters.spent + counters.held + nanodollars > level[2] then
    refusal = {reason = NANODOLLARS_PER_DAY, retry_at = (DAY + 1) * DAY_MS,
      never = nanodollars > level[2] and 1 or 0, held = counters.spent + nanodollars <= level[2] and 1 or 0}
  end
  if counters.requests + 1 > level[3] then
    refusal = longer(refusal, {reason = REQUESTS_PER_MINUTE, retry_at = (MINUTE + 1) * MINUTE_MS,
      never = level[3] < 1 and 1 or 0, held = 0})
  end
  if counters.jobs + 1 > level[4] then
    refusal = longer(refusal, {reason = JOBS_IN_FLIGHT, retry_at = NOW,
      never = level[4] < 1 and 1 or 0, held = 1})
  end
  return refusal
end

-- Takes from every level of a request {id, nanodollars, input, output, {level, ...}, ...} or from none.
-- Answers the hold, or nil and the refusal. A request's levels are indices into `levels`.
local function take(request, levels, state)
  local refusal, names = nil, {}
  for _, index in ipairs(request[5]) do
    local level = levels[index]
    names[#names + 1] = level[1]
    local found = refuse(level, request[2])
    if found then refusal = longer(refusal, found) end
  end
  if refusal then return nil, refusal end
  for _, name in ipairs(names) do
    local counters = node(name)
    counters.held, counters.held_more = counters.held + request[2], counters.held_more + request[2]
    counters.requests, counters.requests_more = counters.requests + 1, counters.requests_more + 1
    counters.jobs, counters.jobs_more = counters.jobs + 1, counters.jobs_more + 1
  end
  return {state = state, names = table.concat(names, ','), nanodollars = request[2], input = request[3],
    output = request[4], day = DAY, minute = MINUTE}
end

-- Six integers a request: kind, then a hold's nanodollars, input, output, day, minute; or what a refusal says.
local KIND_OVER, KIND_HELD, KIND_STARTED, KIND_SETTLED = 0, 1, 2, 3

local function answer(reply, ...)
  for _, number in ipairs({...}) do reply[#reply + 1] = number end
end

local function answer_hold(reply, hold)
  local kind = hold.state == 's' and KIND_STARTED or KIND_HELD
  answer(reply, kind, hold.nanodollars, hold.input, hold.output, hold.day, hold.minute)
end

local function answer_settled(reply, request, settled)
  answer(reply, KIND_SETTLED, request[2], request[3], request[4], settled.day, settled.minute)
end

local function answer_refusal(reply, refusal)
  answer(reply, KIND_OVER, refusal.reason, refusal.retry_at, refusal.never, refusal.held, 0)
end

local function hold_record(hold)
  return pack_hold(hold.state, hold.names, hold.nanodollars, hold.input, hold.output, hold.day, hold.minute)
end
