"""curl: a matrix of command lines against a server of ours, compared in output, exit status, files and what -w tells."""
import os
import re
import subprocess

from harness import RESPONSE_HEADER, Server, Unit, scripted

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = ["/usr/bin/python3", "-B", os.path.join(HERE, "guests", "web_server.py")]

# size_header is left out: it counts the response header that 'everything' adds.
WORDS = ("http_code response_code http_connect size_download size_upload size_request num_connects num_redirects num_headers "
         "content_type redirect_url url_effective method http_version scheme exitcode errormsg filename_effective remote_ip "
         "ssl_verify_result proxy_ssl_verify_result urlnum")
TELL = "-w '%{stderr}" + "".join(f"{word}=%{{{word}}}|" for word in WORDS.split() if word != "num_headers") + "'"

COMMANDS = {
    "plain": "$U/",
    "head": "-I $U/",
    "include": "-i $U/",
    "verbose": "-v $U/",
    "headers to a file": "-D head.any $U/status/200; cat head.any",
    "1.0": "-0 $U/echo",
    "own headers": "-H 'X-One: 1' -H 'Accept:' -H 'X-Empty;' $U/echo",
    "long header": '-H "X-Long: $(printf %5000s | tr " " x)" $U/echo',
    "many headers": '$(for i in $(seq 80); do printf -- "-H X-%s:%s " $i $i; done) $U/echo',
    "own traceparent": "-H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' $U/echo",
    "agent and referer": "-A me -e http://there/ $U/echo",
    "post": "-d a=1 -d b=2 $U/echo",
    "post a file": "--data-binary @text $U/echo",
    "post big": "--data-binary @big $U/big/10",
    "post with expect": "-H 'Expect: 100-continue' --data-binary @text $U/echo",
    "post chunked": "-H 'Transfer-Encoding: chunked' -d @text $U/echo",
    "post from a pipe": "-d @- $U/echo < <(echo from a pipe)",
    "post json": "--json '{\"a\":1}' $U/echo",
    "put": "-T text $U/echo",
    "put from a pipe": "-T - $U/echo < <(seq 1000)",
    "put big": "-T big $U/big/3",
    "delete": "-X DELETE $U/echo",
    "options": "-X OPTIONS $U/echo",
    "propfind": "-X PROPFIND $U/echo",
    "get with data": "-G -d q=1 --data-urlencode 'x=a b&c' $U/echo",
    "form": "-F a=1 -F f=@text $U/status/200",
    "redirects": "-L $U/redirect/3",
    "too many redirects": "-L --max-redirs 2 $U/redirect/5",
    "redirected post": "-L -d a=1 $U/redirect/1",
    "post 302": "-L --post302 -d a=1 $U/redirect/1",
    "fail on 404": "-f $U/nowhere",
    "fail with body": "--fail-with-body $U/status/500",
    "fail early": "--fail-early $U/status/503 $U/",
    "204": "$U/status/204",
    "304": "-i $U/status/304",
    "404": "$U/nowhere",
    "500": "-i $U/status/500",
    "418": "-i $U/status/418",
    "chunked": "$U/chunked/20",
    "chunked, raw": "--raw $U/chunked/3",
    "chunked, headers": "-i $U/chunked/2",
    "until close": "-i $U/until_close",
    "in pieces of 1": "-i $U/pieces/1",
    "in pieces of 7": "$U/pieces/7",
    "cut short": "$U/cut",
    "no answer": "$U/nothing",
    "garbage": "--http0.9 -o out $U/garbage",
    "garbage refused": "$U/garbage",
    "early hints": "$U/early",
    "gzip": "--compressed $U/gzip",
    "gzip as it is": "-o out $U/gzip",
    "big": "-o out $U/big/3000000",
    "big to a pipe": "-s $U/big/1000000 | sha256sum",
    "range": "-r 100-299 -o out $U/big/1000",
    "resume": "-C - -o part $U/big/5000",
    "resume at": "-C 4000 -o out $U/big/5000",
    "remote name": "-O $U/big/777",
    "remote names": "--remote-name-all $U/big/1 $U/big/2 $U/status/200",
    "output folder": "--create-dirs --output-dir a/b -O $U/big/20",
    "globbing": "-s '$U/big/[1-5]' -o 'got#1'",
    "sets": "-s '$U/status/{200,201,404}'",
    "keep-alive": "$U/ $U/echo $U/status/404 $U/chunked/2",
    "no keep-alive": "-H 'Connection: close' $U/ $U/",
    "next": "$U/ --next -d x $U/echo --next -I $U/",
    "in parallel": "-w '' -Z --parallel-max 4 '$U/big/[1-20]' -o 'got#1' 2>meter.any",
    "cookies": "-c jar.any -b sent=1 $U/cookies/a/b $U/cookies/c",
    "basic": "-u me:pw $U/secret",
    "basic, wrong": "-u me:no -i $U/secret",
    "anyauth": "--anyauth -u me:pw $U/secret",
    "digest": "--digest -u me:pw $U/secret",
    "from a config": "-K config.any",
    "unix socket": "--unix-socket $P.sock http://here/echo",
    "resolved by hand": "--resolve shop:$N:127.0.0.1 http://shop:$N/echo",
    "connect to": "--connect-to shop:80:127.0.0.1:$N http://shop/echo",
    "through a proxy": "-x $U http://shop/echo",
    "through a tunnel": "-p -x $U http://127.0.0.1:$N/echo",
    "through a tunnel, TLS": "-k -x $U https://127.0.0.1:$T/echo",
    "refused": "http://127.0.0.1:1/",
    "timeout 0.2": "-m 0.2 telnet://127.0.0.1:$N",
    "bad scheme": "nosuch://x/",
    "bad url": "'http://[::1/'",
    "file": "file://$PWD/text",
    "no such file": "file:///nonexistent/x",
    "TLS": "-k https://127.0.0.1:$T/echo",
    "TLS refused": "https://127.0.0.1:$T/",
    "TLS with its certificate": "--cacert $CERT https://localhost:$T/echo",
    "TLS, post": "-k -d a=1 https://127.0.0.1:$T/echo https://127.0.0.1:$T/chunked/3",
    "TLS, big": "-k --http1.1 -o out https://127.0.0.1:$T/big/1000000",
    "TLS 1.2": "-k --tls-max 1.2 https://127.0.0.1:$T/",
    "plain to TLS": "http://127.0.0.1:$T/",
    "TLS to plain": "-k https://127.0.0.1:$N/",
    "HTTP/2 upgrade": "--http2 -d x=1 $U/echo",
    "limited rate": "--limit-rate 4M -o out $U/big/300000",
    "progress bar": "--no-silent -# -o out $U/big/100000 2>meter.any",
    "trace": "--trace-ascii - -o out $U/ | grep -vE '^[0-9a-f]*:|Info|Recv header'",
    "etag": "--etag-save tag --etag-compare tag $U/",
    "ignored body": "-s -o /dev/null $U/chunked/30",
    "ipv4": "-4 -i $U/",
    "interface": "--interface 127.0.0.1 $U/",
    "no buffer": "-N $U/chunked/10",
    "stderr elsewhere": "--stderr said.any -v $U/",
    "no proxy": "--noproxy '*' -x http://127.0.0.1:1 $U/",
    "retry": "--retry 1 --retry-delay 0 --retry-max-time 1 -s $U/status/400",
    "tcp fastopen": "--tcp-nodelay --keepalive-time 1 $U/",
    "libcurl code": "--libcurl code.any $U/",
    "pipe closed early": "-w '' $U/big/3000000 | head -c 100 | sha256sum",
}
PREPARE = ("U=http://127.0.0.1:$N; seq 100 >text; head -c 2000000 /dev/zero >big; head -c 1000 /dev/zero >part; "
           "printf 'url = %s/echo\\nheader = \"X-Config: 1\"\\n' $U >config.any; ")


