"""Databases, caches, queues and directories."""
import os

from service import user_or_self

POSTGRES = "/usr/lib/postgresql/15/bin"


def redis(case):
    port = case.port()
    case.serve("redis", ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--daemonize", "no", "--protected-mode", "no"], port,
               drop="overcommit|Transparent|THP")
    case.ask("redis: commands", f"redis-cli -p {port} set a 1; redis-cli -p {port} incr a; printf 'lpush l x y z\\nlrange l 0 -1\\nget a\\nnosuch\\n' | redis-cli -p {port}", expect="2")
    case.ask("redis: inline", f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'SET b 5\\r\\nGET b\\r\\nMGET a b c\\r\\nQUIT\\r\\n' >&3; cat <&3", expect="5")
    # What looks like HTTP it refuses by itself; a line of its log says so.
    case.ask("redis: asked for a page", f"curl -s http://127.0.0.1:{port}/; echo $?")
    case.ask("redis: many", f"redis-benchmark -p {port} -n 5000 -q -t set,get,lpush,mset --csv | cut -d, -f1", expect="SET")
    case.ask("redis: pub/sub", f"(redis-cli -p {port} subscribe c & echo $! >pid.any; wait) >said.any & until redis-cli -p {port} pubsub channels | grep -q c; do sleep 0.1; done; "
             f"redis-cli -p {port} publish c one; redis-cli -p {port} publish c two; until grep -q two said.any; do sleep 0.1; done; kill $(cat pid.any); wait; cat said.any", expect="two")


def memcached(case):
    port = case.port()
    case.serve("memcached", ["memcached", "-u", user_or_self("nobody"), "-l", "127.0.0.1", "-p", str(port), "-vv"], port, drop="slab class|server listening|new auto-negotiating")
    case.ask("memcached: commands", f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'set a 0 0 5\\r\\nhello\\r\\nget a\\r\\nincr a 1\\r\\ndelete a\\r\\nget a\\r\\nversion\\r\\nquit\\r\\n' >&3; cat <&3",
             expect="hello")
    case.ask("memcached: big", f"exec 3<>/dev/tcp/127.0.0.1/{port}; {{ printf 'set b 0 0 500000\\r\\n'; head -c 500000 /dev/zero | tr '\\0' b; printf '\\r\\nget b\\r\\nquit\\r\\n'; }} >&3; cat <&3 | cksum")


def postgresql(case):
    port, folder = case.port(), case.folder("pg", "postgres")
    user = user_or_self("postgres")
    as_user = {"user": user}
    os.chmod(folder, 0o700)
    case.ask("PostgreSQL: initdb", f"{POSTGRES}/initdb -N -D {folder} -U postgres -A trust", expect="Success", **as_user)
    drop = "checkpoint|background worker|autovacuum|redo|PostgreSQL \\d+"
    case.serve("PostgreSQL", [f"{POSTGRES}/postgres", "-D", folder, "-p", str(port), "-c", f"unix_socket_directories={folder}", "-c", "log_statement=all",
                              "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_parallel_workers=0"], port, drop=drop + "|vacuum|pgbench|LOG:  (?:statement|execute)", **as_user)
    extra = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
    case.ask("PostgreSQL: is ready", "until pg_isready -q; do sleep 0.1; done; pg_isready", extra=extra, expect="accepting")
    case.ask("PostgreSQL: statements", "psql -c 'create table t(a int)' -c 'insert into t select generate_series(1, 1000)' -c 'select sum(a), count(*) from t' -c 'select 1/0'; "
             "psql -Atc 'copy t to stdout' | cksum; echo 'select pg_notify($$c$$, $$x$$); listen c; notify c' | psql -q", extra=extra, expect="500500", drop="from server process")
    case.ask("PostgreSQL: pgbench", f"{POSTGRES}/pgbench -i -q 2>&1 | grep -c done; {POSTGRES}/pgbench -n -t 100 -c 4 -j 2 2>&1 | grep -E 'processed|failed'", extra=extra, expect="400/400")
    pool = case.port()
    conf = case.file("pgbouncer.ini", f"[databases]\npostgres = host=127.0.0.1 port={port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {pool}\n"
                     "auth_type = any\npool_mode = transaction\nunix_socket_dir =\n")
    case.serve("pgbouncer", ["/usr/sbin/pgbouncer", conf], pool, drop="stats:|kernel file descriptor", **as_user)
    case.ask("pgbouncer: pgbench", f"{POSTGRES}/pgbench -n -t 50 -c 4 -p {pool} 2>&1 | grep -E 'processed|failed'; psql -p {pool} -Atc 'select 6 * 7'", extra=extra, expect="200/200")
    case.end("pgbouncer")
    case.ask("PostgreSQL: dump", "pg_dump --inserts -t t | grep -v -e '^--' -e '^.\\(un\\)*restrict' | cksum", extra=extra)
    case.end("PostgreSQL", command=[*case.as_user(user), f"{POSTGRES}/pg_ctl", "-D", folder, "stop", "-m", "fast"])


def mariadb(case):
    port, folder, user = case.port(), case.folder("my", "mysql"), user_or_self("mysql")
    socket = os.path.join(folder, "socket")
    case.ask("MariaDB: install", f"mariadb-install-db --no-defaults --user={user} --datadir={folder} --auth-root-authentication-method=normal --skip-test-db >said.any 2>&1; tail -1 said.any | cut -c1-20")
    case.serve("MariaDB", ["mariadbd", "--no-defaults", f"--user={user}", f"--datadir={folder}", f"--port={port}", "--bind-address=127.0.0.1", f"--socket={socket}",
                           f"--pid-file={folder}/pid", "--innodb-buffer-pool-size=8M"], port, drop="InnoDB|Warning|io_uring|Buffer pool")
    client = f"mariadb --no-defaults -u root -S {socket}"
    case.ask("MariaDB: statements", f"{client} -e 'create database d; use d; create table t(a int) engine=innodb; insert into t values (1),(2),(3); select sum(a) from t; select * from nosuch'",
             expect="6")
    case.ask("MariaDB: over TCP", f"mariadb --no-defaults -u root -h 127.0.0.1 -P {port} -e 'select 6 * 7; select repeat(\"x\", 100000)' | cksum")
    case.ask("MariaDB: many", f"for i in $(seq 30); do echo \"insert into d.t values ($i);\"; done | {client}; {client} -Ne 'select count(*) from d.t'", expect="33")
    case.ask("MariaDB: dump", f"mariadb-dump --no-defaults -u root -S {socket} --skip-dump-date d t | cksum")


def slapd(case):
    port, folder = case.port(), case.folder("slapd")
    conf = case.file("slapd.conf", f"""include /etc/ldap/schema/core.schema
pidfile {folder}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
maxsize 10485760
suffix "dc=here"
rootdn "cn=admin,dc=here"
rootpw pw
directory {folder}
""")
    case.serve("slapd", ["slapd", "-h", f"ldap://127.0.0.1:{port}", "-f", conf, "-d", "256"], port, drop="@\\(#\\)|waiting for|slapd starting|ACCEPT|closed|SEARCH RESULT|deferring operation")
    admin = f"-x -H ldap://127.0.0.1:{port} -D cn=admin,dc=here -w pw"
    case.ask("slapd: add and search", "{ printf 'dn: dc=here\\nobjectClass: dcObject\\nobjectClass: organization\\no: here\\ndc: here\\n\\n'; for i in $(seq 30); do "
             f"printf 'dn: cn=p%s,dc=here\\nobjectClass: person\\ncn: p%s\\nsn: s%s\\n\\n' $i $i $i; done; }} | ldapadd {admin}; "
             f"ldapsearch {admin} -LLL -b dc=here '(sn=s1*)' cn sn; ldapdelete {admin} cn=p3,dc=here; ldapsearch {admin} -LLL -b cn=p3,dc=here; ldapwhoami {admin}", expect="sn: s12")
    case.ask("slapd: refused", f"ldapsearch -x -H ldap://127.0.0.1:{port} -D cn=admin,dc=here -w no -b dc=here", expect="Invalid credentials")


def mosquitto(case):
    port = case.port()
    case.serve("mosquitto", ["mosquitto", "-p", str(port)], port, drop="\\$SYS|auto-|connected|disconnected|closed")
    case.ask("mosquitto: retained", f"for i in 1 2 3; do mosquitto_pub -p {port} -r -q 1 -t a/$i -m m$i; done; mosquitto_sub -p {port} -t 'a/#' -C 3 -W 60 -v | sort", expect="a/3 m3")
    case.ask("mosquitto: big", f"head -c 300000 /dev/zero | tr '\\0' x | mosquitto_pub -p {port} -r -t big -s; mosquitto_sub -p {port} -t big -C 1 -W 60 | cksum")
    case.ask("mosquitto: many", f"seq 500 | mosquitto_pub -p {port} -q 2 -l -t n; mosquitto_sub -p {port} -t 'a/1' -C 1 -W 60", expect="m1")


def beanstalkd(case):
    port = case.port()
    case.serve("beanstalkd", ["beanstalkd", "-l", "127.0.0.1", "-p", str(port), "-V"], port)
    case.ask("beanstalkd: jobs", f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'put 0 0 60 5\\r\\nhello\\r\\npeek 1\\r\\nreserve\\r\\ndelete 1\\r\\npeek 1\\r\\nuse t\\r\\nlist-tubes\\r\\nnosuch\\r\\nquit\\r\\n' >&3; cat <&3",
             expect="hello")


def rabbitmq(case):
    port, folder, user = case.port(), case.folder("rabbit", "rabbitmq"), user_or_self("rabbitmq")
    extra = {"RABBITMQ_NODENAME": f"n{port}@localhost", "RABBITMQ_NODE_PORT": str(port), "RABBITMQ_DIST_PORT": str(port + 20), "RABBITMQ_MNESIA_BASE": f"{folder}/db",
             "RABBITMQ_LOG_BASE": folder, "RABBITMQ_LOGS": "-", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "HOME": folder, "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
             "ERL_EPMD_PORT": str(case.port()), "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_CONFIG_FILE": f"{folder}/none", "ERL_FLAGS": "+S 2"}
    case.serve("RabbitMQ", ["/usr/lib/rabbitmq/bin/rabbitmq-server"], port, user=user, extra=extra, drop=".")
    ctl = "/usr/lib/rabbitmq/bin/rabbitmqctl -q"
    case.ask("RabbitMQ: asked", f"{ctl} await_startup; {ctl} add_vhost v; {ctl} list_vhosts name --no-table-headers | sort; {ctl} add_user me pw; {ctl} authenticate_user me pw; "
             f"{ctl} eval '6 * 7.'", user=user, extra=extra, expect="42")
    case.ask("RabbitMQ: a greeting", f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'HTTP/1.1 no\\r\\n' >&3; cat <&3 | od -c | head -2", expect="A   M   Q   P")


CASES = {"redis": redis, "memcached": memcached, "PostgreSQL": postgresql, "MariaDB": mariadb, "slapd": slapd, "mosquitto": mosquitto, "beanstalkd": beanstalkd, "RabbitMQ": rabbitmq}
