"""Ruby: its library's servers and clients, processes, pipes, terminals, threads and fibers, and the tests that come packaged."""
import glob
import os
import re

from harness import Unit, scripted


SCRIPTS = {
    "prints": 'print "a", "b\\n"; puts [1, [2, nil]]; p "x", :y; $stderr.puts "e"; warn "w"; $stdout.write("c", "d\\n"); printf("%d\\n", 3); putc ?x; puts',
    "no newline": 'print "abc"',
    "sync": '$stdout.sync = true; print "a"; print "b\\n"; $stdout.sync = false; print "c\\n"; $stdout.flush; $stdout << "d" << "\\n"',
    "syswrite": '$stdout.syswrite("a\\nb"); $stdout.syswrite("c\\n"); p $stdout.write_nonblock("d\\n")',
    "backticks": 'x = `seq 3`; p x, $?.exitstatus; p `echo s; exit 4`, $?.exitstatus',
    "system": 'p system("exit 3"), system("true"), system("nosuchcommand"); $stdout.flush; system("echo", "list"); system("echo e >&2; echo o", err: File::NULL)',
    "spawn": 'r, w = IO.pipe; pid = spawn("echo out; echo err >&2", out: w, err: [:child, :out]); Process.wait pid; w.close; p r.read; spawn({"A" => "1"}, "echo $A >f", unsetenv_others: true); Process.wait; p File.read("f")',
    "fork": 'pid = fork { puts "child"; exit! 4 }; Process.wait pid; p $?.exitstatus; pid = fork { puts "c"; exit 5 }; Process.wait pid; p $?.exitstatus',
    "exec": '$stdout.puts "before"; $stdout.flush; exec "echo", "after"',
    "popen": 'IO.popen("sort -r", "r+") { |io| io.puts 1, 2, 3; io.close_write; p io.read }; IO.popen("-") { |io| io ? (p io.read) : (puts "kid") }; p IO.popen(%w[sh -c cat\\ /nonexistent], err: [:child, :out]).read',
    "Open3": 'require "open3"; p Open3.capture3("cat; echo e >&2; exit 3", stdin_data: "in\\n").then { |o, e, s| [o, e, s.exitstatus] }; p Open3.capture2e("echo o; echo e >&2").first; p Open3.pipeline_r("seq 5", "tac") { |o, _| o.read }',
    "pipes": 'r, w = IO.pipe; t = Thread.new { 1000.times { |i| w.puts i }; w.close }; p r.readlines.size; t.join; r, w = IO.pipe; r.close; begin; w.write "x"; rescue Errno::EPIPE => e; p e.class; end',
    "nonblocking": 'r, w = IO.pipe; p r.read_nonblock(1, exception: false); n = 0; begin; loop { n += w.write_nonblock("x" * 65536) }; rescue IO::WaitWritable; end; p n; p r.read_nonblock(200000).size > 0',
    "select": 'r, w = IO.pipe; p IO.select([r], nil, nil, 0); w << "x"; p IO.select([r], [w], nil, 0).map(&:size)',
    "TCP": 'require "socket"; s = TCPServer.new("127.0.0.1", 0); t = Thread.new { c = s.accept; c.puts c.gets.upcase; c.close }; c = TCPSocket.new("127.0.0.1", s.addr[1]); c.puts "hello"; p c.gets, c.read; t.join',
    "many connections": 'require "socket"; s = TCPServer.new("127.0.0.1", 0); t = Thread.new { 50.times { Thread.new(s.accept) { |c| c.write c.readpartial(100).reverse; c.close } } }; p 50.times.map { |i| Thread.new { c = TCPSocket.new("127.0.0.1", s.addr[1]); c.write "n#{i}"; c.read } }.map(&:value)',
    "UNIX and UDP": 'require "socket"; a, b = UNIXSocket.pair; a.send_io($stdin); p b.recv_io.class; a.write "x"; p b.recv(1); u = UDPSocket.new; u.bind("127.0.0.1", 0); u.send("y", 0, "127.0.0.1", u.addr[1]); p u.recvfrom(2)[0]',
    "messages": 'require "socket"; a, b = UNIXSocket.pair; a.sendmsg("GET / HTTP/1.1\\r\\n\\r\\n"); p b.recvmsg[0]; a.close; p b.recv(1)',
    "Net::HTTP and WEBrick": 'require "webrick"; require "net/http"; q = Queue.new; s = WEBrick::HTTPServer.new(Port: 0, BindAddress: "127.0.0.1", Logger: WEBrick::Log.new(File::NULL), AccessLog: [], StartCallback: -> { q << 1 }); s.mount_proc("/") { |r, a| a.body = "#{r.request_method} #{r.path} #{r.body}" }; t = Thread.new { s.start }; q.pop; Net::HTTP.start("127.0.0.1", s.listeners[0].addr[1]) { |h| 5.times { |i| p h.get("/#{i}").body, h.post("/p", "x" * i).body, h.head("/h").code } }; s.shutdown; t.join',
    "Net::HTTP refused": 'require "net/http"; begin; Net::HTTP.get("127.0.0.1", "/", 1); rescue => e; p e.class; end',
    "open-uri": 'require "open-uri"; require "socket"; s = TCPServer.new("127.0.0.1", 0); Thread.new { c = s.accept; nil until c.gets == "\\r\\n"; c.write "HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nabc" ; c.close }; p URI.open("http://127.0.0.1:#{s.addr[1]}/").read',
    "signals": 'trap("USR1") { $stdout.syswrite "got\\n" }; Process.kill("USR1", $$); sleep 0.01; trap("EXIT") { puts "bye" }; begin; Process.kill("TERM", $$); sleep 5; rescue SignalException => e; p e.signm; end',
    "killed": 'pid = spawn("sleep 100"); Process.kill("KILL", pid); Process.wait pid; p $?.termsig; p $?.signaled?',
    "timeout": 'require "timeout"; begin; Timeout.timeout(0.05) { IO.pipe[0].read }; rescue Timeout::Error => e; p e.class; end',
    "threads": 'q = Queue.new; ts = 10.times.map { |i| Thread.new { 100.times { |j| q << i * j } } }; ts.each(&:join); p q.size; m = Mutex.new; n = 0; 8.times.map { Thread.new { 1000.times { m.synchronize { n += 1 } } } }.each(&:join); p n',
    "fibers and ractors": 'f = Fiber.new { |x| loop { x = Fiber.yield x * 2 } }; p f.resume(1), f.resume(5); e = [1, 2].each; p e.next, e.next; $VERBOSE = nil; Warning[:experimental] = false; p Ractor.new { receive + 1 }.tap { |r| r.send 4 }.take',
    "files": 'File.write("f", "a\\n" * 100); p File.foreach("f").count, IO.copy_stream("f", "g"), File.size("g"); File.open("f", "r+") { |f| f.seek 4; f.write "X"; f.truncate 20; f.flock File::LOCK_EX }; p File.read("f"); p IO.sysopen("f").class',
    "copy_stream to stdout": 'File.write("f", "copied\\n" * 3); $stdout.flush; IO.copy_stream("f", $stdout); r, w = IO.pipe; w << "piped\\n"; w.close; IO.copy_stream(r, $stdout)',
    "reopen": 'o = $stdout.dup; $stdout.reopen("f", "w"); puts "in f"; system "echo sub"; $stdout.flush; $stdout.reopen(o); puts "back"; puts File.readlines("f").sort; $stderr.reopen($stdout); warn "to stdout"',
    "close on exec": 'r, w = IO.pipe; w.close_on_exec = false; system("echo through >&#{w.fileno}", w => w); w.close; p r.read; p $stdout.close_on_exec?',
    "terminal": 'require "pty"; PTY.spawn("echo in a terminal; exit 3") { |r, w, pid| x = ""; begin; loop { x << r.readpartial(100) }; rescue EOFError, Errno::EIO; end; Process.wait pid; p x, $?.exitstatus }; require "io/console"; p $stdout.tty?',
    "daemon": 'pid = fork { Process.daemon(true); File.write("d", "daemon") }; Process.wait pid; sleep 0.01 until File.size?("d"); p File.read("d")',
    "Logger": 'require "logger"; l = Logger.new($stdout, formatter: ->(s, _, _, m) { "#{s} #{m}\\n" }); l.info "one"; l.warn "two"; f = Logger.new("l.any"); f.info "x"; p File.readlines("l.any").size',
    "exceptions": 'begin; raise "x"; rescue => e; p e.message; end; at_exit { puts "at exit" }; abort "aborted"',
    "uncaught": 'def f = raise(ArgumentError, "on purpose"); f',
    "exit!": 'at_exit { puts "never" }; $stdout.puts "x"; $stdout.flush; exit! 9',
    "environment": 'ENV["X"] = "1"; puts `echo $X`; ENV.delete("PATH"); p ENV["PATH"]; ENV.clear; p `/bin/echo y`; p ENV.to_h',
    "title": '$0 = "another"; p $0; p File.read("/proc/self/cmdline").start_with?("another")',
    "JSON, YAML, Zlib, Digest": 'require "json"; puts({"a" => [1, nil]}.to_json); puts JSON.pretty_generate({"a" => {"b" => 1}}); require "yaml"; puts({"x" => [1]}.to_yaml); require "zlib"; p Zlib.inflate(Zlib.deflate("z" * 1000)).size; require "digest"; puts Digest::SHA256.file("/etc/debian_version").hexdigest.size',
    "DRb": 'require "drb"; DRb.start_service("druby://127.0.0.1:0", [3, 1, 2]); p DRbObject.new_with_uri(DRb.uri).sort; DRb.stop_service',
    "Tempfile, FileUtils, Find": 'require "tempfile"; require "fileutils"; require "find"; Tempfile.create { |f| f.puts "x"; f.flush; p File.size(f.path) }; FileUtils.mkdir_p "a/b"; FileUtils.touch "a/b/c"; FileUtils.cp_r "a", "z"; puts Find.find(".").sort',
    "PStore, Etc, Socket.ip": 'require "pstore"; s = PStore.new("s.any"); s.transaction { s[:a] = 1 }; p s.transaction(true) { s[:a] }; require "etc"; p Etc.getpwuid(0).name; require "socket"; p Addrinfo.tcp("127.0.0.1", 80).ip?',
    "many lines": '3000.times { |i| puts "line #{i}" }',
    "long lines": 'puts "x" * 100000; $stderr.puts "y" * 20000',
    "GC": '20.times { GC.start; Array.new(1000) { |i| "s#{i}" } }; p ObjectSpace.count_objects.size > 1; GC.compact; p :ok',
}


