"""Names, files, logins and what starts and collects the others."""
import getpass
import os

from service import user_or_self


def ask_names(case, name, port, zone="here.test", missing="drop.here.test"):
    """dig, over UDP and TCP."""
    dig = f"dig @127.0.0.1 -p {port} +tries=2 +time=20 +nocookie"
    drop = "Query time|WHEN|->>HEADER|MSG SIZE|DiG|SERVER"
    case.ask(f"{name}: over UDP", f"for n in a b {missing}; do {dig} ${{n%.{zone}}}.{zone}; done; {dig} +short -t TXT t.{zone}", expect="10.1.2.3", drop=drop)
    case.ask(f"{name}: over TCP", f"{dig} +tcp +keepopen a.{zone} a.{zone} b.{zone}", expect="10.1.2.3", drop=drop)
    case.ask(f"{name}: many", f"seq 100 | xargs -P 4 -n 5 sh -c 'for i; do {dig} +short a.{zone}; done' sh | sort | uniq -c", expect="100 10.1.2.3")


def bind9(case):
    port, folder, user = case.port(), case.folder("bind", user_or_self("bind")), user_or_self("bind")
    case.file("bind/zone", "$TTL 60\n@ SOA ns me 1 60 60 60 60\n@ NS ns\nns A 127.0.0.1\na A 10.1.2.3\nb CNAME a\nt TXT \"a text\"\n")
    conf = case.file("bind/named.conf", f"""options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; pid-file "{folder}/pid";
session-keyfile "{folder}/key"; managed-keys-directory "{folder}"; dnssec-validation no; notify no; querylog yes; }};
controls {{ }};
zone "here.test" {{ type master; file "zone"; }};
""")
    # It answers before it has the zone, and says SERVFAIL.
    case.serve("bind9", ["named", "-g", "-n", "2", "-c", conf, *(["-u", user] if os.geteuid() == 0 else [])],
               ready=lambda: "all zones loaded" in case.text(case.path("bind9.log")), drop="general|ulimit|jemalloc|compiled|network: |using |automatic empty zone|found")
    ask_names(case, "bind9", port)
    case.ask("bind9: transfer", f"dig @127.0.0.1 -p {port} +nocookie axfr here.test | grep -v '^;'", expect="a text")


def dnsmasq(case):
    port = case.port()
    case.serve("dnsmasq", ["dnsmasq", "-k", "-C", "/dev/null", "-p", str(port), "--log-queries", "--log-facility=-", "--no-resolv", "--no-hosts", "--listen-address=127.0.0.1",
                           "--bind-interfaces", "--address=/a.here.test/10.1.2.3", "--cname=b.here.test,a.here.test", "--txt-record=t.here.test,a text",
                           "--local=/here.test/", "--pid-file", "-u", user_or_self("nobody")], port, drop="cached|config|query|bad address|failed to change")
    ask_names(case, "dnsmasq", port)


def unbound(case):
    port, folder = case.port(), case.folder("unbound")
    conf = case.file("unbound.conf", f"""server:
  interface: 127.0.0.1
  port: {port}
  directory: "{folder}"
  chroot: ""
  pidfile: ""
  username: ""
  use-syslog: no
  log-queries: yes
  num-threads: 2
  local-zone: "here.test." static
  local-data: "a.here.test. A 10.1.2.3"
  local-data: "b.here.test. A 10.1.2.3"
  local-data: 't.here.test. TXT "a text"'
remote-control:
  control-enable: no
""")
    case.serve("unbound", ["unbound", "-d", "-c", conf], port, drop="start of service|init module|subnetcache|info: (?:server stats|average|histogram|lower|\\[25|  )")
    ask_names(case, "unbound", port)


