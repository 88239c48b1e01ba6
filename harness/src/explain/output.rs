//! The error output of external builders, from a peer's log.

use super::Program;
use regex::Regex;
use std::sync::LazyLock;

/// The number of lines that are quoted.
const LINES: usize = 3;

/// How a peer logs a line that a builder's program wrote: Fabric's, and the embedded one.
static LOGGED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"\[chaincode\.externalbuilder\.(?P<builder>[^\]]+)\] waitForExit -> (?P<text>.*) command=(?P<program>\w+)",
        r"^ *[\d.]+ms (?:\S+ )?(?P<builder>\S+) (?P<program>detect|build|release|run): (?P<text>.*)",
    ]
    .iter()
    .filter_map(|expression| Regex::new(expression).ok())
    .collect()
});

/// How the embedded peer logs what happened to a program, which is not the program's output.
const STEPS: [&str; 4] = ["started with ", "succeeded after ", "failed: ", "skipped: "];

/// The last lines that runs of this program wrote to stderr, without those of runs before another
/// program's, such as `ccaas_builder detect printed: no metadata.json`. `None` if there are none.
pub(super) fn output_of(program: Program, log: &str) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut source = None;
    for line in log.lines().rev() {
        let Some(found) = LOGGED.iter().find_map(|expression| expression.captures(line)) else { continue };
        if &found["program"] != program.name() {
            break;
        }
        let text = found["text"].trim();
        if text.is_empty() || STEPS.iter().any(|step| text.starts_with(step)) {
            continue;
        }
        let builder = found["builder"].to_owned();
        if *source.get_or_insert_with(|| builder.clone()) != builder || lines.len() == LINES {
            break;
        }
        lines.push(text.to_owned());
    }
    lines.reverse();
    source.map(|builder| format!("{builder} {} printed: {}.", program.name(), lines.join(" / ").trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
        10:11:12 INFO [chaincode.externalbuilder.shell-builder] waitForExit -> an earlier package command=detect\n\
        10:11:12 INFO [chaincode.externalbuilder.shell-builder] waitForExit -> it is built command=build\n\
        10:12:12 INFO [chaincode.externalbuilder.shell-builder] waitForExit -> /opt/b/bin/detect: 2: set: Illegal option -o pipefail command=detect\n\
        10:12:12 DEBU [grpc] InfoDepth -> [core] Channel created\n";

    #[test]
    fn the_last_output_of_a_program_is_quoted() {
        let expected = "shell-builder detect printed: /opt/b/bin/detect: 2: set: Illegal option -o pipefail.";
        assert_eq!(output_of(Program::Detect, LOG).as_deref(), Some(expected));
        // The last program that wrote something was not this one.
        assert_eq!(output_of(Program::Build, LOG), None);
        assert_eq!(output_of(Program::Detect, ""), None);
    }

    #[test]
    fn the_embedded_peer_logs_output_between_steps() {
        let log = "   10.1ms own release: started with /b /r\n   10.2ms own release: no room\n   10.3ms own release: failed: exit status 4\n";
        assert_eq!(output_of(Program::Release, log).as_deref(), Some("own release printed: no room."));
    }
}
