//! Programs that run inside a peer's container, which must need nothing there.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader as _};

use super::blocking;
use crate::network::choice::{IS_STATIC, NOT_STATIC};
use crate::runtime::Finding;

/// How much of a program is read: its headers are at its beginning.
const HEAD: u64 = 1024 * 1024;

pub(super) async fn builder(path: Option<PathBuf>) -> Vec<Finding> {
    let Some(path) = path else {
        return vec![if IS_STATIC {
            Finding::ok("builder", "this program, which is linked statically")
        } else {
            Finding::warning("builder", format!("{NOT_STATIC}; without it there are no docker and kubernetes runtimes"))
        }];
    };
    blocking("builder", move || vec![travels("builder", &path)]).await
}

pub(super) async fn chaincode(path: Option<PathBuf>) -> Vec<Finding> {
    match path {
        Some(path) => blocking("chaincode", move || vec![travels("chaincode", &path)]).await,
        None => Vec::new(),
    }
}

/// Whether a program runs in a container of any base.
fn travels(what: &'static str, path: &Path) -> Finding {
    let place = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return Finding::problem(what, format!("{place}: {error}")),
    };
    if !metadata.is_file() {
        return Finding::problem(what, format!("{place}: not a file"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Finding::problem(what, format!("{place}: not executable; chmod +x {place}"));
    }
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    if let Err(error) = read {
        return Finding::problem(what, format!("{place}: {error}"));
    }
    let dynamic = "it runs on this machine, but not in a peer's container, which has other libraries";
    match linkage(&head) {
        Linkage::Static => Finding::ok(what, format!("{place}: executable, linked statically")),
        Linkage::Dynamic(loader) => Finding::problem(
            what,
            format!("{place}: linked dynamically, needs {loader}: {dynamic}; build it as `cargo xtask dist` does"),
        ),
        Linkage::OtherMachine => Finding::problem(
            what,
            format!("{place}: a program for another machine than {}; build it for this one", std::env::consts::ARCH),
        ),
        Linkage::Script => Finding::warning(what, format!("{place}: a script, whose interpreter must be in the image")),
        Linkage::Unknown => Finding::problem(what, format!("{place}: not a Linux program; build it for Linux")),
    }
}

/// What a program needs to be started.
#[derive(Debug, PartialEq, Eq)]
enum Linkage {
    Static,
    Dynamic(String),
    OtherMachine,
    Script,
    Unknown,
}

fn linkage(head: &[u8]) -> Linkage {
    if head.starts_with(b"#!") {
        return Linkage::Script;
    }
    if !head.starts_with(&elf::ELFMAG) {
        return Linkage::Unknown;
    }
    let machine = match std::env::consts::ARCH {
        "x86_64" => elf::EM_X86_64,
        "aarch64" => elf::EM_AARCH64,
        "s390x" => elf::EM_S390,
        "powerpc64" => elf::EM_PPC64,
        _ => return Linkage::Unknown,
    };
    let Ok(header) = elf::FileHeader64::<object::Endianness>::parse(head) else { return Linkage::OtherMachine };
    let Ok(endian) = header.endian() else { return Linkage::Unknown };
    if header.e_machine(endian) != machine {
        return Linkage::OtherMachine;
    }
    let Ok(segments) = header.program_headers(endian, head) else { return Linkage::Unknown };
    match segments.iter().find(|segment| segment.p_type(endian) == elf::PT_INTERP) {
        None => Linkage::Static,
        Some(segment) => {
            let loader = segment.interpreter(endian, head).ok().flatten().unwrap_or_default();
            Linkage::Dynamic(String::from_utf8_lossy(loader).into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn static_and_dynamic_programs_are_distinguished() {
        // A test is linked as its machine does it, which is dynamically.
        let own = std::env::current_exe().unwrap();
        let finding = travels("builder", &own);
        assert_eq!(finding.level, Level::Problem);
        assert!(finding.text.contains("linked dynamically, needs /lib"), "{}", finding.text);

        let mut head = std::fs::read(&own).unwrap();
        head.truncate(usize::try_from(HEAD).unwrap());
        let header = elf::FileHeader64::<object::Endianness>::parse(head.as_slice()).unwrap();
        let endian = header.endian().unwrap();
        let at = usize::try_from(header.e_phoff(endian)).unwrap();
        let size = usize::from(header.e_phentsize(endian));
        let count = usize::from(header.e_phnum(endian));
        for number in 0..count {
            let kind = at + number * size;
            if head[kind..kind + 4] == 3u32.to_le_bytes() {
                // PT_NULL in place of PT_INTERP.
                head[kind..kind + 4].copy_from_slice(&[0; 4]);
            }
        }
        assert_eq!(linkage(&head), Linkage::Static);
        head[18] ^= 0xff;
        assert_eq!(linkage(&head), Linkage::OtherMachine);
        assert_eq!(linkage(&head[..20]), Linkage::OtherMachine, "cut off");
        assert_eq!(
            (linkage(b"#!/bin/sh"), linkage(b"MZ"), linkage(b"")),
            (Linkage::Script, Linkage::Unknown, Linkage::Unknown)
        );
    }

    #[test]
    fn a_program_without_its_permission_is_reported_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let finding = travels("builder", file.path());
        assert!(finding.level == Level::Problem && finding.text.contains("not executable; chmod +x"), "{finding}");
        assert_eq!(travels("builder", Path::new("/")).level, Level::Problem);
        assert_eq!(travels("builder", Path::new("/does/not/exist")).level, Level::Problem);
    }
}