def openssh(case):
    port, folder = case.port(), case.folder("ssh")
    user = getpass.getuser()
    os.makedirs("/run/sshd", exist_ok=True)
    case.ask("OpenSSH: keys", f"cd {folder}; ssh-keygen -q -t ed25519 -N '' -C me -f key; ssh-keygen -q -t ed25519 -N '' -f host; cp key.pub known; chmod 600 known; ls", expect="host.pub")
    case.serve("OpenSSH", ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-p", str(port), "-h", f"{folder}/host", "-o", f"AuthorizedKeysFile={folder}/known", "-o", "StrictModes=no",
                           "-o", "PidFile=none", "-o", "Subsystem=sftp internal-sftp"], port)
    options = f"-F /dev/null -i {folder}/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -q"
    ssh = f"ssh -p {port} {options}"
    case.ask("OpenSSH: a command", f"{ssh} {user}@127.0.0.1 'echo out; echo err >&2; seq 1 5; echo $(echo in a substitution); exit 3'", expect="in a substitution")
    case.ask("OpenSSH: streams", f"seq 200000 | {ssh} {user}@127.0.0.1 'cat | tac' | cksum", expect="1288895")
    case.ask("OpenSSH: a terminal", f"{ssh} -tt {user}@127.0.0.1 'tty | cut -c1-8; exit 2' </dev/null", expect="/dev/pts")
    case.ask("OpenSSH: forwarding", f"{ssh} -W 127.0.0.1:{port} {user}@127.0.0.1 </dev/null | head -c 7", expect="SSH-2.0")
    case.ask("OpenSSH: rsync", f"mkdir from; for i in $(seq 40); do seq $((i * 500)) >from/$i; done; rsync -a -e '{ssh}' from/ {user}@127.0.0.1:{folder}/to/; diff -r from {folder}/to && echo same; "
             f"echo more >>from/7; rsync -a --itemize-changes -e '{ssh}' from/ {user}@127.0.0.1:{folder}/to/ | sed -n 's,^<f[^ ]*,sent,p'; rm -r from {folder}/to", expect="same")
    case.ask("OpenSSH: sftp and scp", f"seq 5000 >f; printf 'put f {folder}/g\\nls {folder}/g\\nget {folder}/g h\\nrm {folder}/g\\n' | sftp -P {port} {options} -b - {user}@127.0.0.1 >/dev/null; cmp f h && echo same; "
             f"scp -P {port} {options} f {user}@127.0.0.1:{folder}/i; cmp f {folder}/i && echo same; rm -f f h {folder}/i", expect="same")
    case.ask("OpenSSH: refused", f"ssh -p {port} -F /dev/null -i /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null nosuch@127.0.0.1 true 2>&1 | tail -1", expect="denied")


def rsync_daemon(case):
    port, folder = case.port(), case.folder("rsync")
    conf = case.file("rsyncd.conf", f"use chroot = no\nlog file = /dev/stderr\n[m]\npath = {folder}\nread only = no\nuid = {getpass.getuser()}\ngid = {'root' if os.geteuid() == 0 else '*'}\n")
    case.serve("rsync", ["rsync", "--daemon", "--no-detach", f"--config={conf}", f"--port={port}", "--address=127.0.0.1"], port)
    case.ask("rsync: up and down", f"mkdir from; for i in $(seq 40); do seq $((i * 500)) >from/$i; done; rsync -a from/ rsync://127.0.0.1:{port}/m/; rsync -az rsync://127.0.0.1:{port}/m/ back; "
             f"diff -r from back && echo same; rsync rsync://127.0.0.1:{port}/; rsync rsync://127.0.0.1:{port}/nosuch/ 2>&1 | head -1; rm -r from back", expect="same")


def ask_ftp(case, name, port, user):
    ftp = f"ftp://{user}@127.0.0.1:{port}"
    case.ask(f"{name}: lists", f"curl -s {ftp}/ | awk '{{print $1, $5, $9}}' | sort; curl -sl {ftp}/", expect="numbers")
    case.ask(f"{name}: gets", f"curl -s {ftp}/numbers | cksum; curl -s -r 100-199 {ftp}/numbers | cksum; curl -s --ftp-port 127.0.0.1 {ftp}/numbers | cksum; curl -s {ftp}/nosuch; echo $?", expect="78")


