"""PHP on the command line: streams, sockets, processes, its curl extension, and its own web server."""
from curl import SERVER
from harness import Server, Unit, scripted


SCRIPTS = {
    "prints": 'echo "a", "b\\n"; print "c\\n"; printf("%d\\n", 3); fwrite(STDOUT, "d\\n"); fwrite(STDERR, "e\\n"); file_put_contents("php://stdout", "f\\n"); var_dump([1, "x" => null]); print_r([1]);',
    "no newline": 'echo "abc";',
    "output buffers": 'ob_start(); echo "hidden"; $x = ob_get_clean(); echo strlen($x), "\\n"; ob_start(fn ($b) => strtoupper($b)); echo "up\\n"; ob_end_flush(); ob_implicit_flush(); echo "z\\n"; flush();',
    "shell": 'echo shell_exec("seq 3"), `echo tick`; exec("echo a; echo b; exit 3", $o, $s); var_dump($o, $s); passthru("echo through"); system("echo sys; exit 2", $t); var_dump($t);',
    "proc_open": '$p = proc_open(["sh", "-c", "cat; echo err >&2; exit 4"], [["pipe", "r"], ["pipe", "w"], ["pipe", "w"]], $f); fwrite($f[0], "in\\n"); fclose($f[0]); echo stream_get_contents($f[1]), stream_get_contents($f[2]), proc_close($p), "\\n";',
    "popen": '$p = popen("sort -r", "w"); fwrite($p, "1\\n2\\n"); pclose($p); $p = popen("seq 3", "r"); echo fread($p, 100); var_dump(pclose($p));',
    "descriptors": '$p = proc_open("echo x >&3", [3 => ["pipe", "w"]], $f); echo stream_get_contents($f[3]); proc_close($p); $f = fopen("php://fd/1", "w"); fwrite($f, "by fd\\n");',
    "stream server": '$s = stream_socket_server("tcp://127.0.0.1:0"); $c = stream_socket_client("tcp://" . stream_socket_get_name($s, false)); $a = stream_socket_accept($s); fwrite($c, "hello\\n"); echo fgets($a); fwrite($a, "reply\\n"); fclose($a); echo stream_get_contents($c);',
    "stream pair": '$p = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0); fwrite($p[0], "GET / HTTP/1.1\\r\\n\\r\\n"); stream_socket_shutdown($p[0], STREAM_SHUT_WR); var_dump(stream_get_contents($p[1]));',
    "stream select": '$p = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0); $r = [$p[1]]; $w = $e = null; var_dump(stream_select($r, $w, $e, 0)); fwrite($p[0], "x"); $r = [$p[1]]; var_dump(stream_select($r, $w, $e, 1)); stream_set_blocking($p[1], false); fread($p[1], 9); var_dump(fread($p[1], 9));',
    "http wrapper": 'foreach ([1, 2, 3] as $i) var_dump(file_get_contents("$U/status/200"), $http_response_header[0]); var_dump(@file_get_contents("$U/none")); echo file_get_contents("$U/echo", false, stream_context_create(["http" => ["method" => "POST", "content" => "x=1", "header" => "Content-Type: text/plain"]]));',
    "http wrapper, big": 'var_dump(strlen(file_get_contents("$U/big/1000000")), copy("$U/big/5000", "f"), filesize("f")); echo file_get_contents("$U/chunked/3"), file_get_contents("$U/redirect/2");',
    "curl": '$c = curl_init("$U/echo"); curl_setopt_array($c, [CURLOPT_RETURNTRANSFER => 1, CURLOPT_POSTFIELDS => "a=1", CURLOPT_HTTPHEADER => ["X-A: b"]]); for ($i = 0; $i < 3; $i++) echo curl_exec($c), curl_getinfo($c, CURLINFO_HTTP_CODE), "\\n"; curl_setopt($c, CURLOPT_URL, "http://127.0.0.1:1/"); var_dump(curl_exec($c), curl_errno($c));',
    "curl multi": '$m = curl_multi_init(); $h = []; for ($i = 0; $i < 10; $i++) { $h[$i] = curl_init("$U/big/" . ($i * 1000)); curl_setopt($h[$i], CURLOPT_RETURNTRANSFER, 1); curl_multi_add_handle($m, $h[$i]); } do { curl_multi_exec($m, $on); curl_multi_select($m, 1); } while ($on); foreach ($h as $c) echo strlen(curl_multi_getcontent($c)), " ";',
    "curl to files": '$f = fopen("f", "w"); $c = curl_init("$U/big/70000"); curl_setopt($c, CURLOPT_FILE, $f); var_dump(curl_exec($c)); fclose($f); var_dump(filesize("f")); $c = curl_init("$U/status/200"); curl_exec($c);',
    "fork": 'if (!function_exists("pcntl_fork")) exit; echo "x\\n"; $p = pcntl_fork(); if (!$p) { echo "child\\n"; exit(3); } pcntl_waitpid($p, $s); var_dump(pcntl_wexitstatus($s));',
    "signals": 'if (!function_exists("pcntl_signal")) exit; pcntl_async_signals(true); pcntl_signal(SIGUSR1, function () { echo "got\\n"; }); posix_kill(posix_getpid(), SIGUSR1); echo "after\\n"; pcntl_exec("/bin/echo", ["replaced"]);',
    "errors": 'ini_set("display_errors", "stderr"); echo $nosuch; trigger_error("on purpose", E_USER_WARNING); error_log("logged"); throw new Exception("end");',
    "exit and shutdown": 'register_shutdown_function(function () { echo "down\\n"; }); echo "main\\n"; exit(6);',
    "files": 'file_put_contents("f", "a\\nb\\n"); file_put_contents("f", "c\\n", FILE_APPEND | LOCK_EX); print_r(file("f")); readfile("f"); $h = fopen("f", "r+"); fseek($h, 2); fwrite($h, "B"); ftruncate($h, 5); fpassthru($h); rewind($h); echo fread($h, 99); copy("f", "g"); rename("g", "h"); print_r(glob("*"));',
    "filters": 'readfile("php://filter/read=string.toupper/resource=/etc/debian_version"); $z = gzopen("f.any", "w"); gzwrite($z, str_repeat("z\\n", 1000)); gzclose($z); echo count(gzfile("f.any")), "\\n"; echo strlen(gzdecode(gzencode("x"))), "\\n";',
    "stdin": 'var_dump(fgets(STDIN), feof(STDIN), stream_isatty(STDOUT), posix_isatty(0));',
    "generators and closures": 'function g() { for ($i = 0; $i < 3; $i++) yield $i; } foreach (g() as $x) echo $x; $f = new Fiber(function () { $x = Fiber::suspend(1); echo $x, "\\n"; }); echo $f->start(); $f->resume("resumed");',
    "many lines": 'for ($i = 0; $i < 3000; $i++) echo "line $i\\n";',
    "title and environment": 'putenv("X=1"); echo `echo \\$X`; var_dump(getenv("X")); if (function_exists("cli_set_process_title")) var_dump(cli_set_process_title("another"));',
}


def matrix(run, scripts):
    with Server(run, SERVER) as port:
        scripts = {name: f'$U = "http://127.0.0.1:{port}"; {script}' for name, script in scripts.items()}
        return scripted(run, scripts, shell=("/usr/bin/php", "-d", "error_log=", "-r"), tidy=lambda text: text.replace(port, "PORT"))


def units(quick):
    part = {name: script for number, (name, script) in enumerate(SCRIPTS.items()) if not quick or number % 8 == 2}
    yield Unit("scripts", lambda run: matrix(run, part))
