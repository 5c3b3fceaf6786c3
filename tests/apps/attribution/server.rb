# Servers of the attribution experiment in Ruby; see tests/programs/attribution_kit.h for what each request does.
#
#   ruby server.rb KIND PORT UP
#
# KIND  threads  a thread a connection
#       pool     a thread a connection reads whole requests; a queue and eight workers, for what is left to do too
#       requeue  eight workers read one request each, and queue its connection, and what is left to do, again
#       fibers   one thread; a fiber a connection gives up the thread wherever it would wait
require "socket"

KIND, PORT, UP = ARGV[0], ARGV[1].to_i, ARGV[2].to_i
$stdout.sync = true

class Peer
  attr_reader :connection, :close
  def initialize(connection)
    @connection, @bytes, @close = connection, +"", false
    connection.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
  end

  # The number of the next request; nil: there is none. The block waits for the connection.
  def read
    until (stop = @bytes.index("\r\n\r\n"))
      data = @connection.read_nonblock(8192, exception: false)
      return nil if data.nil?
      data == :wait_readable ? yield(@connection) : @bytes << data
    end
    head = @bytes.slice!(0, stop + 4)
    @close = head.include?("Connection: close")
    head[/n=(\d+)/, 1].to_i
  rescue SystemCallError
    nil
  end

  def answer(n)
    body = "hello n=#{n}\n"
    @connection.write("HTTP/1.1 200 OK\r\nContent-Length: #{body.size}\r\n#{"Connection: close\r\n" if @close}\r\n#{body}")
  end
end

LINKS = Queue.new

# The block waits for the connection to the service.
def call(n)
  link = LINKS.pop(true) rescue TCPSocket.new("127.0.0.1", UP)
  link.write("GET /up?n=#{n} HTTP/1.1\r\nHost: up.example\r\n\r\n")
  reply = +""
  until reply =~ /\r\n\r\n.*\n/m
    data = link.read_nonblock(4096, exception: false)
    data == :wait_readable ? yield(link) : reply << data
  end
  abort "another's reply" unless reply.end_with?("\r\n\r\nup n=#{n}\n")
  LINKS << link
end

def work(peer, n, &wait)
  puts "begin n=#{n}"
  call(n, &wait)
  puts "middle n=#{n}"
  puts "before n=#{n}"
  peer.answer(n)
  puts "after n=#{n}"
end

WAIT = ->(io) { io.wait_readable }

def serve_thread(peer)
  while (n = peer.read(&WAIT))
    work(peer, n, &WAIT)
    Thread.new(n) { |m| puts "background n=#{m}" }
    break if peer.close
  end
  peer.connection.close
end

JOBS = Queue.new

def job(peer, n, done)
  lambda do
    work(peer, n, &WAIT)
    done << true
    JOBS << -> { puts "background n=#{n}" }
  end
end

def serve_pool(peer)
  done = Queue.new
  while (n = peer.read(&WAIT))
    JOBS << job(peer, n, done)
    done.pop
    break if peer.close
  end
  peer.connection.close
end

def requeue(peer)
  lambda do
    if (n = peer.read(&WAIT))
      work(peer, n, &WAIT)
      JOBS << -> { puts "background n=#{n}" }
      next peer.connection.close if peer.close
      JOBS << requeue(peer)
    else
      peer.connection.close
    end
  end
end

listener = TCPServer.new("127.0.0.1", PORT)
listener.listen(512)
8.times { Thread.new { loop { JOBS.pop.call } } } if KIND == "pool" || KIND == "requeue"

if KIND == "fibers"
  waiting = {}
  wait = ->(io) { waiting[io] = Fiber.current; Fiber.yield }
  serve = lambda do |connection|
    Fiber.new do
      peer = Peer.new(connection)
      while (n = peer.read(&wait))
        work(peer, n, &wait)
        puts "background n=#{n}"
        break if peer.close
      end
      connection.close
    end.resume
  end
  loop do
    ready, = IO.select([listener, *waiting.keys])
    ready.each { |io| io == listener ? serve.call(listener.accept) : waiting.delete(io).resume }
  end
elsif KIND == "requeue"
  loop { JOBS << requeue(Peer.new(listener.accept)) }
else
  loop do
    Thread.new(listener.accept) do |connection|
      KIND == "pool" ? serve_pool(Peer.new(connection)) : serve_thread(Peer.new(connection))
    end
  end
end
