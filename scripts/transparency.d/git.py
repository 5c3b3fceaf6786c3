"""
git over a git server of its own (git http-backend behind an HTTP server) and over files: clones, fetches, pushes, merges,
rebases, packs. Dates and names are fixed, so that object ids are the same each time.
"""
import os

from curl import SERVER
from harness import Server, Unit, scripted

ENVIRONMENT = {
    "GIT_AUTHOR_NAME": "me", "GIT_AUTHOR_EMAIL": "me@here", "GIT_AUTHOR_DATE": "2001-02-03T04:05:06Z",
    "GIT_COMMITTER_NAME": "me", "GIT_COMMITTER_EMAIL": "me@here", "GIT_COMMITTER_DATE": "2001-02-03T04:05:06Z",
    "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": "5",
    "GIT_CONFIG_KEY_0": "init.defaultBranch", "GIT_CONFIG_VALUE_0": "main",
    "GIT_CONFIG_KEY_1": "gc.auto", "GIT_CONFIG_VALUE_1": "0",
    "GIT_CONFIG_KEY_2": "http.receivepack", "GIT_CONFIG_VALUE_2": "true",
    "GIT_CONFIG_KEY_3": "pack.threads", "GIT_CONFIG_VALUE_3": "1",
    "GIT_CONFIG_KEY_4": "protocol.file.allow", "GIT_CONFIG_VALUE_4": "always",
}
# A progress line has no newline yet when another process writes its error, and comes out behind that in a log: so rebases talk
# through a pipe. Each script makes its own repositories; what it prints are object ids, refs and what git says.
PREPARE = r"""
set -e
work=$PWD/work.any
mkdir "$work"
commit() { for i in $(seq "$1" "$2"); do seq "$i" >"file$i"; echo "$i" >>log; git add -A; git commit -qm "commit $i"; done; }
show() { git -C "$1" for-each-ref; git -C "$1" log --format='%H %s' --all --date-order; git -C "$1" status --short; git -C "$1" fsck --full; }
git init -q "$work/origin"; cd "$work/origin"; commit 1 8
git branch side HEAD~3; git tag -a -m one v1
bare() { git clone -q --bare "$work/origin" "$ROOT/$1.git"; URL=http://127.0.0.1:$N/git/$1.git; }
"""
SCRIPTS = {
    "clone by path": 'git clone "$work/origin" ../new; show ../new',
    "clone by file url": 'git clone "file://$work/origin" ../new; show ../new',
    "shallow clone": 'git clone --depth 2 "file://$work/origin" ../new; show ../new; git -C ../new fetch --unshallow; show ../new',
    "single branch": 'git clone -b side --single-branch "file://$work/origin" ../new; show ../new',
    "mirror": 'git clone --mirror "file://$work/origin" ../new; git -C ../new for-each-ref',
    "clone over HTTP": 'bare a1; git clone "$URL" ../new; show ../new',
    "clone over HTTP, protocol 0": 'bare a2; git -c protocol.version=0 clone "$URL" ../new; show ../new',
    "clone over HTTP, protocol 1": 'bare a3; git -c protocol.version=1 clone "$URL" ../new; show ../new',
    "shallow over HTTP": 'bare a4; git clone --depth 1 "$URL" ../new; show ../new; git -C ../new fetch --deepen 2; show ../new',
    "fetch over HTTP": 'bare a5; git clone -q "$URL" ../new; commit 9 12; git push -q "$ROOT/a5.git" main; git -C ../new pull; show ../new',
    "push over HTTP": 'bare a6; commit 9 11; git push "$URL" main side:other; show "$ROOT/a6.git"',
    "push big over HTTP": 'bare a7; openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2>/dev/null | head -c 3000000 >big; git add big; git commit -qm big; git push "$URL" main; show "$ROOT/a7.git"',
    "push refused over HTTP": 'bare a8; git commit -q --amend -m other; git push "$URL" main; echo $?',
    "push and delete over HTTP": 'bare a9; git push "$URL" :side; git ls-remote "$URL"',
    "forced push over HTTP": 'bare b1; git reset -q --hard HEAD~2; git push -f "$URL" main; git ls-remote "$URL"',
    "ls-remote": 'bare b2; git ls-remote --symref "$URL"; git ls-remote "$work/origin" "refs/tags/*"',
    "no such repository": 'git clone "http://127.0.0.1:$N/git/none.git" ../new; echo $?',
    "submodule over HTTP": 'bare b3; git submodule add "$URL" sub; git commit -qm sub; cat .gitmodules; git submodule status; git clone -q --recursive . ../new; ls ../new/sub',
    "hooks over HTTP": r'''bare b4; printf '#!/bin/sh\necho before: $1; cat' >"$ROOT/b4.git/hooks/pre-receive"; printf '#!/bin/sh\necho "after: $(cat)"; echo to stderr >&2' >"$ROOT/b4.git/hooks/post-receive"; chmod +x "$ROOT"/b4.git/hooks/p*-receive; commit 9 9; git push "$URL" main''',
    "hook refuses": r'''bare b5; printf '#!/bin/sh\necho no >&2; exit 1' >"$ROOT/b5.git/hooks/pre-receive"; chmod +x "$ROOT/b5.git/hooks/pre-receive"; commit 9 9; git push "$URL" main; echo $?''',
    "merge": 'git checkout -q side; commit 20 22; git merge -m merged main; echo; cat log; git merge --abort; git merge -X ours -m merged main; show .',
    "octopus": 'for b in x y z; do git checkout -qb $b main; echo $b >$b; git add $b; git commit -qm $b; done; git checkout -q main; git merge -m all x y z; show .',
    "rebase": 'git checkout -q side; echo s >s; git add s; git commit -qm s; git rebase main 2>&1 | cat; show .',
    "rebase -i": "GIT_SEQUENCE_EDITOR='sed -i -e 2s/pick/squash/ -e 3s/pick/drop/' GIT_EDITOR=true git rebase -i HEAD~4 2>&1 | cat; show .",
    "rebase --exec": 'git rebase -x "git log -1 --format=%s; test -s log" HEAD~3 2>&1 | cat; show .',
    "rebase --autosquash": 'echo x >>file3; git commit -qa --fixup HEAD~2; GIT_SEQUENCE_EDITOR=true git rebase -i --autosquash HEAD~4 2>&1 | cat; show .',
    "cherry-pick and revert": 'git checkout -q side; git cherry-pick --allow-empty -X theirs main~1; git revert --no-edit HEAD; show .',
    "am and format-patch": 'git format-patch -o ../patches HEAD~3; git checkout -q -b again HEAD~3; git am ../patches/*; show .',
    "bundle": 'git bundle create ../all.bundle --all; git bundle verify ../all.bundle; git clone ../all.bundle ../new; show ../new',
    "fast-export": 'git fast-export --all >../stream; git init -q ../new; git -C ../new fast-import --quiet <../stream; show ../new; sha256sum <../stream',
    "gc": 'git gc --quiet; git count-objects -v; show .; ls .git/objects/pack',
    "repack": 'git repack -adf --window=5; git verify-pack -v .git/objects/pack/*.idx | sort',
    "prune": 'git reset -q --hard HEAD~3; git reflog expire --expire=now --all; git tag -d v1; git prune -v --expire=now; show .',
    "bisect": "git bisect start HEAD HEAD~7; git bisect run sh -c '! test -e file5'; git bisect log",
    "stash": 'echo x >>log; echo n >new; git stash -u; git status --short; git stash pop; git stash list; show .',
    "worktree": 'git worktree add ../tree side; git worktree list; ls ../tree; show ../tree',
    "archive": 'git archive --format=tar HEAD | tar -t; git archive --format=tar.gz HEAD | gzip -d | sha256sum; git archive HEAD --prefix=x/ -o ../x.zip; sha256sum <../x.zip',
    "blame and log": 'git blame -s log; git log --stat -p --format=%H; git shortlog -sn HEAD; git log --graph --oneline --all | cat',
    "grep and diff": "git grep -n 5 HEAD; git diff HEAD~4 --stat; git diff --word-diff HEAD~2 | cat; git diff --check",
    "pager": "GIT_PAGER='sed s/^/paged:/' git -p log --oneline; GIT_PAGER='head -2' git -p log",
    "alias and external": "git -c alias.hi='!echo hi $# ; pwd' hi a b; git -c alias.l='log --oneline' l",
    "filter": "git config filter.up.clean 'tr a-z A-Z'; git config filter.up.smudge 'tr A-Z a-z'; echo '*.up filter=up' >.gitattributes; echo text >a.up; git add .; git show :a.up; rm a.up; git checkout a.up; cat a.up",
    "textconv": "git config diff.rev.textconv tac; echo 'log diff=rev' >.gitattributes; git diff HEAD~2 -- log",
    "filter-branch": "FILTER_BRANCH_SQUELCH_WARNING=1 git filter-branch -f --msg-filter 'sed s/commit/changed/' -- main | tr '\\r' '\\n' | tail -1; show .",
    "credential helper": "printf 'protocol=http\\nhost=x\\n\\n' | git -c credential.helper='!f() { echo username=me; echo password=pw; }; f' credential fill",
    "cat-file --batch": "git rev-list --all --objects | git cat-file --batch-check | sort; git rev-list --all | git cat-file --batch | sha256sum",
    "update-ref --stdin": "printf 'create refs/heads/n HEAD\\ndelete refs/heads/side\\n' | git update-ref --stdin; git for-each-ref",
    "hash-object, mktree": "b=$(echo x | git hash-object -w --stdin); t=$(printf '100644 blob %s\\tx\\n' $b | git mktree); echo tree $t; git commit-tree -m c $t </dev/null",
    "upload-pack by hand": "printf 0000 | git upload-pack --stateless-rpc . | sha256sum; git upload-pack --advertise-refs . | strings | head",
    "notes and describe": "git notes add -m n; git notes show; git describe; git name-rev HEAD~3; git rev-parse HEAD^{tree}",
    "sparse": "git sparse-checkout set --no-cone /log; ls; git sparse-checkout disable; ls",
    "clean and check-ignore": "echo '*.o' >.gitignore; touch a.o b.c; git clean -nd; git clean -fdx; git status --short; git check-ignore -v x.o",
    "errors": "set +e; git nosuch; echo $?; git checkout nosuch; echo $?; git log nosuch; echo $?; git -C /nonexistent log; echo $?; git push nowhere; echo $?",
}


def matrix(run, scripts):
    root = os.path.join(run.folder, "root.any")
    os.mkdir(root)
    with Server(run, SERVER, extra={**ENVIRONMENT, "GIT_PROJECT_ROOT": root}) as port:
        extra = {**ENVIRONMENT, "N": port, "ROOT": root}
        return scripted(run, {name: PREPARE + script for name, script in scripts.items()}, extra=extra,
                        tidy=lambda text: text.replace(f":{port}/", ":PORT/"))


def units(quick):
    names = list(SCRIPTS)
    size = 7
    for at in range(0, len(names), size):
        part = {name: SCRIPTS[name] for number, name in enumerate(names[at:at + size]) if not quick or number == 5}
        yield Unit(f"matrix {at // size + 1}", lambda run, part=part: matrix(run, part))
