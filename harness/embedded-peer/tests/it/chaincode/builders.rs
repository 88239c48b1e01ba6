//! Tests of external builders: their environment, and the peer's reaction to their results, as
//! recorded from real peers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use embedded_peer::chaincode::{ExternalBuilder, InstallError};
use embedded_peer::trace::{BuilderStep, EventKind};
use tar::{EntryType, Header};

use super::peer::{DETECT, Peer, append, compressed, eventually, package, package_of, program};

const CONNECTION: &str = r#"{"address":"127.0.0.1:1"}"#;

/// A peer with a builder in which these programs are replaced; an empty text removes one.
fn peer_with(programs: &[(&str, &str)]) -> Peer {
    Peer::with(|builder, _| change(builder, programs))
}

fn change(builder: &Path, programs: &[(&str, &str)]) {
    for (name, script) in programs {
        if script.is_empty() {
            fs::remove_file(builder.join("bin").join(name)).unwrap();
        } else {
            program(builder, name, script);
        }
    }
}

/// The programs that ran, in order.
fn ran(events: &mut embedded_peer::trace::Subscription) -> Vec<&'static str> {
    let started = events.drain().into_iter().filter_map(|event| match event.kind {
        EventKind::BuilderStep { command, step: BuilderStep::Started(_), .. } => Some(command),
        _ => None,
    });
    started.collect()
}

#[tokio::test]
async fn program_failures_have_fabric_texts() {
    const DISABLED: &str = "could not build chaincode: docker build failed: docker build is disabled";
    for (programs, words, expected) in [
        (&[("detect", "echo det err >&2; exit 1")][..], DISABLED, &["detect"][..]),
        (&[("detect", "")], DISABLED, &["detect"]),
        (
            &[("build", "echo build err line 1 >&2; exit 3")],
            "could not build chaincode: external builder failed: external builder failed to build: external builder 'test' failed: exit status 3",
            &["detect", "build"],
        ),
        (
            &[("build", "kill -9 $$")],
            "could not build chaincode: external builder failed: external builder failed to build: external builder 'test' failed: signal: killed",
            &["detect", "build"],
        ),
        (
            &[("build", "")],
            "could not build chaincode: external builder failed: external builder failed to build: external builder 'test' failed: fork/exec BUILDER/bin/build: no such file or directory",
            &["detect", "build"],
        ),
        (
            &[("release", "exit 4")],
            "could not build chaincode: external builder failed: external builder failed to release: builder 'test' release failed: exit status 4",
            &["detect", "build", "release"],
        ),
    ] {
        let peer = peer_with(programs);
        let mut events = peer.tracer.subscribe();
        let error = peer.install(&package("f1", &[("connection.json", CONNECTION)])).await.unwrap_err();
        let error = error.to_string().replace(&peer.path("builder").display().to_string(), "BUILDER");
        assert_eq!(error, words, "{programs:?}");
        assert_eq!(ran(&mut events), expected, "{programs:?}");
        assert_eq!(peer.support.packages().list(), [], "{programs:?}");
        assert_eq!(peer.files("data/lifecycle/chaincodes"), [""; 0], "{programs:?}");
        assert_eq!(peer.files("data/externalbuilder/builds"), [""; 0], "{programs:?}");
        assert_eq!(peer.files("tmp"), [""; 0], "{programs:?}");
    }
}

