-- wrk: every request has a number of its own, and the traceparent that tests/preload/attribution makes from it.
local threads = 0

function setup(thread)
	threads = threads + 1
	thread:set("id", threads)
end

function init()
	count = id * 100000000
	path = wrk.path
end

function request()
	count = count + 1
	-- count * 2654435761 modulo 2^48, in halves that a double holds exactly
	local high = math.floor(count / 2 ^ 20) * 2654435761 % 2 ^ 28
	local low = count % 2 ^ 20 * 2654435761
	local mixed = (high * 2 ^ 20 + low) % 2 ^ 48
	local upper = math.floor(mixed / 2 ^ 24)
	local text = string.format("%06x%06x", upper, mixed - upper * 2 ^ 24)
	return wrk.format("GET", path .. "?n=" .. count,
		{ ["traceparent"] = string.format("00-7e57%s%016x-ca11e7%010x-01", text, count, count) })
end
