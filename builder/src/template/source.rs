//! A template's text, where Go's lexer and the engine's differ: comments, `define` within a block, and
//! an `else` or `end` too many. Knows no expressions.

/// Checks the blocks of a text, and puts the string `mark` in the place of every comment, since the
/// engine does not keep to which side of one is trimmed.
///
/// # Errors
/// What Go finds wrong, in words.
pub(super) fn prepared(text: &str, mark: &str) -> Result<String, String> {
    let mut made = String::with_capacity(text.len());
    let mut blocks = Blocks::default();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let trims = matches!(rest.as_bytes()[start + 2..], [b'-', space, ..] if is_space(space));
        let (opened, inside) = rest.split_at(start + if trims { 4 } else { 2 });
        made.push_str(opened);
        if let Some(comment) = inside.strip_prefix("/*") {
            let (_, after) = comment.split_once("*/").ok_or("a comment that does not end")?;
            let closing = closing(after).ok_or("a comment that ends before its braces do")?;
            made.extend(["\"", mark, "\"", &after[..closing]]);
            rest = &after[closing..];
            continue;
        }
        let end = end_of_action(inside)?;
        blocks.action(&inside[..end])?;
        made.push_str(&inside[..end]);
        rest = &inside[end..];
    }
    made.push_str(rest);
    blocks.end()?;
    Ok(made)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The length of the closing braces that a text begins with.
fn closing(text: &str) -> Option<usize> {
    match text.as_bytes() {
        [b'}', b'}', ..] => Some(2),
        [space, b'-', b'}', b'}', ..] if is_space(*space) => Some(4),
        _ => None,
    }
}

/// Where an action ends, after its closing braces, which do not count within quotes.
fn end_of_action(text: &str) -> Result<usize, String> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Ok(at + 2),
            b'"' | b'\'' => at += quoted(&bytes[at..]).ok_or("a quotation that does not end")?,
            b'`' => {
                let length = bytes[at + 1..].iter().position(|byte| *byte == b'`');
                at += length.ok_or("a raw quotation that does not end")? + 2;
            }
            b'/' => return Err("a / that begins no comment: one stands right after the braces".to_owned()),
            _ => at += 1,
        }
    }
    Err("an action without the }} that ends it".to_owned())
}

/// The length of a quotation with its quotes; none when its line or the text ends first.
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

/// The blocks that are open, each with its keyword and whether it may still have an `else`.
#[derive(Default)]
struct Blocks<'a>(Vec<(&'a str, bool)>);

impl<'a> Blocks<'a> {
    fn action(&mut self, action: &'a str) -> Result<(), String> {
        let (keyword, rest) = word(action);
        match keyword {
            "if" | "range" | "with" => self.0.push((keyword, true)),
            "define" if !self.0.is_empty() => return Err("a define within a block".to_owned()),
            "define" | "block" => self.0.push((keyword, false)),
            "end" => {
                self.0.pop().ok_or("an end that closes nothing")?;
            }
            "else" => {
                let (next, _) = word(rest);
                let Some((opened, takes_else @ true)) = self.0.last_mut() else {
                    return Err("an else that belongs to nothing".to_owned());
                };
                if next.is_empty() {
                    *takes_else = false;
                } else if next != *opened || next == "range" {
                    return Err(format!("an else {next} in a block of {opened}"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&self) -> Result<(), String> {
        self.0.last().map_or(Ok(()), |(keyword, _)| Err(format!("a block of {keyword} that is not closed")))
    }
}

/// The word that a text begins with, after spaces, and what follows.
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
    fn comments_become_marks_and_quotations_hide_braces() {
        for (text, made) in [
            ("a {{/* {{ */}} b", "a {{\"m\"}} b"),
            ("a {{- /**/ -}} b", "a {{- \"m\" -}} b"),
            ("{{-\t/**/\n-}}", "{{-\t\"m\"\n-}}"),
            (r#"{{"}} {{/* \" */"}}"#, r#"{{"}} {{/* \" */"}}"#),
            ("{{`}}`}}{{'}'}}}", "{{`}}`}}{{'}'}}}"),
        ] {
            assert_eq!(prepared(text, "m").as_deref(), Ok(made), "{text}");
        }
        for text in ["{{ /**/}}", "{{-  /**/}}", "{{/**/ }}", "{{/**/-}}", "{{.x /**/}}", "{{/*}}", "{{\"a\n\"}}"] {
            assert!(prepared(text, "m").is_err(), "{text}");
        }
    }

    #[test]
    fn blocks_are_those_of_go() {
        for text in [
            "{{if .}}{{else if .}}{{else}}{{end}}",
            "{{with .}}{{else with .}}{{end}}",
            "{{define \"a\"}}{{block \"b\" .}}{{end}}{{end}}",
            "{{- range . -}}{{break}}{{else}}{{end}}",
        ] {
            assert!(prepared(text, "m").is_ok(), "{text}");
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
            assert!(prepared(text, "m").is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"(\{\{|\}\}|/\*|\*/|["'`\\-]|else|end|if| |\PC){0,16}"#) {
            let _ = prepared(&text, "m");
        }
    }
}