#[tokio::test]
async fn the_release_program_is_optional() {
    let removed = peer_with(&[("release", "")]);
    let not_executable = Peer::with(|builder, _| {
        let path = builder.join("bin/release");
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    });
    for peer in [removed, not_executable] {
        let mut events = peer.tracer.subscribe();
        let id = peer.install(&package("f1", &[("connection.json", CONNECTION)])).await.unwrap();
        assert_eq!(ran(&mut events), ["detect", "build"]);
        assert_eq!(peer.files(&Peer::build_directory(&id)), ["bld", "build-info.json", "release"]);
        assert_eq!(peer.files("tmp"), [""; 0]);
        let listed = peer.support.packages().list();
        assert_eq!(listed.iter().map(|installed| installed.package_id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    }
}

#[tokio::test]
async fn the_next_builder_is_tried_when_detect_fails() {
    let peer = Peer::with(|builder, config| {
        let first = builder.with_file_name("first");
        program(&first, "detect", "exit 1");
        let first = ExternalBuilder { name: "first".to_owned(), path: first, propagate_environment: Vec::new() };
        config.external_builders.insert(0, first);
    });
    let id = peer.install(&package("f1", &[("connection.json", CONNECTION)])).await.unwrap();
    let info = fs::read_to_string(peer.path(&Peer::build_directory(&id)).join("build-info.json")).unwrap();
    assert_eq!(info, r#"{"builder_name":"test"}"#);
}

/// Prints everything that a program can observe of its environment.
const INQUIRE: &str = r#"
out=$(readlink /proc/$$/fd/1)
{ echo "program $(basename "$0")"
  for a in "$@"; do echo "argument $(basename "$(dirname "$a")" | cut -c1-30) $(basename "$a") $(stat -c %a "$a")"; done
  echo "cwd $PWD"; echo "stdin $(readlink /proc/self/fd/0)"; echo "stdout $out"
  env | grep -v -e '^PWD=' -e '^SHLVL=' -e '^_=' -e '^OLDPWD=' | cut -d= -f1 | sort | sed 's/^/variable /'
} >> SEEN
stat -c 'file %n %a' "$1"/* "$2"/* 2>/dev/null | sed "s#$(dirname "$1")##" >> SEEN
"#;

#[tokio::test]
async fn programs_have_fabric_environment() {
    let peer = Peer::with(|builder, config| {
        let seen = builder.with_file_name("seen").display().to_string();
        for (name, script) in [("detect", DETECT), ("build", "touch \"$3/made\""), ("release", "touch \"$2/released\"")]
        {
            program(builder, name, &format!("{}{script}", INQUIRE.replace("SEEN", &seen)));
        }
        config.environment.insert("CORE_PEER_ID".to_owned(), "peer0".to_owned());
        config.environment.insert("HIDDEN".to_owned(), "x".to_owned());
        config.external_builders[0].propagate_environment =
            vec!["CORE_PEER_ID".to_owned(), "NOT_SET".to_owned(), "CORE_PEER_NOT_SET".to_owned()];
    });
    let id = peer.install(&package("label", &[("dir/code", "c"), ("connection.json", CONNECTION)])).await.unwrap();
    let seen = fs::read_to_string(peer.path("seen")).unwrap();
    let seen =
        seen.replace(peer.path("").display().to_string().trim_end_matches('/'), "PEER").replace(&id[6..], "HASH");
    let lines: Vec<&str> = seen.lines().collect();
    let of = |start: &str| lines.iter().filter(|line| line.starts_with(start)).copied().collect::<Vec<_>>();

    assert_eq!(of("program"), ["program detect", "program build", "program release"]);
    let directory = format!("fabric-label-{}", &id[6..23]);
    let arguments: Vec<String> =
        ["src 700", "metadata 700", "src 700", "metadata 700", "bld 700", "bld 700", "release 700"]
            .iter()
            .map(|argument| format!("argument {directory} {argument}"))
            .collect();
    assert_eq!(of("argument"), arguments);
    assert_eq!(of("cwd"), ["cwd PEER"; 3]);
    assert_eq!(of("stdin"), ["stdin /dev/null"; 3]);
    assert_eq!(of("stdout"), ["stdout /dev/null"; 3]);
    let mut expected = vec!["variable CORE_PEER_ID"];
    expected.extend(std::env::var_os("LD_LIBRARY_PATH").map(|_| "variable LD_LIBRARY_PATH"));
    expected.extend(std::env::var_os("LIBPATH").map(|_| "variable LIBPATH"));
    expected.extend(["variable PATH", "variable TMPDIR"]);
    assert_eq!(of("variable"), expected.repeat(3));
    for file in
        ["file /src/connection.json 640", "file /src/dir 700", "file /metadata/metadata.json 700", "file /bld/made 644"]
    {
        assert!(lines.contains(&file), "{file} is not in {seen}");
    }
    assert_eq!(peer.files("tmp"), [""; 0]);
    let kept = Peer::build_directory(&id);
    assert_eq!(peer.files(&format!("{kept}/bld")), ["made"]);
    assert_eq!(peer.files(&format!("{kept}/release")), ["released"]);
}

#[tokio::test]
async fn lines_of_standard_error_are_logged() {
    let peer = peer_with(&[("build", r"printf 'one\r\ntwo\n\nlast' >&2; echo lost")]);
    let mut events = peer.tracer.subscribe();
    peer.install(&package("f1", &[("connection.json", CONNECTION)])).await.unwrap_err();
    let lines: Vec<String> = events
        .drain()
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::BuilderStep { command: "build", step: BuilderStep::Line(line), .. } => Some(line),
            _ => None,
        })
        .collect();
    assert_eq!(lines, ["one", "two", "", "last"]);
}

/// A build program that writes one line of this length to standard error.
fn one_line(length: usize) -> String {
    format!("head -c {length} /dev/zero | tr '\\0' x >&2; echo >&2; cp -r \"$1/.\" \"$3\"")
}

#[tokio::test]
async fn an_overlong_line_stops_the_log_but_not_the_program() {
    for (length, is_logged) in [(65_535, true), (65_536, false), (70_000, false)] {
        let peer = peer_with(&[("build", &one_line(length))]);
        let mut events = peer.tracer.subscribe();
        peer.install(&package("f1", &[("connection.json", CONNECTION)])).await.unwrap();
        let too_long = "command output scanning failed: bufio.Scanner: token too long";
        let is_stopped = events.drain().into_iter().any(|event| event.kind.to_string().ends_with(too_long));
        assert_eq!(is_stopped, !is_logged, "{length}");
    }
}

/// A peer with a short installation timeout.
fn with_short_timeout(build: &str) -> Peer {
    Peer::with(|builder, config| {
        program(builder, "build", build);
        config.install_timeout = Duration::from_millis(700);
        config.execute_timeout = Duration::from_millis(100);
    })
}

#[tokio::test]
async fn builders_time_out() {
    for build in [
        one_line(300_000).as_str(),
        "sleep 30",
        // A child in the background keeps standard error open.
        "sleep 30 & exit 0",
    ] {
        let peer = with_short_timeout(build);
        let began = Instant::now();
        let error = peer.install(&package("f1", &[("connection.json", CONNECTION)])).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(error.to_string(), "timeout expired while executing transaction");
        assert!(began.elapsed() < Duration::from_secs(10), "{build}");
        assert_eq!(peer.support.packages().list(), []);
        assert_eq!(peer.files("data/lifecycle/chaincodes").len(), 1);
        assert_eq!(peer.files("tmp").len(), 1);
        assert_eq!(peer.files("data/externalbuilder/builds"), [""; 0]);
    }
}

#[tokio::test]
async fn a_build_continues_after_the_timeout() {
    let peer = with_short_timeout("sleep 1.5; cp -r \"$1/.\" \"$3\"");
    let package = package("f1", &[("connection.json", CONNECTION)]);
    assert!(peer.install(&package).await.unwrap_err().is_timeout());
    eventually("it is installed", || peer.support.packages().list().len() == 1).await;
    assert!(matches!(peer.install(&package).await, Err(InstallError::AlreadyInstalled(_))));
}

#[tokio::test]
async fn a_stopped_peer_kills_its_builders() {
    let peer = with_short_timeout("echo $$ > \"$TMPDIR/pid\"; exec sleep 300");
    assert!(peer.install(&package("f1", &[("connection.json", CONNECTION)])).await.unwrap_err().is_timeout());
    let pid = fs::read_to_string(peer.path("tmp/pid")).unwrap();
    let process = Path::new("/proc").join(pid.trim());
    assert!(process.exists());
    peer.support.stop();
    // Killed, and reaped by us.
    eventually("the builder is gone", || {
        fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
}

#[tokio::test]
async fn a_failed_copy_leaves_an_incomplete_build() {
    for (build, words) in [
        ("ln -s /etc/passwd \"$3/l\"", "refusing to copy absolute symlink SCRATCH/bld/l -> /etc/passwd"),
        (
            "mkdir \"$3/d\"; ln -s ../../x \"$3/d/l\"",
            "refusing to copy symlink SCRATCH/bld/d/l -> ../../x pointing outside of source root",
        ),
        ("umask 022; mkfifo \"$3/p\"", "refusing to copy unsupported file SCRATCH/bld/p with mode 200000644"),
    ] {
        let script = format!("{build}; cp \"$1/connection.json\" \"$3/\"");
        let peer = peer_with(&[("build", &script)]);
        let mut events = peer.tracer.subscribe();
        let package = package("f1", &[("connection.json", CONNECTION)]);
        let error = peer.install(&package).await.unwrap_err().to_string();
        let (start, end) = error.split_once(": failed to copy ").unwrap();
        assert!(
            start.starts_with("could not build chaincode: external builder failed: could not move or copy build context bld to persistent location '"),
            "{error}"
        );
        let (scratch, reason) = end.split_once("/bld to ").unwrap();
        let reason = reason.split_once(": ").unwrap().1.replace(scratch, "SCRATCH");
        assert_eq!(reason, words);
        assert_eq!(ran(&mut events), ["detect", "build", "release"]);
        assert_eq!(peer.files("data/lifecycle/chaincodes"), [""; 0]);
        assert_eq!(peer.files("tmp"), [""; 0]);

        let id = peer.install(&package).await.unwrap();
        assert_eq!(ran(&mut events), [""; 0], "the second time it runs nothing");
        assert_eq!(peer.files(&Peer::build_directory(&id)), ["build-info.json", "release"]);
    }
}

#[tokio::test]
async fn modes_and_inner_links_are_kept() {
    let peer = peer_with(&[(
        "build",
        "cp -r \"$1/.\" \"$3\"; echo > \"$3/w\"; chmod 4777 \"$3/w\"; ln -s w \"$3/rel\"; mkdir \"$3/d\"; chmod 755 \"$3/d\"",
    )]);
    let id = peer.install(&package("f1", &[("connection.json", CONNECTION)])).await.unwrap();
    let kept = peer.path(&Peer::build_directory(&id));
    let mode = |path: &str| fs::symlink_metadata(kept.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("bld/w"), 0o4777);
    assert_eq!(mode("bld/d"), 0o755);
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("bld"), 0o700);
    assert_eq!(mode("build-info.json"), 0o600);
    assert_eq!(fs::read_link(kept.join("bld/rel")).unwrap(), Path::new("w"));
}

#[tokio::test]
async fn a_package_is_built_once() {
    let peer = Peer::new();
    let package = package("f1", &[("connection.json", CONNECTION)]);
    let id = peer.install(&package).await.unwrap();
    let mut events = peer.tracer.subscribe();
    let error = peer.install(&package).await.unwrap_err();
    assert_eq!(error.to_string(), format!("chaincode already successfully installed (package ID '{id}')"));
    assert_eq!(ran(&mut events), [""; 0]);
    assert_eq!(peer.support.packages().get(&id).unwrap(), package);
}

#[tokio::test]
async fn a_restarted_peer_builds_only_missing_builds() {
    let peer = Peer::new();
    let id = peer.install(&package("f1", &[("connection.json", CONNECTION)])).await.unwrap();

    let peer = peer.restarted(|_| {});
    let mut events = peer.tracer.subscribe();
    peer.support.restore().await;
    assert_eq!(ran(&mut events), [""; 0]);
    assert!(peer.support.packages().is_installed(&id));

    let peer = peer.restarted(|_| {});
    fs::remove_dir_all(peer.path(&Peer::build_directory(&id))).unwrap();
    let mut events = peer.tracer.subscribe();
    peer.support.restore().await;
    assert_eq!(ran(&mut events), ["detect", "build", "release"]);

    let peer = peer.restarted(|config| "other".clone_into(&mut config.external_builders[0].name));
    peer.support.restore().await;
    assert!(!peer.support.packages().is_installed(&id));
    let error = peer.support.launch(&id).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "could not launch chaincode {id}: error building chaincode: error building image: external builder failed: existing build could not be restored: chaincode '{id}' was already built with builder 'test', but that builder is no longer available"
        )
    );
}

#[tokio::test]
async fn code_with_special_files_is_rejected() {
    let entry = |kind: EntryType, name: &str| {
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "first", b"x", 0o600);
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, std::io::empty()).unwrap();
        package_of(r#"{"type":"x","label":"f1"}"#, &compressed(&archive.into_inner().unwrap()))
    };
    for (package, words) in [
        (entry(EntryType::Symlink, "l"), "invalid file type '50' contained in archive for file 'l'"),
        (entry(EntryType::Fifo, "p"), "invalid file type '54' contained in archive for file 'p'"),
        (entry(EntryType::Regular, "../x"), "tar contains the absolute or escaping path '../x'"),
        (entry(EntryType::Regular, "a/../../x"), "tar contains the absolute or escaping path 'a/../../x'"),
        (entry(EntryType::Regular, "/x"), "tar contains the absolute or escaping path '/x'"),
    ] {
        let peer = Peer::new();
        let error = peer.install(&package).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "could not build chaincode: external builder failed: could not create build context: could not untar source package: {words}"
            )
        );
        assert_eq!(peer.files("tmp"), [""; 0]);
    }
}