def packaged_tests():
    """Of minitest, which tests itself."""
    return sorted(glob.glob("/usr/lib/ruby/gems/3.1.0/gems/minitest-*/test/minitest/test_*.rb"))


def tests(run, paths):
    folder = os.path.dirname(os.path.dirname(paths[0]))
    cases = {}
    for path in paths:
        name = os.path.basename(path)[:-3]
        ended = run.call(["/usr/bin/ruby", "-W0", f"-I{folder}:{folder}/../lib", path, "--seed", "1", "--verbose"])
        with open(path, encoding="utf-8") as file:
            parallel = "parallelize_me!" in file.read()
        # Threads that tell of their tests at once do so on one line.
        wanted = r"^(\d+ runs), (.*)$" if parallel else r"^(\S+#\S+) = \d+\.\d+ s = (.)$"
        for test, outcome in re.findall(wanted, run.plain(ended.out), re.M):
            cases[f"{name}: {test}"] = outcome
        cases[f"{name}: exit status"] = str(ended.status)
    return cases


def units(quick):
    names = list(SCRIPTS)
    size = 16
    for at in range(0, len(names), size):
        part = {name: SCRIPTS[name] for number, name in enumerate(names[at:at + size]) if not quick or number % 8 == 3}
        yield Unit(f"scripts {at // size + 1}", lambda run, part=part: scripted(run, part, shell=("/usr/bin/ruby", "-e"), tidy=tidy))
    if packaged_tests() and not quick:
        yield Unit("minitest", lambda run: tests(run, packaged_tests()))


def tidy(text):
    return re.sub(r"0x[0-9a-f]{8,}", "ADDRESS", text)
