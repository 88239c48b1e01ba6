//! Checks docs/builder.md and README.md: they list every variable, field and exit code, and the
//! configuration example is valid.

use std::path::Path;

use ccaas_builder::Exit;
use ccaas_builder::config::{self, Config};
use ccaas_builder::connection::Field;
use ccaas_builder::{TYPES_VARIABLE, report, template};

const PAGE: &str = include_str!("../../../docs/builder.md");
const README: &str = include_str!("../../README.md");

#[test]
fn every_variable_and_field_is_documented() {
    let own = [template::VARIABLE, config::VARIABLE, config::PEER_VARIABLE, TYPES_VARIABLE, report::LEVEL_VARIABLE];
    for variable in own.into_iter().chain(Field::ALL.iter().filter_map(|field| field.variable())) {
        assert!(PAGE.contains(&format!("| `{variable}` |")), "{variable} is in no table");
        for text in [PAGE, README] {
            assert!(text.contains(&format!("        - {variable}\n")), "{variable} is not propagated");
        }
    }
    for field in Field::ALL {
        assert!(PAGE.contains(&format!("`{}`", field.name())), "{field:?}");
    }
}

#[test]
fn every_exit_code_is_documented() {
    for exit in [
        Exit::Success,
        Exit::Io,
        Exit::Usage,
        Exit::UnsupportedType,
        Exit::Metadata,
        Exit::Connection,
        Exit::Unsafe,
        Exit::NothingToRun,
        Exit::Package,
    ] {
        assert!(PAGE.contains(&format!("\n| {} | ", exit.code())), "{exit:?}");
    }
}

#[test]
fn the_configuration_file_example_is_valid() {
    let example = PAGE.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    Config::parse(example, Path::new("builder.json")).unwrap();
}
