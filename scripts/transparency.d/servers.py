"""
Servers and daemons that fleets have, out of Debian: each is started bare and preloaded, asked by its own clients (preloaded as well),
and ended. Their answers, exit statuses and logs are compared (service.py).
"""
import servers_data
import servers_mail
import servers_net
import servers_tools
import servers_web
from service import unit

CASES = {**servers_web.CASES, **servers_data.CASES, **servers_net.CASES, **servers_mail.CASES, **servers_tools.CASES}
# Those whose packages all the tests have.
QUICK = ["redis"]


def units(quick):
    for name, function in CASES.items():
        if not quick or name in QUICK:
            yield unit(name, function)
