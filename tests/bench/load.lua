-- The load of the bench, for wrk: embedding requests whose texts differ, and their times at the end.
--
--   wrk … -s load.lua URL -- ENCODING TEXTS CYCLE MODEL KEY RUN
--
-- Every request has TEXTS texts of about 130 characters. All texts of all runs differ (RUN is
-- another for each), unless CYCLE is not 0: then CYCLE requests are asked again and again. A request is made by one
-- table.concat over pieces of equal length made at the start, so that wrk has next to no work.

local PLACE = "#########"
local WORDS = " how a provider counts the tokens of a text that was cut, and what it says to the one"
  .. " who asks for its vector again"

local pieces, cycle, count = {}, 0, 0

function init(args)
  local encoding, texts, model, key = args[1], tonumber(args[2]), args[4], args[5]
  cycle = tonumber(args[3])
  local run = cycle == 0 and args[6] or "all"
  local input = {}
  for i = 1, texts do input[i] = '"' .. PLACE .. " of run " .. run .. ", text " .. i .. WORDS .. '"' end
  local format = encoding == "float" and "" or ',"encoding_format":"' .. encoding .. '"'
  local body = '{"model":"' .. model .. '","input":[' .. table.concat(input, ",") .. "]"
    .. format .. "}"
  local headers = {
    ["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/json",
    ["Accept"] = "*/*", ["User-Agent"] = "bench/1.0",
  }
  local whole = wrk.format("POST", wrk.path, headers, body)
  local from = 1
  while true do
    local first, last = whole:find(PLACE, from, true)
    if not first then break end
    pieces[#pieces + 1] = whole:sub(from, first - 1)
    from = last + 1
  end
  pieces[#pieces + 1] = whole:sub(from)
end

function request()
  count = count + 1
  return table.concat(pieces, string.format("%09d", cycle == 0 and count or count % cycle))
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'figures: {"requests":%d,"bytes":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"max_ms":%f,'
      .. '"refused":%d,"timeouts":%d,"broken":%d}\n',
    summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, errors.status, errors.timeout,
    errors.connect + errors.read + errors.write))
end
