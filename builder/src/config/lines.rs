//! The line of each key in a JSON text, for messages. Expects text that was parsed successfully.

use std::collections::BTreeMap;

/// Lines by the path of the key.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: BTreeMap<Vec<String>, usize>,
    /// Paths of duplicate keys.
    pub(super) duplicates: Vec<Vec<String>>,
}

impl Lines {
    /// Finds the lines in valid JSON.
    pub(super) fn of(text: &str) -> Self {
        let mut scanner = Scanner { text, position: 0, line: 1, found: Self::default() };
        scanner.value(&mut Vec::new());
        scanner.found
    }

    /// The line of a key, starting at 1; for an unknown key that of the nearest enclosing one.
    pub(super) fn line(&self, path: &[&str]) -> usize {
        let mut path: Vec<String> = path.iter().map(ToString::to_string).collect();
        loop {
            if let Some(line) = self.lines.get(&path) {
                return *line;
            }
            if path.pop().is_none() {
                return 1;
            }
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    position: usize,
    line: usize,
    found: Lines,
}

impl Scanner<'_> {
    /// Skips spaces and separators, and returns the next byte without consuming it.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.position)?;
            match byte {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' | b',' | b':' => {}
                other => return Some(other),
            }
            self.position += 1;
        }
    }

    /// Stays within the text and on character boundaries, even if the text is not valid JSON.
    fn advance(&mut self, bytes: usize) {
        self.position = (self.position + bytes).min(self.text.len());
        while !self.text.is_char_boundary(self.position) {
            self.position += 1;
        }
    }

    fn value(&mut self, path: &mut Vec<String>) {
        match self.peek() {
            Some(b'{') => self.members(path),
            Some(b'[') => {
                self.advance(1);
                while self.peek().is_some_and(|byte| byte != b']') {
                    self.value(path);
                }
                self.advance(1);
            }
            Some(b'"') => {
                self.string();
            }
            _ => {
                let rest = &self.text[self.position..];
                self.advance(rest.find([',', '}', ']', ' ', '\n', '\t', '\r']).unwrap_or(rest.len()).max(1));
            }
        }
    }

    fn members(&mut self, path: &mut Vec<String>) {
        self.advance(1);
        while self.peek() == Some(b'"') {
            let line = self.line;
            let name = self.string();
            path.push(name);
            if self.found.lines.insert(path.clone(), line).is_some() {
                self.found.duplicates.push(path.clone());
            }
            self.value(path);
            path.pop();
        }
        self.advance(1);
    }

    /// Reads a string. JSON strings contain no line breaks.
    fn string(&mut self) -> String {
        let rest = &self.text[self.position..];
        let mut escaped = false;
        let inside = rest.bytes().skip(1).position(|byte| {
            let end = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            end
        });
        let end = inside.map_or(rest.len(), |inside| inside + 2);
        self.advance(end);
        serde_json::from_str(&rest[..end]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_keys_are_found() {
        let text = "{\n \"a\" : {\"b\":1,\n\"c\\\"\\u00e4\":[{\"d\":\n\"}\"},\ntrue]},\n\n\"e\":null\n, \"a\":2}";
        let lines = Lines::of(text);
        let of = |path: &[&str]| lines.line(path);
        assert_eq!([of(&["a"]), of(&["a", "b"]), of(&["a", "c\"ä"])], [8, 2, 3]);
        assert_eq!([of(&["a", "c\"ä", "d"]), of(&["e"]), of(&["e", "x"]), of(&[])], [3, 7, 7, 1]);
        assert_eq!(lines.duplicates, [["a".to_owned()]]);
    }

    proptest! {
        #[test]
        fn no_text_panics_or_hangs(text in r#"[{}\[\]",: \\\na-zé0-9]{0,60}"#) {
            let _ = Lines::of(&text).line(&["a"]);
        }
    }
}
