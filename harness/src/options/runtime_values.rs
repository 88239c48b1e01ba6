//! The values of `--runtime`, from the registry of runtimes.

use crate::runtime::registry::{RUNTIMES, RuntimeChoice, automatic, listed};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use std::sync::LazyLock;

impl ValueEnum for RuntimeChoice {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<RuntimeChoice>> = LazyLock::new(|| {
            let named = RUNTIMES.iter().copied().map(RuntimeChoice::Named);
            std::iter::once(RuntimeChoice::Auto).chain(named).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Auto => PossibleValue::new(Self::AUTO).help(help_of_auto()),
            Self::Named(runtime) => PossibleValue::new(runtime.name).help(runtime.summary),
        })
    }
}

fn help_of_auto() -> String {
    let all = listed(automatic().map(|runtime| runtime.name));
    let programs = listed(automatic().filter(|it| it.capabilities.takes_programs).map(|runtime| runtime.name));
    format!(
        "The first possible one of {all}, or {programs} when --fabric-bin is given; prints which, and why not the others"
    )
}