def vsftpd(case):
    # A process for each session, with another that keeps its privileges. (Its own seccomp filter kills it bare.)
    port, folder = case.port(), case.folder("ftp")
    case.file("ftp/numbers", "".join(f"{i}\n" for i in range(50000)))
    conf = case.file("vsftpd.conf", f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={folder}\nport_promiscuous=YES\n"
                     f"connect_from_port_20=NO\nxferlog_enable=YES\nvsftpd_log_file={folder}.log.any\nsecure_chroot_dir={case.folder('empty')}\nftp_username={user_or_self('ftp')}\n"
                     f"nopriv_user={user_or_self('nobody')}\npasv_promiscuous=YES\n")
    case.serve("vsftpd", ["vsftpd", conf], port)
    ask_ftp(case, "vsftpd", port, "anonymous:me")


def samba(case):
    port, folder = case.port(), case.folder("samba")
    for name in ("share", "lock", "state", "cache", "private", "ncalrpc"):
        case.folder(f"samba/{name}")
    os.chmod(f"{folder}/share", 0o777)
    conf = case.file("smb.conf", f"""[global]
smb ports = {port}
interfaces = lo
bind interfaces only = yes
lock directory = {folder}/lock
state directory = {folder}/state
cache directory = {folder}/cache
private dir = {folder}/private
pid directory = {folder}
ncalrpc dir = {folder}/ncalrpc
map to guest = Bad User
guest account = {user_or_self("nobody")}
load printers = no
disable spoolss = yes
server role = standalone server
log level = 1
[share]
path = {folder}/share
read only = no
guest ok = yes
""")
    case.serve("Samba", ["smbd", "-F", "--no-process-group", "--debug-stdout", "-s", conf], port, drop=".")
    client = f"smbclient -s {conf} -p {port} -N //127.0.0.1/share"
    case.ask("Samba: files", f"seq 30000 >f; {client} -c 'put f; mkdir d; ls f; get f g; rename f d/h; rm d/h; rmdir d' 2>&1 | grep -E '^  f' | awk '{{print $1, $3}}'; cmp f g && echo same; rm f g", expect="same")
    case.ask("Samba: shares", f"smbclient -s {conf} -p {port} -N -L 127.0.0.1 2>&1 | grep -E 'share|IPC'", expect="share")


def git_daemon(case):
    port, folder = case.port(), case.folder("git")
    extra = {"GIT_AUTHOR_NAME": "me", "GIT_AUTHOR_EMAIL": "me@here", "GIT_COMMITTER_NAME": "me", "GIT_COMMITTER_EMAIL": "me@here", "GIT_AUTHOR_DATE": "2001-02-03T04:05:06Z",
             "GIT_COMMITTER_DATE": "2001-02-03T04:05:06Z", "GIT_CONFIG_NOSYSTEM": "1"}
    case.ask("git daemon: a repository", f"git init -q -b main {folder}/r; cd {folder}/r; for i in 1 2 3 4 5; do seq $((i * 900)) >f$i; git add .; git commit -qm $i; done; git rev-parse HEAD", extra=extra)
    case.serve("git daemon", ["git", "daemon", "--verbose", "--export-all", "--enable=receive-pack", f"--base-path={folder}", "--listen=127.0.0.1", f"--port={port}", "--reuseaddr"], port,
               extra=extra)
    url = f"git://127.0.0.1:{port}/r"
    case.ask("git daemon: clone, fetch and push", f"git clone -q {url} c; git -C c fsck 2>&1; git -C c log --format=%H; git clone -q --depth 1 {url} s; git -C s log --format=%H; cd c; echo x >x; git add x; "
             f"git commit -qm x; git push -q origin main:other 2>&1; git ls-remote {url}; git ls-remote git://127.0.0.1:{port}/nosuch 2>&1; cd ..; rm -rf c s", extra=extra, expect="refs/heads/other")


def xinetd(case):
    port, turned = case.port(), case.port()
    conf = case.file("xinetd.conf", "defaults\n{\n\tlog_type = FILE /dev/stderr\n\tlog_on_success = PID HOST EXIT\n}\n" + "".join(f"""service {name}
{{
	type = UNLISTED
	port = {number}
	bind = 127.0.0.1
	socket_type = stream
	protocol = tcp
	wait = no
	user = {getpass.getuser()}
	server = {command[0]}
	server_args = {command[1]}
}}
""" for name, number, command in (("one", port, ("/usr/bin/tac", "-")), ("two", turned, ("/usr/bin/head", "-n 3")))))
    case.serve("xinetd", ["xinetd", "-dontfork", "-f", conf], port, drop="START|EXIT|debug|xinetd|libwrap|DEBUG|Service|Reading|removing|Started|Swapping|readjusting|^$|\\{|\\}|=|^\\t")
    case.ask("xinetd: services", f"seq 5 | nc -N 127.0.0.1 {port}; seq 50 | nc -q 1 -N 127.0.0.1 {turned}", expect="5\n4\n3")


