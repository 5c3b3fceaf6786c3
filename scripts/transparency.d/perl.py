"""Perl: its core library (sockets, processes, pipes, signals, threads, files), the scripts that come with it, and prove."""
from harness import Unit, scripted


SCRIPTS = {
    "prints": 'print "a", "b\\n"; print STDERR "e\\n"; printf "%s-%d\\n", "x", 3; $| = 1; print "c"; print "d\\n";',
    "no newline": 'print "abc"',
    "autoflush": 'use IO::Handle; STDOUT->autoflush; STDOUT->print("x\\n"); STDERR->autoflush(0); STDERR->print("y\\n");',
    "syswrite": 'syswrite STDOUT, "abc\\ndef\\n", 4; syswrite STDOUT, "ghi\\n", 3, 0; syswrite STDOUT, "\\n";',
    "backticks": 'my @l = `seq 3`; print "got ", scalar(@l), " $l[1]"; print `echo sub; exit 3`, $? >> 8, "\\n"',
    "system": 'system("echo from sh; exit 2"); print $? >> 8, "\\n"; system { "echo" } "echo", "list form";',
    "exec": 'print "before\\n"; $| = 1; exec "echo", "after";',
    "fork and wait": 'my $p = fork; if (!$p) { print "child\\n"; exit 4 } waitpid $p, 0; print "status ", $? >> 8, "\\n";',
    "fork with a full buffer": 'print "x\\n"; my $p = fork; if (!$p) { print "c\\n"; exit 0 } waitpid $p, 0; print "p\\n";',
    "pipe": 'pipe my $r, my $w; if (!fork) { close $r; print $w "line $_\\n" for 1 .. 1000; exit 0 } close $w; my @l = <$r>; print scalar(@l), $l[-1]; wait;',
    "open a pipe": 'open my $f, "-|", "seq", 5; print "<", join(",", map { chomp; $_ } <$f>), ">\\n"; close $f; open my $g, "|-", "sort -r"; print $g "$_\\n" for 1 .. 4; close $g;',
    "forking open": 'my $p = open(my $f, "-|") // die; if (!$p) { print "in the child\\n"; exit } print "got: $_" while <$f>;',
    "IPC::Open3": 'use IPC::Open3; use Symbol; my $e = gensym; my $p = open3(my $i, my $o, $e, "sh", "-c", "cat; echo err >&2"); print $i "text\\n"; close $i; print <$o>, <$e>; waitpid $p, 0;',
    "IPC::Open2": 'use IPC::Open2; my $p = open2(my $o, my $i, "tr", "a-z", "A-Z"); print $i "text\\n"; close $i; print <$o>;',
    "dup": 'open my $s, ">&", \\*STDOUT; open STDOUT, ">", "f"; print "in f\\n"; system "echo in f too"; close STDOUT; open STDOUT, ">&", $s; print "back\\n"; open my $f, "<", "f"; print sort <$f>;',
    "dup by number": 'open my $s, ">&=", 1; print $s "x\\n"; close $s; open my $t, ">&1"; warn "closed\\n" unless $t;',
    "stderr into stdout": 'open STDERR, ">&STDOUT"; $| = 1; print "o\\n"; warn "e\\n"; system "ls /nonexistent";',
    "in memory": 'open my $m, ">", \\my $x; print $m "mem\\n"; close $m; print $x; { local *STDOUT; open STDOUT, ">", \\my $y; print "hidden"; close STDOUT; }',
    "select": 'use IO::Select; pipe my $r, my $w; my $s = IO::Select->new($r); print scalar($s->can_read(0)), "\\n"; syswrite $w, "x"; print scalar($s->can_read(1)), "\\n";',
    "poll": 'use IO::Poll; pipe my $r, my $w; my $p = IO::Poll->new; $p->mask($r => POLLIN); print $p->poll(0), "\\n"; syswrite $w, "x"; print $p->poll(1), "\\n";',
    "signals": '$SIG{USR1} = sub { print "got\\n" }; kill USR1 => $$; $SIG{ALRM} = sub { die "alarm\\n" }; eval { alarm 1; select undef, undef, undef, 5; }; print $@;',
    "signal interrupts a read": 'pipe my $r, my $w; $SIG{ALRM} = sub { syswrite $w, "from the handler\\n" }; alarm 1; print scalar <$r>;',
    "broken pipe": 'local $SIG{PIPE} = "IGNORE"; pipe my $r, my $w; close $r; print defined syswrite($w, "x") ? "?" : "$!\\n"; open my $h, "|-", "true"; sleep 0; print $h "x" x 100000; print close($h) ? "closed\\n" : "failed\\n";',
    "die and warn": 'warn "w\\n"; eval { die { code => 3 } }; print $@->{code}, "\\n"; $SIG{__DIE__} = sub { print STDERR "hook: $_[0]" }; die "end\\n";',
    "exit in END": 'END { print "end\\n"; $? = 7 } print "main\\n"; exit 1;',
    "TCP": 'use IO::Socket::INET; my $l = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1"); if (!fork) { my $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $l->sockport); print $c "hello\\n"; print scalar <$c>; exit } my $s = $l->accept; print "server: ", scalar <$s>; STDOUT->flush; print $s "reply\\n"; close $s; wait;',
    "UDP": 'use IO::Socket::INET; my $a = IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.1"); my $b = IO::Socket::INET->new(Proto => "udp", PeerAddr => "127.0.0.1", PeerPort => $a->sockport); $b->send("x" x 1000); $a->recv(my $m, 2000); print length $m, "\\n";',
    "unix sockets": 'use Socket; socketpair my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC; syswrite $a, "GET / HTTP/1.1\\r\\n\\r\\n"; shutdown $a, 1; print <$b>; close $b; print defined syswrite($a, "x") ? "?\\n" : "$!\\n" if $SIG{PIPE} = "IGNORE";',
    "half an HTTP head": 'use Socket; socketpair my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC; syswrite $a, "GET / HTTP/1.1\\r\\nHo"; sysread $b, my $x, 100; syswrite $a, "st: x\\r\\n\\r\\n"; sysread $b, my $y, 100; print length($x), " ", length($y), "\\n";',
    "HTTP::Daemon and LWP": 'use HTTP::Daemon; use LWP::UserAgent; my $d = HTTP::Daemon->new(LocalAddr => "127.0.0.1"); my $u = $d->url; my $p = fork; if (!$p) { while (my $c = $d->accept) { while (my $r = $c->get_request) { my $n = HTTP::Response->new(200, "OK", ["X-Y", "z"], $r->method . " " . $r->uri->path . " " . $r->content); $c->send_response($n) } $c->close } } my $a = LWP::UserAgent->new(keep_alive => 1, env_proxy => 0); for my $n (1 .. 5) { my $r = $a->post("${u}p$n", Content => "b" x $n); print $r->code, " ", $r->content, " ", $r->header("X-Y"), "\\n" } kill KILL => $p; wait;',
    "HTTP::Tiny": 'use HTTP::Daemon; use HTTP::Tiny; my $d = HTTP::Daemon->new(LocalAddr => "127.0.0.1"); my $u = $d->url; my $p = fork; if (!$p) { while (my $c = $d->accept) { while (my $r = $c->get_request) { $c->send_file_response("/etc/debian_version") } $c->close } } for (1 .. 3) { my $r = HTTP::Tiny->new->get($u); print "$r->{status} $r->{content}" } kill KILL => $p; wait;',
    "refused": 'use HTTP::Tiny; my $r = HTTP::Tiny->new->get("http://127.0.0.1:1/"); print "$r->{status}\\n"; use IO::Socket::INET; print IO::Socket::INET->new(PeerAddr => "127.0.0.1:1") ? "?" : "$!\\n";',
    "threads": 'use threads; use threads::shared; my $n :shared = 0; my @t = map { my $i = $_; threads->create(sub { for (1 .. 100) { lock $n; $n++ } return $i * 2 }) } 1 .. 8; print join(",", map { $_->join } @t), " $n\\n";',
    "thread queue": 'use threads; use Thread::Queue; my $q = Thread::Queue->new; my $t = threads->create(sub { my $s = 0; while (defined(my $x = $q->dequeue)) { $s += $x } $s }); $q->enqueue(1 .. 500); $q->end; print $t->join, "\\n";',
    "threads print": 'use threads; $| = 1; $_->join for map { my $i = $_; threads->create(sub { print "" }) } 1 .. 4; print "all\\n";',
    "files": 'open my $f, "+>", "f"; print $f "abc\\n" x 3; seek $f, 4, 0; read $f, my $x, 3; print "$x\\n"; truncate $f, 2; print -s "f", "\\n"; use Fcntl ":flock"; print flock($f, LOCK_EX), "\\n";',
    "in place": 'open my $f, ">", "f"; print $f "a\\nb\\n"; close $f; { local ($^I, @ARGV) = (".bak", "f"); while (<>) { s/a/x/; print } } print "done\\n"; open $f, "<", "f"; print <$f>;',
    "layers": 'binmode STDOUT, ":utf8"; print "\\x{20ac}\\n"; open my $f, ">:crlf", "f"; print $f "a\\nb\\n"; close $f; print -s "f", "\\n"; open $f, "<:encoding(UTF-16LE)", \\"a\\0b\\0"; print <$f>, "\\n";',
    "format": 'format STDOUT =\n@<<<< @>>>>\n$a, $b\n.\n($a, $b) = ("l", "r"); write;',
    "File::Temp, File::Find, File::Copy": 'use File::Temp "tempfile"; use File::Copy; my ($h, $n) = tempfile(UNLINK => 1); print $h "x\\n"; close $h; copy($n, "c"); move("c", "d"); print -s "d", "\\n"; use File::Find; find(sub { print "$_\\n" if -f }, ".");',
    "copy to stdout": 'use File::Copy; open my $f, ">", "f"; print $f "copied\\n"; close $f; $| = 1; copy("f", \\*STDOUT);',
    "sockets over exec": 'use Socket; use Fcntl; socketpair my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC; fcntl $b, F_SETFD, 0; my $n = fileno $b; if (!fork) { exec "sh", "-c", "echo through >&$n" } close $b; print <$a>; wait;',
    "inetd style": 'use Socket; socketpair my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC; if (!fork) { open STDIN, "<&", $b; open STDOUT, ">&", $b; close $a; close $b; exec "sh", "-c", "read x; echo got \\$x" } close $b; syswrite $a, "line\\n"; print <$a>; wait;',
    "POSIX": 'use POSIX; my ($r, $w) = POSIX::pipe; POSIX::write($w, "posix\\n", 6); POSIX::read($r, my $x, 6); print $x; POSIX::dup2(2, 9); POSIX::write(9, "nine\\n", 5); POSIX::close(9); print defined POSIX::write(9, "x", 1) ? "?" : $!, "\\n"; STDOUT->flush; POSIX::_exit(6);',
    "daemonised": 'use POSIX; if (!fork) { POSIX::setsid; open STDOUT, ">", "log"; open STDERR, ">&STDOUT"; exit if fork; print "daemon\\n"; exit } wait; select undef, undef, undef, 0.01 until -s "log"; open my $f, "<", "log"; print <$f>;',
    "environment": '$ENV{X} = 1; system "echo \\$X"; delete local $ENV{PATH}; print exists $ENV{PATH} ? "?" : "gone\\n"; %ENV = (); system "/bin/echo", "empty";',
    "title": '$0 = "another name"; print "renamed\\n"; open my $f, "<", "/proc/$$/cmdline"; local $/ = "\\0"; my $x = <$f>; $x =~ s/\\0.*//s; print "$x\\n";',
    "Storable, Digest": 'use Storable qw(store retrieve); store {a => [1 .. 100]}, "s.any"; print scalar @{retrieve("s.any")->{a}}, "\\n"; use Digest::SHA; print Digest::SHA->new(256)->addfile("/etc/debian_version")->hexdigest, "\\n";',
    "sort and gather": 'print map { "$_\\n" } sort { $b <=> $a } 1 .. 2000;',
    "IO::Zlib and Compress": 'use Compress::Zlib; my $g = gzopen("f.any", "wb"); $g->gzwrite("z\\n" x 1000); $g->gzclose; $g = gzopen("f.any", "rb"); my $n = 0; $n++ while $g->gzreadline($_) > 0; print "$n\\n";',
    "JSON": 'use JSON::PP; print JSON::PP->new->canonical->encode({a => 1, b => [1, 2]}), "\\n"; print JSON::PP->new->canonical->pretty->encode({a => {b => 1}});',
    "Time::HiRes": 'use Time::HiRes qw(usleep ualarm setitimer ITIMER_REAL); my $n = 0; $SIG{ALRM} = sub { $n++ }; setitimer(ITIMER_REAL, 0.01, 0.01); select undef, undef, undef, 1 while $n < 5; setitimer(ITIMER_REAL, 0); print "ticks\\n";',
    "wait for any": 'my %p; for my $n (1 .. 5) { my $p = fork; exit $n unless $p; $p{$p} = $n } while ((my $p = wait) > 0) { die unless ($? >> 8) == delete $p{$p} } print scalar(keys %p), "\\n";',
}
# What is installed with Perl, at work.
PROGRAMS = {
    "prove": r"""mkdir t; for i in 1 2 3 4; do printf 'use Test::More tests => 3; ok 1, "a"; is 2, 2; print STDERR "said\\n"; like `echo x`, qr/x/;' >t/$i.t; done
printf 'use Test::More; plan tests => 2; ok 1; ok 0, "fails";' >t/5.t; prove t 2>&1 | sed 's/, *[0-9.]* wallclock.*//'; prove -v -j3 t/[12].t 2>/dev/null | grep -c ok""",
    "json_pp": """echo '{"b": [1, {"c": null}], "a": "x"}' | json_pp -json_opt canonical,pretty""",
    "shasum": "seq 100 >f; shasum -a 256 f >s; shasum -c s; shasum -a 512 <f",
    "pod2text, pod2man, pod2usage": r"""printf '=head1 NAME\n\nx - y\n\n=head1 SYNOPSIS\n\n  x [options]\n\n=cut\n' >f.pod; pod2text f.pod; pod2man --date=d --release=r f.pod | tail -5; pod2usage f.pod; podchecker f.pod""",
    "ptar": "mkdir d; seq 3 >d/a; ptar -cf f.any d; ptar -tf f.any",
    "perl -i, -n, -p, -a": r"""seq 5 | perl -ne 'print if $_ % 2'; seq 3 | perl -pe 's/^/n/'; echo a b | perl -lane 'print $F[1]'; seq 3 >f; perl -i -pe 's/2/two/' f; cat f""",
    "perl -c, -v, -V": "perl -c -e 1 2>&1; perl -v | head -2; perl -V:version",
    "script from stdin": """echo 'print "from stdin\\n"; print <STDIN>' | perl - ; printf 'print <DATA>;\\n__END__\\nx\\ny\\n' | perl""",
    "xsubpp and ExtUtils": r"""perl -MExtUtils::Embed -e ccopts | grep -c -- -I; printf 'MODULE = X PACKAGE = X\nint\nf(a)\n  int a\n' >x.xs; xsubpp x.xs 2>/dev/null | grep -c XS_X_f""",
    "MakeMaker": r"""mkdir -p lib; printf 'package X; our $VERSION = "1"; 1;\n' >lib/X.pm; printf 'use ExtUtils::MakeMaker; WriteMakefile(NAME => "X", VERSION => 1);' >Makefile.PL
mkdir t; printf 'use Test::More tests => 1; use_ok "X";' >t/a.t; perl Makefile.PL 2>&1; make 2>&1; make test 2>&1 | sed 's/, *[0-9.]* wallclock.*//'; rm -rf blib/man3; mv Makefile makefile.any; rm -f pm_to_blib MYMETA*""",
    "corelist, instmodsh, enc2xs": "corelist Socket 2>/dev/null | tail -2; piconv -f latin1 -t utf8 </dev/null; splain </dev/null; echo $?",
    "debugger": r"""printf 'p 1+1\nq\n' | PERLDB_OPTS='NonStop=0 ReadLine=0 noTTY' perl -de 1 2>&1 | grep -c .; echo $?""",
}


def units(quick):
    names = list(SCRIPTS)
    size = 20
    for at in range(0, len(names), size):
        part = {name: SCRIPTS[name] for number, name in enumerate(names[at:at + size]) if not quick or number % 4 == 3}
        yield Unit(f"scripts {at // size + 1}", lambda run, part=part: scripted(run, part, shell=("/usr/bin/perl", "-e")))
    if not quick:
        yield Unit("programs", lambda run: scripted(run, PROGRAMS))
