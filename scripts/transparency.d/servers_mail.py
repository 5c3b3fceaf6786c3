"""Mail: Postfix takes it and leaves it in a folder, Dovecot shows it."""
import os

from service import user_or_self

MASTER = """{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def postfix(case):
    port, folder = case.port(), case.folder("postfix")
    for name in ("conf", "queue", "mail"):
        case.folder(f"postfix/{name}")
    case.folder("postfix/data", "postfix")
    case.file("postfix/conf/master.cf", MASTER.format(port=f"127.0.0.1:{port}"))
    case.file("postfix/conf/main.cf", f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = /dev/stdout
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = reject_unauth_destination
myhostname = mail.here.test
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
virtual_mailbox_domains = here.test
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{{{me@here.test = me/}}}}
virtual_minimum_uid = 1
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
alias_maps =
alias_database =
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME {case.ours()}
""")
    os.chmod(f"{folder}/mail", 0o777)
    case.serve("Postfix", ["postfix", "-c", f"{folder}/conf", "start-fg"], port, drop="statistics|warning|improper command|starting the Postfix|daemon started")
    smtp = f"curl -s smtp://127.0.0.1:{port} --mail-from you@here.test"
    letter = "printf 'From: you@here.test\\r\\nSubject: %s\\r\\n\\r\\nhello\\r\\n' $i"
    case.ask("Postfix: letters", f"for i in 1 2 3 4 5; do {letter} | {smtp} --mail-rcpt me@here.test -T -; done; until [ $(ls {folder}/mail/me/new 2>/dev/null | wc -l) -ge 5 ]; do sleep 0.2; done; "
             f"cat {folder}/mail/me/new/* | grep -E '^(Subject|From|hello)' | sort", expect="hello")
    case.ask("Postfix: refused", f"i=1; {letter} | {smtp} --mail-rcpt me@there.test -T - 2>&1; echo $?; {letter} | {smtp} --mail-rcpt nobody@here.test -T -; echo $?", expect="55")
    case.ask("Postfix: by hand", f"printf 'EHLO x\\r\\nNOOP\\r\\nVRFY me\\r\\nGET / HTTP/1.1\\r\\n\\r\\n' | nc -q 5 127.0.0.1 {port}", expect="221")
    case.end("Postfix")


def dovecot(case):
    port, folder, user = case.port(), case.folder("dovecot"), user_or_self("nobody")
    for name in ("mail", "mail/new", "mail/cur", "mail/tmp"):
        case.folder(f"dovecot/{name}", user)
    for i in range(5):
        case.file(f"dovecot/mail/new/{i}.letter", f"From: you@here.test\nSubject: {i}\nDate: Sat, 3 Feb 2001 04:05:06 +0000\n\nhello {i}\n")
        os.chmod(case.path(f"dovecot/mail/new/{i}.letter"), 0o666)
    conf = case.file("dovecot.conf", f"""base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = {user_or_self("dovecot")}
default_login_user = {user_or_self("dovenull")}
first_valid_uid = 1
mail_location = maildir:{folder}/mail
import_environment = TZ {case.ours()}
passdb {{
  driver = static
  args = password=pw
}}
userdb {{
  driver = static
  args = uid={user} gid={"nogroup" if os.geteuid() == 0 else os.getegid()} home={folder}/mail
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
""")
    case.serve("Dovecot", ["dovecot", "-F", "-c", conf], port, drop="stats")
    imap = f"curl -s imap://me:pw@127.0.0.1:{port}"
    case.ask("Dovecot: mailboxes", f"{imap}; {imap}/INBOX -X 'SEARCH ALL'; {imap}/INBOX -X 'FETCH 1:5 BODY[HEADER.FIELDS (SUBJECT)]'; curl -s 'imap://me:pw@127.0.0.1:{port}/INBOX;MAILINDEX=3'", expect="hello")
    case.ask("Dovecot: refused", f"curl -s imap://me:no@127.0.0.1:{port}/; echo $?", expect="67")
    case.ask("Dovecot: changes", f"{imap}/INBOX -X 'STORE 2 +FLAGS \\Deleted'; {imap}/INBOX -X EXPUNGE; {imap}/INBOX -X 'STATUS INBOX (MESSAGES)'", expect="MESSAGES")
    case.end("Dovecot")


CASES = {"Postfix": postfix, "Dovecot": dovecot}
