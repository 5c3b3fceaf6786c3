# The application of the attribution experiment for Rack servers: three lines and a call for each request, a line when the
# answer has been sent, and one in the background.
require "socket"

$stdout.sync = true
LINKS = Queue.new

def call_up(n)
  link = LINKS.pop(true) rescue TCPSocket.new("127.0.0.1", ENV["UP"].to_i)
  link.write("GET /up?n=#{n} HTTP/1.1\r\nHost: up.example\r\n\r\n")
  reply = +""
  reply << link.readpartial(4096) until reply =~ /\r\n\r\n.*\n/m
  raise "another's reply" unless reply.end_with?("\r\n\r\nup n=#{n}\n")
  LINKS << link
end

# The server closes it when it has sent it.
Body = Struct.new(:n) do
  def each
    yield "hello n=#{n}\n"
  end

  def close
    puts "after n=#{n}"
    Thread.new { puts "background n=#{n}" }
  end
end

run(lambda do |env|
  n = env["QUERY_STRING"][/n=(\d+)/, 1].to_i
  puts "begin n=#{n}"
  call_up(n)
  puts "middle n=#{n}"
  puts "before n=#{n}"
  [200, { "content-type" => "text/plain" }, Body.new(n)]
end)
