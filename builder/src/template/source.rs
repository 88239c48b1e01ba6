//! Checks a template's text where Go's lexer and the engine's differ: comments, nested `define`, and
//! unexpected `else` or `end`.

/// Checks the blocks of a text, and replaces each comment with the string `mark`, since the engine trims
/// spaces around comments differently.
///
/// # Errors
/// The first error that Go would report.
pub(super) fn prepare(text: &str, mark: &str) -> Result<String, String> {
    let mut output = String::with_capacity(text.len());
    let mut blocks = Blocks::default();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let trims = matches!(rest.as_bytes()[start + 2..], [b'-', space, ..] if is_space(space));
        let (opened, inside) = rest.split_at(start + if trims { 4 } else { 2 });
        output.push_str(opened);
        if let Some(comment) = inside.strip_prefix("/*") {
            let (_, after) = comment.split_once("*/").ok_or("unclosed comment")?;
            let closing = closing(after).ok_or("comment without closing braces after it")?;
            output.extend(["\"", mark, "\"", &after[..closing]]);
            rest = &after[closing..];
            continue;
        }
        let end = end_of_action(inside)?;
        blocks.action(&inside[..end])?;
        output.push_str(&inside[..end]);
        rest = &inside[end..];
    }
    output.push_str(rest);
    blocks.end()?;
    Ok(output)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The length of the closing braces at the start of a text.
fn closing(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [b'}', b'}', ..] => Some(2),
        [space, b'-', b'}', b'}', ..] if is_space(*space) => Some(4),
        _ => None,
    }
}

/// The end of an action, after its closing braces. Braces in quotes do not count.
fn end_of_action(text: &str) -> Result<usize, String> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Ok(at + 2),
            b'"' | b'\'' => at += quoted(&bytes[at..]).ok_or("unterminated string")?,
            b'`' => {
                let length = bytes[at + 1..].iter().position(|byte| *byte == b'`');
                at += length.ok_or("unterminated raw string")? + 2;
            }
            b'/' => return Err("unexpected /; a comment must directly follow the opening braces".to_owned()),
            _ => at += 1,
        }
    }
    Err("unclosed action: missing }}".to_owned())
}

/// The length of a string with its quotes; none if the line or the text ends first.
fn quoted(bytes: &[u8]) -> Option<usize> {
    let quote = bytes[0];
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\n' => return None,
            b'\\' => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// The open blocks, each with its keyword and whether it may still have an `else`.
#[derive(Default)]
struct Blocks<'a>(Vec<(&'a str, bool)>);

impl<'a> Blocks<'a> {
    fn action(&mut self, action: &'a str) -> Result<(), String> {
        let (keyword, rest) = word(action);
        match keyword {
            "if" | "range" | "with" => self.0.push((keyword, true)),
            "define" if !self.0.is_empty() => return Err("define inside a block".to_owned()),
            "define" | "block" => self.0.push((keyword, false)),
            "end" => {
                self.0.pop().ok_or("unexpected end")?;
            }
            "else" => {
                let (next, _) = word(rest);
                let Some((opened, takes_else @ true)) = self.0.last_mut() else {
                    return Err("unexpected else".to_owned());
                };
                if next.is_empty() {
                    *takes_else = false;
                } else if next != *opened || next == "range" {
                    return Err(format!("unexpected else {next} in a block of {opened}"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self) -> Result<(), String> {
        self.0.last().map_or(Ok(()), |(keyword, _)| Err(format!("unclosed block of {keyword}")))
    }
}

/// The first word of a text, and the rest.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn comments_are_replaced_and_braces_in_strings_ignored() {
        for (text, made) in [
            ("a {{/* {{ */}} b", "a {{\"m\"}} b"),
            ("a {{- /**/ -}} b", "a {{- \"m\" -}} b"),
            ("{{-\t/**/\n-}}", "{{-\t\"m\"\n-}}"),
            (r#"{{"}} {{/* \" */"}}"#, r#"{{"}} {{/* \" */"}}"#),
            ("{{`}}`}}{{'}'}}}", "{{`}}`}}{{'}'}}}"),
        ] {
            assert_eq!(prepare(text, "m").as_deref(), Ok(made), "{text}");
        }
        for text in ["{{ /**/}}", "{{-  /**/}}", "{{/**/ }}", "{{/**/-}}", "{{.x /**/}}", "{{/*}}", "{{\"a\n\"}}"] {
            assert!(prepare(text, "m").is_err(), "{text}");
        }
    }

    #[test]
    fn blocks_are_checked_as_in_go() {
        for text in [
            "{{if .}}{{else if .}}{{else}}{{end}}",
            "{{with .}}{{else with .}}{{end}}",
            "{{define \"a\"}}{{block \"b\" .}}{{end}}{{end}}",
            "{{- range . -}}{{break}}{{else}}{{end}}",
        ] {
            assert!(prepare(text, "m").is_ok(), "{text}");
        }
        for text in [
            "{{end}}",
            "{{else}}",
            "{{if .}}",
            "{{if .}}{{else}}{{else}}{{end}}",
            "{{if .}}{{else}}{{else if .}}{{end}}",
            "{{range .}}{{else range .}}{{end}}",
            "{{with .}}{{else if .}}{{end}}",
            "{{define \"a\"}}{{else}}{{end}}",
            "{{block \"a\" .}}{{define \"b\"}}{{end}}{{end}}",
        ] {
            assert!(prepare(text, "m").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"(\{\{|\}\}|/\*|\*/|["'`\\-]|else|end|if| |\PC){0,16}"#) {
            let _ = prepare(&text, "m");
        }
    }
}
