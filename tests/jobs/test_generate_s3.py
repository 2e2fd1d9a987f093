"""generate from S3 to S3: the captions of disk to disk, also when the server fails, and nothing is quarantined then."""

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections import Counter

import pytest

from captioners.cli.main import run
from captioners.core.run_dir import RunDir
from tests import s3 as servers
from tests.images.pictures import png_claiming
from tests.jobs.kills import MEMBERS, ROOT
from tests.jobs.shards import content, orphans, picture, sums, write_shards
from tests.s3 import Cut, Lose, Refuse

SHARDS, SAMPLES = 4, 4


def arguments(shards, output):
    return [
        "generate", "generate/shards", f"source={{kind: webdataset, inputs: ['{shards}']}}", f"members={MEMBERS}",
        "unit_samples=2", "decode_workers=0", "quarantine_ceiling=1.0", "-o", str(output),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Shards, and a run over them that nobody disturbed, both on disk."""
    folder = tmp_path_factory.mktemp("local")
    write_shards(folder / "shards", shards=SHARDS, samples=SAMPLES)
    assert run(arguments(folder / "shards", folder / "run")) == 0
    return folder


@pytest.fixture
def generate(local, s3, capfd):
    """Run the command over the shards' copy in S3, into S3; returns its exit code and what it said on stderr."""
    s3.upload(local / "shards", "in")

    def call():
        capfd.readouterr()
        code = run(arguments(f"{s3.url}/in", f"{s3.url}/out"))
        said = capfd.readouterr().err
        return code, "".join(line for line in said.splitlines(keepends=True) if line.startswith("captioners: "))

    return call


def is_whole(local, s3):
    """Check the run in S3 against the one on disk: units, digests, bytes, sums, and nothing quarantined."""
    assert content(f"{s3.url}/out") == content(local / "run")
    assert sums(f"{s3.url}/out") == sums(local / "run")
    assert RunDir(f"{s3.url}/out").captions().equals(RunDir(local / "run").captions())
    return RunDir(f"{s3.url}/out").quarantine() == [] == s3.keys("out/quarantine")


def test_s3_to_s3_gives_the_bytes_of_disk_to_disk_and_every_verb_reads_it(generate, local, s3, capfd, run_dir):
    assert generate() == (0, "")
    assert is_whole(local, s3) and orphans(f"{s3.url}/out") == []
    entries = {key: s3.get(key) for key in s3.keys("out/ledger")}
    puts = [asked for asked in s3.proxy.asked("PUT", "/out/ledger") if asked.headers.get("If-None-Match") == "*"]
    assert len(puts) == len(entries) == len(s3.proxy.asked("PUT", "/out/ledger"))
    s3.proxy.log.clear()
    assert generate() == (0, ""), "nothing is left to do"
    assert not s3.proxy.asked("GET", "/in/0") and {key: s3.get(key) for key in s3.keys("out/ledger")} == entries
    out = f"{s3.url}/out"
    for verb in (["status", out], ["verify", out, "--again", "4"], ["show", out, "000007"], ["report", out]):
        capfd.readouterr()
        code = run([*verb])
        said = capfd.readouterr()
        assert code == 0, (verb, said)
        assert servers.SECRET not in said.out + said.err and servers.KEY not in said.out + said.err


FAILURES = {
    "refused": Refuse(403, "AccessDenied"),
    "gone": Refuse(404, "NoSuchKey"),
    "throttled": Refuse(503, "SlowDown"),
    "broken": Refuse(500, "InternalError"),
    "cut": Cut(100),
    "dropped": Lose(),
}


@pytest.mark.parametrize(
    ("name", "where"),
    [("refused", "shards"), ("throttled", "shards"), ("cut", "shards"), ("broken", "run"), ("dropped", "run")],
)
def test_a_server_that_fails_leaves_units_open_and_quarantines_nothing(generate, local, s3, name, where):
    """It fails for good from the second shard on; once it works again, the same command gives the same rows."""
    passed = [0]

    def rule(asked):
        if where == "shards":
            return FAILURES[name] if asked.method == "GET" and asked.object.endswith(("2.tar", "3.tar")) else None
        passed[0] += asked.method == "PUT" and "/out/l" in asked.path
        return FAILURES[name] if passed[0] > 7 else None

    s3.proxy.rule = rule
    code, said = generate()
    assert code == 75 and said.count("\n") == 1 and "run the same command again" in said, said
    assert said.startswith(f"captioners: s3://{s3.bucket}/{'in' if where == 'shards' else 'out'}/")
    s3.proxy.rule = lambda asked: None
    done = content(f"{s3.url}/out")
    assert len(done) < len(content(local / "run")) and done.items() <= content(local / "run").items()
    assert s3.keys("out/quarantine") == [] and RunDir(f"{s3.url}/out").quarantine() == []
    assert generate() == (0, "")
    assert is_whole(local, s3)


def test_a_server_that_stumbles_now_and_then_stops_nothing(generate, local, s3):
    turns, stumbled = iter(range(10**9)), {""}

    def rule(asked):
        """One request of nine fails, in all ways by turns, but never the same one twice in a row."""
        turn = next(turns)
        found = [*FAILURES.values()][turn // 9 % 6]
        if turn % 9 != 8 or "404" in str(found) or asked.path in stumbled:
            stumbled.discard(asked.path)
            return None
        stumbled.add(asked.path)
        return found

    s3.proxy.rule = rule
    assert generate() == (0, "")
    assert sum(done is not None for _, done in s3.proxy.log) > 10
    assert is_whole(local, s3)


def test_credentials_that_expire_on_the_way_stop_it_and_new_ones_go_on(generate, local, s3):
    reads = [0]

    def rule(asked):
        reads[0] += asked.object.endswith(".tar")
        return Refuse(400, "ExpiredToken") if reads[0] > 5 and asked.key != servers.NEW_KEY else None

    s3.proxy.rule = rule
    code, said = generate()
    assert code == 75 and "renew the credentials" in said and said.count("\n") == 1, said
    assert not any(secret in said for secret in (servers.KEY, servers.SECRET))
    assert s3.keys("out/quarantine") == []
    servers.credentials(os.environ["AWS_SHARED_CREDENTIALS_FILE"], servers.NEW_KEY, servers.NEW_SECRET)
    assert generate() == (0, "")
    assert is_whole(local, s3)


def test_credentials_renewed_in_time_stop_nothing(generate, local, s3):
    reads = [0]

    def rule(asked):
        reads[0] += asked.object.endswith(".tar")
        if reads[0] == 6:
            servers.credentials(os.environ["AWS_SHARED_CREDENTIALS_FILE"], servers.NEW_KEY, servers.NEW_SECRET)
        return Refuse(400, "ExpiredToken") if reads[0] > 5 and asked.key != servers.NEW_KEY else None

    s3.proxy.rule = rule
    assert generate() == (0, "")
    assert is_whole(local, s3)


# ----------------------------------------------------------------------------------------------------------- bad data


def bad_shards(folder):
    """The bad inputs of the other tests, as shards: each kind of fault of a shard, and of a sample."""
    folder.mkdir()
    bomb, link = png_claiming(60_000, 60_000), tarfile.TarInfo("link.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    good = [(f"{number:03d}.png", picture(number)) for number in range(4)]
    samples = [
        *(good[0], ("../up.png", picture(5)), ("/etc/up.png", picture(6)), link, ("bomb.png", bomb)),
        *(("zero.png", b""), ("text.png", b"<html>404</html>"), ("half.png", picture(7)[:99]), ("v1.0.png", b"x")),
        *(("twice.png", picture(8)), ("twice.png", picture(9)), ("none.txt", b"no image"), good[1]),
        *(
            ("bytes.png", picture(10)),
            ("bytes.txt", b"caf\xe9"),
            ("deep.png", picture(11)),
            ("deep.json", b"[" * 99_999),
        ),
    ]
    whole = tar_of(samples)
    files = {
        "0-mixed": whole,
        "1-cut": tar_of(good)[:3000],
        "2-garbage": b"not a tar at all" * 99,
        "3-gzip": b"\x1f\x8b" * 99,
        "4-empty": b"",
        "5-nothing": bytes(10240),
        "6-flipped": whole[:1024] + b"?" * 76 + whole[1100:],
        "7-good": tar_of(good),
    }
    for name, data in files.items():
        (folder / f"{name}.tar").write_bytes(data)


def tar_of(entries):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                tar.addfile(info, io.BytesIO(entry[1]))
    return file.getvalue()


def test_the_whole_list_of_bad_inputs_gives_the_same_from_s3(s3, tmp_path):
    bad_shards(tmp_path / "shards")
    s3.upload(tmp_path / "shards", "in")
    times = Counter()

    def rule(asked):
        """Every shard, entry and lease is cut when it is asked for the first time."""
        times[asked.object] += 1
        return Cut(50) if ".tar" in asked.object and times[asked.object] == 1 else None

    s3.proxy.rule = rule
    codes = {
        run(arguments(tmp_path / "shards", tmp_path / "run")),
        run(arguments(f"{s3.url}/in", f"{s3.url}/out")),
    }
    assert len(codes) == 1 and codes <= {0, 2}
    here, there = RunDir(tmp_path / "run"), RunDir(f"{s3.url}/out")
    assert there.quarantine() == here.quarantine() and content(f"{s3.url}/out") == content(tmp_path / "run")
    reasons = {record["reason"] for record in there.quarantine()}
    assert reasons >= {"cut_tar", "not_a_tar", "empty", "unsafe_name", "too_large", "not_an_image", "truncated"}
    assert reasons >= {"dotted_key", "duplicate_key", "no_image", "not_utf8", "not_json"}
    assert run(["verify", f"{s3.url}/out"]) == 0


# -------------------------------------------------------------------------------------------------------------- kills


@pytest.mark.slow
@pytest.mark.parametrize("what", ["/out/layers/sampled/", "/out/ledger/beams/", "after_data:3"])
def test_a_kill_during_an_upload_loses_nothing_and_doubles_nothing(generate, local, s3, what):
    """The server kills the worker while it receives an object: what it has received then stands, or it does not."""
    seen = [0]

    def rule(asked):
        seen[0] += asked.method == "PUT" and what in asked.path and not asked.path.endswith("layer.json")
        if seen[0] == 4 and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            return Lose() if "ledger" in what else Refuse(500, "InternalError")
        return None

    fault = what if ":" in what else ""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CAPTIONERS_FAULT": fault}
    command = [sys.executable, "-m", "captioners", *arguments(f"{s3.url}/in", f"{s3.url}/out")]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    s3.proxy.rule = rule
    assert process.wait(300) == -signal.SIGKILL
    s3.proxy.rule = lambda asked: None
    done = content(f"{s3.url}/out")
    assert 0 < len(done) < len(content(local / "run"))
    assert generate() == (0, "")
    assert is_whole(local, s3)
    assert run(["verify", f"{s3.url}/out"]) == 0
