//! Texts with variables, for a server's command line and environment.

use super::{ID, VARIABLES};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::str::FromStr;

/// A text in which `${NAME}` stands for one of [`VARIABLES`], and `$$` for a dollar.
///
/// ```
/// # use fabric_harness::server::Template;
/// let template: Template = "--address=${CHAINCODE_SERVER_ADDRESS} $$1".parse().unwrap();
/// let values = [("CHAINCODE_SERVER_ADDRESS".to_owned(), "127.0.0.1:9999".to_owned())];
/// assert_eq!(template.fill(&values.into()), "--address=127.0.0.1:9999 $1");
/// assert!("${HOME}".parse::<Template>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(&'static str),
}

impl Template {
    /// A text without variables.
    pub fn text(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// Replaces the variables. A variable without a value, such as a certificate without TLS, is empty.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => values.get(*name).cloned().unwrap_or_default(),
        };
        self.0.iter().map(part).collect()
    }

    /// The text, if it has no variables.
    pub(crate) fn plain(&self) -> Option<String> {
        let is_text = |part: &Part| matches!(part, Part::Text(_));
        self.0.iter().all(is_text).then(|| self.fill(&BTreeMap::new()))
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("contains a NUL character".to_owned());
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            parts.push(Part::Text(before.to_owned()));
            rest = if let Some(after) = after.strip_prefix('$') {
                parts.push(Part::Text("$".to_owned()));
                after
            } else {
                let name = after.strip_prefix('{').and_then(|after| after.split_once('}'));
                let (name, after) = name.ok_or_else(|| {
                    format!("invalid `$` in {text:?}; write `$$` for a dollar sign, or a variable such as ${{{ID}}}")
                })?;
                let known = VARIABLES.iter().find(|known| **known == name);
                parts.push(Part::Variable(known.ok_or_else(|| {
                    format!("unknown variable ${{{name}}}; the variables are {}", VARIABLES.join(", "))
                })?));
                after
            };
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::PORT;
    use super::*;

    #[test]
    fn variables_and_dollar_signs_are_parsed() {
        let values = BTreeMap::from([(PORT.to_owned(), "9".to_owned())]);
        for (text, expected) in [
            ("", Ok("")),
            ("${CHAINCODE_SERVER_PORT}", Ok("9")),
            ("a$$b${CHAINCODE_SERVER_PORT}c$${X}", Ok("a$b9c${X}")),
            ("[${CHAINCODE_TLS_CERT}]", Ok("[]")),
            ("${HOME}", Err("unknown variable ${HOME}; the variables are CHAINCODE_ID, ")),
            ("$HOME", Err("invalid `$`")),
            ("${CHAINCODE_ID", Err("invalid `$`")),
            ("$", Err("write `$$` for a dollar sign")),
            ("a\0", Err("a NUL character")),
        ] {
            match (text.parse::<Template>(), expected) {
                (Ok(template), Ok(expected)) => assert_eq!(template.fill(&values), expected, "{text}"),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
