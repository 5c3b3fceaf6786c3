"""Tools that services call all day: databases in files, pictures and films, archives."""


def sqlite(case):
    case.ask("sqlite3: statements", "sqlite3 a.any 'create table t(a, b); insert into t values (1, 2), (3, 4); select sum(a) from t; pragma integrity_check; select * from nosuch'; "
             "printf '.mode json\\nselect * from t;\\n.mode csv\\nselect * from t;\\n.dump\\n' | sqlite3 a.any; seq 2000 | sed 's/.*/insert into t values (&, &);/' | sqlite3 a.any; sqlite3 a.any 'select count(*) from t'; rm a.any",
             expect="2002")
    case.ask("sqlite3: two at a time", "sqlite3 w.any 'pragma journal_mode=wal; create table t(a)'; for p in 1 2 3 4; do (for i in $(seq 25); do sqlite3 -cmd '.timeout 60000' w.any \"insert into t values ($i)\"; done) & done; "
             "wait; sqlite3 w.any 'select count(*), sum(a) from t'; rm -f w.any*", expect="100|1300")


def ffmpeg(case):
    quiet = "ffmpeg -nostdin -hide_banner -loglevel error -threads 2"
    case.ask("ffmpeg: film and sound", f"{quiet} -f lavfi -i testsrc=d=1:s=160x120:r=10 -f lavfi -i sine=d=1 -fflags +bitexact -flags +bitexact -c:v mpeg4 -c:a aac a.mkv; "
             f"ffprobe -v error -show_entries stream=codec_name,width,nb_read_packets -count_packets -of json a.mkv; {quiet} -i a.mkv -f framemd5 - | tail -5; rm a.mkv", expect="mpeg4")
    case.ask("ffmpeg: through pipes", f"{quiet} -f lavfi -i testsrc=d=1:s=64x48:r=10 -f rawvideo -pix_fmt rgb24 - | {quiet} -f rawvideo -pix_fmt rgb24 -s 64x48 -r 10 -i - -f rawvideo - | cksum")
    case.ask("ffmpeg: progress", "ffmpeg -nostdin -hide_banner -nostats -progress pipe:1 -f lavfi -i testsrc=d=1:s=64x48:r=10 -f null - 2>said.any | grep -E '^(frame|progress)'; rm said.any", expect="progress=end")
    port = case.port()
    case.ask("ffmpeg: over HTTP", f"{quiet} -f lavfi -i testsrc=d=1:s=64x48:r=10 -c:v mpeg4 b.mkv; python3 -m http.server --bind 127.0.0.1 {port} >/dev/null 2>&1 & "
             f"until curl -so /dev/null http://127.0.0.1:{port}/; do sleep 0.1; done; {quiet} -i http://127.0.0.1:{port}/b.mkv -f framemd5 - | grep -vc '^#'; kill %1; rm b.mkv", expect="10")


CASES = {"sqlite3": sqlite, "ffmpeg": ffmpeg}
