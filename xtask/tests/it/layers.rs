//! The modules of each crate form layers: no top-level module uses another one that uses it in turn.

use std::path::{Path, PathBuf};

use crate::modules::Modules;

/// The name and the directory of each crate of the workspace.
fn crates() -> Vec<(String, PathBuf)> {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = read(&workspace.join("Cargo.toml"));
    let members = manifest["workspace"]["members"].as_array().unwrap().iter();
    let directories = members.map(|member| workspace.join(member.as_str().unwrap()));
    let name = |directory: &Path| read(&directory.join("Cargo.toml"))["package"]["name"].as_str().unwrap().to_owned();
    directories.map(|directory| (name(&directory), directory)).collect()
}

#[test]
fn no_crate_has_modules_that_use_each_other_in_a_cycle() {
    let mut wrong = Vec::new();
    for (name, directory) in crates() {
        let roots = ["src/lib.rs", "src/main.rs"].map(|root| directory.join(root));
        let mut problems = Vec::new();
        for root in roots.iter().filter(|root| root.exists()) {
            let modules = Modules::read(root);
            let in_cycles: usize = modules.cycles().iter().map(Vec::len).sum();
            println!("{name}: {in_cycles} of {} modules are in cycles", modules.count());
            problems.extend(modules.problems().into_iter().map(|problem| format!("{name}: {problem}")));
        }
        wrong.extend(problems);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The problems of a crate of these files.
fn problems_of(files: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let prefix = format!("{}/", directory.path().display());
    let problems = Modules::read(&directory.path().join("lib.rs")).problems();
    problems.into_iter().map(|problem| problem.replace(&prefix, "")).collect()
}

#[test]
fn a_cycle_is_reported_with_its_files_and_names() {
    let lib = ("lib.rs", "pub mod a;\npub(crate) mod b;\nmod c;\npub use c::{C, D as E};\npub struct Root;\n");
    let clean = ("b.rs", "use crate::c::C;\n#[cfg(test)]\nmod tests { use crate::a::A; }\n");
    let c = ("c.rs", "/// See [`crate::a::A`].\npub struct C;\n#[cfg(test)]\nuse super::a::{A, B};\npub struct D;\n");
    let a = ("a/mod.rs", "mod inner;\nuse super::{b, c::C};\npub(super) struct A;\n");
    let inner = ("a/inner.rs", "use super::super::b::B;\nuse super::A;\nuse std::collections::BTreeMap;\n");
    assert_eq!(problems_of(&[lib, clean, c, a, inner]), Vec::<String>::new());

    // Each of these makes `c` use `a`, which uses `b`, which uses `c`.
    for (line, name) in [
        ("use crate::a::A;", "a::A"),
        ("use crate::{a::{self, A}};", "a::{self, A}"),
        ("use super::a;", "a"),
        ("fn f() { println!(\"{}\", crate::a::A.text()); }", "a::A"),
        ("mod deep { use super::super::a::A; }", "a::A"),
        ("#[serde(with = \"crate::a\")]\nstruct S;", "a"),
        ("#[cfg(test)]\nuse super::b::{A, B};\nuse super::a::A;", "a::A"),
        ("#[cfg(not(test))]\nuse super::a::A;", "a::A"),
    ] {
        let b = ("b.rs", "use crate::c::C;\n");
        let problems = problems_of(&[lib, b, ("c.rs", line), ("a/mod.rs", "use crate::b;")]);
        let at = line.lines().position(|line| line.contains("::a") || line.contains("{a::")).unwrap() + 1;
        let expected = format!(
            "3 modules use each other in a cycle: a, b, c\n  a -> b: b at a/mod.rs:1\n  \
             b -> c: c::C at b.rs:1\n  c -> a: {name} at c.rs:{at}"
        );
        assert_eq!(problems, [expected], "{line}");
    }
}

#[test]
fn a_name_that_the_root_exports_belongs_to_its_module() {
    let lib =
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::{B, Other as C};\npub struct Root;\nfn f() { b::x() }\n");
    assert_eq!(problems_of(&[lib, ("a.rs", "use crate::B;"), ("b.rs", "")]), Vec::<String>::new());
    let problems = problems_of(&[lib, ("a.rs", "use crate::{C, B};"), ("b.rs", "use crate::A;")]);
    let expected = "2 modules use each other in a cycle: a, b\n  a -> b: C at a.rs:1\n  b -> a: A at b.rs:1";
    assert_eq!(problems, [expected]);
    let problems = problems_of(&[lib, ("a.rs", ""), ("b.rs", "use crate::Root;")]);
    let expected = "2 modules use each other in a cycle: b, lib.rs\n  b -> lib.rs: Root at b.rs:1\n  lib.rs -> b: b::x at lib.rs:6";
    assert_eq!(problems, [expected]);
}

#[test]
fn a_module_uses_none_of_a_later_group() {
    let lib = ("lib.rs", "//! Layers.\n\npub mod low;\n\n#[cfg(feature = \"high\")]\npub mod high;\nmod other;\n");
    let fine = [lib, ("low.rs", ""), ("high.rs", "use crate::low::L;"), ("other.rs", "use crate::high::H;")];
    assert_eq!(problems_of(&fine), Vec::<String>::new());
    let wrong = [lib, ("low.rs", "\nuse crate::high::H;"), ("high.rs", ""), ("other.rs", "")];
    let expected = "low uses high, which the root file lists in a later group: high::H at low.rs:2";
    assert_eq!(problems_of(&wrong), [expected]);
}