def tidy(text):
    text = re.sub(rf"(?im)^[< ]*{RESPONSE_HEADER}:.*\n", "", text)
    # Which of two ends speaks first, and how often, is the network's affair.
    text = re.sub(r"(?m)^[*{}] .*\n|^.*bytes data\]\n", "", text)
    text = re.sub(r"boundary=-+\w+|-{20,}\w+", "BOUNDARY", text)
    text = re.sub(r"after \d+ (ms|milliseconds)", "after a while", text)
    return re.sub(r"(127\.0\.0\.1|localhost|shop|PORT)(:| port )\d+", r"\1\2PORT", text)


def make_certificate(folder):
    command = ["/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, check=True, cwd=folder, stderr=subprocess.DEVNULL)
    return os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")


def matrix(run, commands):
    cert, key = make_certificate(run.folder)
    with Server(run, SERVER) as port, Server(run, [*SERVER, "--tls", cert, key], name="tls") as tls:
        extra = {"N": port, "T": tls, "CERT": cert, "P": os.path.join(run.folder, "port.any")}
        scripts = {name: f"{PREPARE}curl -sS {TELL} {words.replace(chr(39) + '$U', chr(39) + 'http://127.0.0.1:' + port)}"
                   for name, words in commands.items()}
        return scripted(run, scripts, extra=extra, tidy=tidy)


def units(quick):
    names = list(COMMANDS)
    size = 35
    for at in range(0, len(names), size):
        part = {name: COMMANDS[name] for name in names[at:at + size]}
        if quick:
            part = {name: command for number, (name, command) in enumerate(part.items()) if number % 3 == 0}
        yield Unit(f"matrix {at // size + 1}", lambda run, part=part: matrix(run, part))
