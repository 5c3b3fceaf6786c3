"""
dpkg and apt at work in a root of their own: packages are built, indexed, fetched from files and over HTTP, installed with
their scripts, upgraded and removed. Nothing of the machine's own state is read or written.
"""
import re

from curl import SERVER
from harness import Server, Unit, scripted


PREPARE = r"""
set -e
export SOURCE_DATE_EPOCH=981173106
build() { # NAME VERSION [FIELD]...
	p=p.any/$1-$2; n=$1; v=$2; shift 2
	mkdir -p $p/DEBIAN $p/usr/share/$n $p/etc
	{ printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: me <me@here>\n' $n $v; for f in "$@"; do echo "$f"; done; printf 'Description: a package\n of ours\n'; } >$p/DEBIAN/control
	echo "$n $v" >$p/usr/share/$n/version; seq 3000 >$p/usr/share/$n/data; echo conf >$p/etc/$n.conf
	echo /etc/$n.conf >$p/DEBIAN/conffiles
	for s in preinst postinst prerm postrm; do printf '#!/bin/sh\nset -e\nx=$(echo in %s)\necho "%s: $x $*"\necho "%s $*" >>"$DPKG_ROOT/scripts"\n' $s $n "$n $s" >$p/DEBIAN/$s; chmod 755 $p/DEBIAN/$s; done
	mkdir -p repo; dpkg-deb --root-owner-group -Zgzip -b $p repo/${n}_$v.deb
}
index() { (cd repo; for d in *.deb; do dpkg-deb -f $d; echo "Filename: ./$d"; echo "Size: $(stat -c %s $d)"; echo "SHA256: $(sha256sum $d | cut -d' ' -f1)"; echo; done >Packages; gzip -knf Packages); }
build one 1.0; build two 1.0 'Depends: one (>= 1.0)'; build three 2.0 'Depends: two' 'Recommends: none' 'Conflicts: four'; build four 1.0
root=$PWD/root
mkdir -p $root/var/lib/dpkg/info $root/var/lib/dpkg/updates $root/var/lib/apt/lists/partial $root/var/cache/apt/archives/partial $root/etc/apt/apt.conf.d \
	$root/etc/apt/preferences.d $root/etc/apt/sources.list.d $root/etc/apt/trusted.gpg.d $root/var/log/apt
: >$root/var/lib/dpkg/status; : >$root/var/lib/dpkg/available
in_root() { dpkg --root=$root --force-script-chrootless --force-not-root --force-unsafe-io --log=/dev/null "$@" </dev/null; }
cat >apt.any <<E
Dir "$root";
Dir::Bin::dpkg "/usr/bin/dpkg";
Dir::Bin::Methods "/usr/lib/apt/methods";
Dir::State::status "$root/var/lib/dpkg/status";
Dir::Log::Terminal "/dev/null";
Dir::Etc::trusted "/dev/null";
APT::Architecture "amd64";
APT::Sandbox::User "";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Acquire::http::Proxy "false";
Debug::NoLocking "true";
DPkg::Options { "--root=$root"; "--force-script-chrootless"; "--force-not-root"; "--force-unsafe-io"; "--log=/dev/null"; };
DPkg::Use-Pty "false";
E
export APT_CONFIG=$PWD/apt.any
# What the root holds in the end; its caches and logs carry times.
finish() { dpkg-query --admindir=$root/var/lib/dpkg -W -f '${Package} ${Version} ${Status}\n'; cat $root/scripts 2>/dev/null || true; rm -rf $root/var/log $root/var/cache $root/var/lib/apt $root/etc/apt; }
"""
SCRIPTS = {
    "build": "for d in repo/*.deb; do dpkg-deb -c $d | awk '{print $1, $2, $6}'; dpkg-deb -I $d control; dpkg-deb -x $d x; done; dpkg-deb --fsys-tarfile repo/one_1.0.deb | sha256sum",
    "install": "in_root -i repo/one_1.0.deb; in_root -i repo/two_1.0.deb repo/three_2.0.deb; finish",
    "missing dependency": "in_root -i repo/two_1.0.deb || echo failed $?; finish",
    "remove and purge": "in_root -i repo/one_1.0.deb repo/two_1.0.deb; in_root -r two; in_root -P two one; finish",
    "upgrade": "in_root -i repo/one_1.0.deb; build one 1.1; echo changed >$root/etc/one.conf; in_root --force-confold -i repo/one_1.1.deb; finish",
    "conflict": "in_root -i repo/four_1.0.deb; in_root -i repo/one_1.0.deb repo/two_1.0.deb repo/three_2.0.deb || echo failed $?; finish",
    "script fails": r"""p=p.any/one-1.0; printf '#!/bin/sh\necho no >&2; exit 3\n' >$p/DEBIAN/postinst; dpkg-deb --root-owner-group -b $p repo/one_1.0.deb; in_root -i repo/one_1.0.deb || echo failed $?; finish""",
    "diversions and alternatives": "in_root -i repo/one_1.0.deb; dpkg-divert --root $root --quiet --add --rename /usr/share/one/version || true; ls $root/usr/share/one; finish",
    "queries": "in_root -i repo/one_1.0.deb; in_root -l one | tail -1; in_root -L one; in_root -S version; in_root -s one; in_root -V one; in_root --get-selections; dpkg --compare-versions 1 lt 2; echo $?",
    "apt from files": "index; echo \"deb [trusted=yes] file:$PWD/repo ./\" >$root/etc/apt/sources.list; apt-get -q update | grep -v '^Get\\|^Fetched\\|^Ign'; apt-get -q install three; finish",
    "apt over HTTP": "index; echo \"deb [trusted=yes] http://127.0.0.1:$N/files/$W/repo ./\" >$root/etc/apt/sources.list; apt-get -q update | grep -v '^Get\\|^Fetched\\|^Ign\\|^Err'; "
    "apt-get -q install three | grep -v '^Get\\|^Fetched'; finish",
    "apt remove": "index; echo \"deb [trusted=yes] file:$PWD/repo ./\" >$root/etc/apt/sources.list; apt-get -q update >/dev/null; apt-get -q install three >/dev/null; apt-get -q remove one; "
    "apt-get -q autoremove; apt-get -q purge one two three; finish",
    "apt upgrade": "index; echo \"deb [trusted=yes] file:$PWD/repo ./\" >$root/etc/apt/sources.list; apt-get -q update >/dev/null; apt-get -q install two >/dev/null; build one 1.2; index; "
    "apt-get -q update >/dev/null; apt-get -q upgrade; finish",
    "apt queries": "index; echo \"deb [trusted=yes] file:$PWD/repo ./\" >$root/etc/apt/sources.list; apt-get -q update >/dev/null; apt-cache policy one; apt-cache depends three; apt-cache search ours; "
    "apt-get -s install three; apt-get -q download one; ls *.deb; apt-get -q install nosuch || echo failed $?; rm -rf $root",
    "apt-ftparchive by hand": "index; sha256sum repo/Packages; apt-config dump DPkg::Options; apt-cache -o APT::Cache::AllNames=1 pkgnames 2>/dev/null | sort; rm -rf $root",
}


def matrix(run, scripts):
    with Server(run, SERVER, extra={"FILES": run.folder}) as port:
        cases, reasons = {}, {}
        for number, (name, script) in enumerate(scripts.items()):
            # Each is the first of its own run, in a folder that the server can name.
            cases.update(scripted(run, {name: PREPARE + script}, extra={"N": port, "W": "case0"}, 
                                  tidy=lambda text: re.sub(r"\.\.\./\d+/", ".../", text.replace(port, "PORT"))))
            reasons.update(run.reasons)
        run.reasons = reasons
        return cases


def units(quick):
    names = list(SCRIPTS)
    if quick:
        yield Unit("packages", lambda run: matrix(run, {name: SCRIPTS[name] for name in ("install", "apt over HTTP")}))
        return
    for at in range(0, len(names), 5):
        part = {name: SCRIPTS[name] for name in names[at:at + 5]}
        yield Unit(f"packages {at // 5 + 1}", lambda run, part=part: matrix(run, part))