def supervisor(case):
    http, app = case.port(), case.port()
    conf = case.file("supervisord.conf", f"""[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={case.path("supervisord.pid")}
[inet_http_server]
port=127.0.0.1:{http}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=http://127.0.0.1:{http}
[program:web]
command=/usr/bin/python3 -u -m http.server --bind 127.0.0.1 {app}
directory={case.folder("served")}
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
redirect_stderr=true
[program:once]
command=/bin/sh -c 'echo once; echo to stderr >&2; exit 3'
autorestart=false
startsecs=0
exitcodes=3
stdout_logfile=/dev/fd/1
stdout_logfile_maxbytes=0
redirect_stderr=true
""")
    case.serve("supervisor", ["supervisord", "-c", conf], http, drop="INFO|WARN|CRIT|Warning|self.warnings|Supervisord is running")
    ctl = f"supervisorctl -c {conf}"
    case.ask("supervisor: asked", f"until {ctl} status web | grep -q RUNNING; do sleep 0.2; done; until curl -so page.any http://127.0.0.1:{app}/nowhere; do sleep 0.1; done; curl -si http://127.0.0.1:{app}/ | head -1; "
             f"{ctl} status | awk '{{print $1, $2}}'; {ctl} restart web; {ctl} stop web; rm -f page.any", expect="web: stopped", drop="UserWarning|self.warnings")
    case.end("supervisor")


def rsyslog(case):
    port, folder = case.port(), case.folder("syslog")
    log = f"{folder}/transparency-all.log"
    conf = case.file("rsyslog.conf", f"""module(load="imtcp")
input(type="imtcp" port="{port}" address="127.0.0.1")
global(workDirectory="{folder}")
template(name="t" type="string" string="%syslogtag% %syslogpriority-text%%msg%\\n")
*.* action(type="omfile" file="{log}" template="t")
""")
    case.serve("rsyslog", ["rsyslogd", "-n", "-f", conf, "-i", f"{folder}/pid"], port)
    case.ask("rsyslog: logger", f"for i in $(seq 20); do logger -T -n 127.0.0.1 -P {port} -t me -p user.err line $i; done; seq 200 | sed 's/^/<13>many: /' | nc -N 127.0.0.1 {port}; "
             f"until [ $(grep -c -E 'line|many' {log}) -ge 220 ]; do sleep 0.1; done; echo all", expect="all")
    case.end("rsyslog")
    case.compare_log("rsyslog: written", log, drop="rsyslogd")


def ngircd(case):
    port = case.port()
    conf = case.file("ngircd.conf", f"[Global]\nName = irc.here.test\nInfo = here\nListen = 127.0.0.1\nPorts = {port}\nServerUID = {user_or_self('nobody')}\nServerGID = {'nogroup' if os.geteuid() == 0 else os.getegid()}\n"
                     "[Options]\nIdent = no\nDNS = no\nPAM = no\n", 0o644)
    case.serve("ngIRCd", ["ngircd", "-n", "-f", conf], port)
    case.ask("ngIRCd: a channel", f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'NICK me\\r\\nUSER me 0 * :me\\r\\nJOIN #c\\r\\nTOPIC #c :hello\\r\\nNAMES #c\\r\\nQUIT :bye\\r\\n' >&3; cat <&3",
             expect="hello", drop=" 00[1-5] | 04[0-9] | 25[0-9] | 26[0-9] |NOTICE")


CASES = {"bind9": bind9, "dnsmasq": dnsmasq, "unbound": unbound, "OpenSSH": openssh, "rsync": rsync_daemon, "vsftpd": vsftpd, "Samba": samba, "git daemon": git_daemon,
         "xinetd": xinetd, "supervisor": supervisor, "rsyslog": rsyslog, "ngIRCd": ngircd}
