//! The committed bindings are current, and stale ones are detected.

use std::fs;
use std::path::Path;

use fabric_protos::codegen::{generate, stale};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_committed_bindings_are_current() {
    assert_eq!(stale(Path::new(ROOT)).unwrap(), Vec::<String>::new(), "run `cargo xtask codegen`, and commit");
}

#[test]
fn every_stale_file_is_reported() {
    let copy = tempfile::tempdir().unwrap();
    let [proto, bindings] = ["proto", "src/generated"].map(|path| copy.path().join(path));
    fs::create_dir_all(&proto).unwrap();
    fs::create_dir_all(&bindings).unwrap();
    let source = |fields: &str| format!("syntax = \"proto3\";\npackage first;\nmessage M {{ {fields} }}\n");
    fs::write(proto.join("first.proto"), source("bool a = 1;")).unwrap();
    fs::write(proto.join("second.proto"), "syntax = \"proto3\";\npackage second;\nmessage N {}\n").unwrap();
    for (name, text) in generate(copy.path()).unwrap() {
        fs::write(bindings.join(name), text).unwrap();
    }
    assert_eq!(stale(copy.path()).unwrap(), Vec::<String>::new());

    fs::write(proto.join("first.proto"), source("bool a = 2;")).unwrap();
    fs::remove_file(bindings.join("second.rs")).unwrap();
    fs::write(bindings.join("third.rs"), "").unwrap();
    assert_eq!(stale(copy.path()).unwrap(), ["first.rs", "second.rs", "third.rs"]);
}

#[test]
fn a_mistake_in_a_proto_file_is_reported_with_its_cause() {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("proto")).unwrap();
    fs::write(copy.path().join("proto/wrong.proto"), "syntax = \"proto3\";\nmessage M { Missing m = 1; }\n").unwrap();
    let error = generate(copy.path()).unwrap_err();
    let cause = std::error::Error::source(&error).expect("the compiler's own message").to_string();
    assert!(cause.contains("Missing"), "{cause}");
}
