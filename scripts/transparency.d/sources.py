"""
The tests of programs whose packages hold none: they are in Debian's source packages, which are fetched once, by apt-get with lists
and caches of its own, into build/sources. Nothing of them is built: the programs that are tested are the installed ones.
"""
import os
import pathlib
import shutil
import subprocess
import sys

NAMES = {"perl": "perl", "ruby": "ruby3.1", "php": "php8.2", "tcl": "tcl8.6", "bash": "bash"}
APT_CONFIG = """
Dir::Etc::SourceList "{0}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "{0}/lists";
Dir::Cache "{0}/cache";
APT::Sandbox::User "";
"""


def folder():
    build = os.environ.get("TRACESHIM_BUILD") or pathlib.Path(__file__).resolve().parents[2] / "build"
    return os.path.join(os.path.abspath(build), "sources")


def tree(name):
    """Where the sources of one of NAMES lie, fetched if they are not there yet."""
    path = os.path.join(folder(), name)
    if not os.path.isdir(path):
        fetch(name, path)
    return path


def say(command, **options):
    try:
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"transparency: {' '.join(command)}: {getattr(error, 'output', '') or error}")


def archive():
    """Where the release's packages come from on this machine; its sources are at the same place."""
    with open("/etc/os-release", encoding="utf-8") as file:
        release = dict(line.rstrip().split("=", 1) for line in file if "=" in line)["VERSION_CODENAME"].strip('"')
    for line in say(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"]).splitlines():
        if line.endswith(f" {release} main"):
            return f"deb-src {line}"
    sys.exit(f"transparency: no package lists of {release} main: apt-get update has not run")


def fetch(name, path):
    scratch = f"{path}.{os.getpid()}"
    os.makedirs(f"{scratch}/lists/partial")
    os.makedirs(f"{scratch}/cache/archives/partial")
    pathlib.Path(f"{scratch}/sources.list").write_text(archive() + "\n", encoding="utf-8")
    pathlib.Path(f"{scratch}/apt.conf").write_text(APT_CONFIG.format(scratch), encoding="utf-8")
    environment = {**os.environ, "APT_CONFIG": f"{scratch}/apt.conf"}
    print(f"transparency: fetching the sources of {NAMES[name]}", file=sys.stderr)
    say(["apt-get", "-q", "update"], env=environment)
    say(["apt-get", "-q", "--download-only", "source", NAMES[name]], env=environment, cwd=scratch)
    whole = [file for file in pathlib.Path(scratch).glob("*.orig.tar.*") if not file.name.endswith(".asc")]
    os.mkdir(f"{scratch}/tree")
    say(["tar", "-C", f"{scratch}/tree", "--strip-components=1", "--no-same-owner", "-xf", str(whole[0])])
    os.rename(f"{scratch}/tree", path)
    shutil.rmtree(scratch)


def copied(name, parts, target):
    """Some files and folders of a tree, for tests that write beside themselves."""
    for part in parts:
        source, place = os.path.join(tree(name), part), os.path.join(target, part)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if os.path.isdir(source):
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, place)


def several(names, size):
    """Names, `size` at a time: the start of a unit costs its copies."""
    return [names[at:at + size] for at in range(0, len(names), size)]
