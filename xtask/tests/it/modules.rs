//! Which top-level module of a crate uses which other one, read from the crate's source.
//!
//! Reads tokens, not types: paths that begin with `crate`, `super` or `self`, in `use` declarations, in
//! expressions, in macros and in the strings of attributes. Items under `#[cfg(test)]` are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// One use of a module by another: where, and the name that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) name: String,
}

/// The top-level modules of a crate. The crate's root file is a module as well, named `lib.rs` or `main.rs`.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// The groups of modules in the root file, separated by blank lines.
    groups: Vec<Vec<String>>,
    /// For each pair of modules, the first use of the second by the first.
    uses: BTreeMap<String, BTreeMap<String, Use>>,
}

impl Modules {
    /// Reads the crate with this root file.
    pub(crate) fn read(root: &Path) -> Self {
        let text = text_of(root);
        let groups = groups(&text);
        let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tops = groups.iter().flatten().cloned().collect();
        let mut reader = Reader { root: name, tops, exports: BTreeMap::new(), uses: BTreeMap::new() };
        let directory = root.parent().unwrap_or(Path::new("")).to_owned();
        let tokens = tokens_of(root, &text);
        reader.read_exports(&tokens);
        reader.read(&tokens, &Place { file: root.to_owned(), directory, module: Vec::new() });
        Self { groups, uses: reader.uses }
    }

    /// How many modules there are, without the root file.
    pub(crate) fn count(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    fn used_by(&self, module: &str) -> impl Iterator<Item = (&str, &Use)> {
        self.uses.get(module).into_iter().flatten().map(|(used, at)| (used.as_str(), at))
    }

    /// The shortest way from a module to another, each step with its use.
    fn way(&self, from: &str, to: &str) -> Option<Vec<(String, String, Use)>> {
        let mut came_from = BTreeMap::<&str, (&str, &Use)>::new();
        let mut queue = VecDeque::from([from]);
        while let Some(module) = queue.pop_front() {
            for (used, at) in self.used_by(module) {
                if !came_from.contains_key(used) {
                    came_from.insert(used, (module, at));
                    queue.push_back(used);
                }
            }
        }
        let mut steps = Vec::new();
        let mut end = to;
        while steps.is_empty() || end != from {
            let (begin, at) = came_from.get(end)?;
            steps.push(((*begin).to_owned(), end.to_owned(), (*at).clone()));
            end = begin;
        }
        steps.reverse();
        Some(steps)
    }

    /// The modules that use each other in a circle: for each set of such modules, its members.
    pub(crate) fn cycles(&self) -> Vec<Vec<String>> {
        let mut cycles = Vec::<Vec<String>>::new();
        for module in self.uses.keys() {
            if self.way(module, module).is_none() {
                continue;
            }
            let same = |members: &Vec<String>| {
                self.way(module, &members[0]).is_some() && self.way(&members[0], module).is_some()
            };
            match cycles.iter_mut().find(|members| same(members)) {
                Some(members) => members.push(module.clone()),
                None => cycles.push(vec![module.clone()]),
            }
        }
        cycles
    }

    /// What is wrong with the modules: a line for each set of modules in a cycle and each step of its
    /// shortest cycle, and for each use of a module of a later group.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for members in self.cycles() {
            let shortest = members.iter().filter_map(|module| self.way(module, module)).min_by_key(Vec::len);
            let mut text = format!("{} modules use each other in a cycle: {}", members.len(), members.join(", "));
            for (from, to, Use { file, line, name }) in shortest.unwrap_or_default() {
                // Writing to a string can't fail.
                let _ = write!(text, "\n  {from} -> {to}: {name} at {}:{line}", file.display());
            }
            problems.push(text);
        }
        let group_of = |module: &str| self.groups.iter().position(|group| group.iter().any(|other| other == module));
        for (module, used) in &self.uses {
            for (other, Use { file, line, name }) in used {
                if let (Some(own), Some(its)) = (group_of(module), group_of(other))
                    && its > own
                {
                    let place = format!("{name} at {}:{line}", file.display());
                    problems
                        .push(format!("{module} uses {other}, which the root file lists in a later group: {place}"));
                }
            }
        }
        problems
    }
}

/// The modules that a root file declares, in groups separated by blank lines.
fn groups(text: &str) -> Vec<Vec<String>> {
    let declared = |line: &str| {
        let name = line.strip_suffix(';')?.rsplit_once("mod ")?;
        (name.0.is_empty() || name.0.starts_with("pub")).then(|| name.1.to_owned())
    };
    let mut groups = vec![Vec::new()];
    for line in text.lines() {
        if line.is_empty() {
            groups.push(Vec::new());
        } else if let (Some(name), Some(group)) = (declared(line), groups.last_mut()) {
            group.push(name);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn text_of(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn tokens_of(path: &Path, text: &str) -> Vec<TokenTree> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    tokens.into_iter().collect()
}

/// Where tokens are from.
struct Place {
    file: PathBuf,
    /// Where the files of child modules are.
    directory: PathBuf,
    /// The module's path from the crate's root.
    module: Vec<String>,
}

struct Reader {
    root: String,
    tops: BTreeSet<String>,
    /// The module of each name that the root file exports again.
    exports: BTreeMap<String, String>,
    uses: BTreeMap<String, BTreeMap<String, Use>>,
}

impl Reader {
    /// Reads `pub use module::{Name, …};` in the root file.
    fn read_exports(&mut self, tokens: &[TokenTree]) {
        for at in 0..tokens.len() {
            if let (true, Some(TokenTree::Ident(module))) = (is_word(&tokens[at..], "use"), tokens.get(at + 1)) {
                let module = module.to_string();
                if self.tops.contains(&module) {
                    for name in exported(&tokens[at + 2..]) {
                        self.exports.insert(name, module.clone());
                    }
                }
            }
        }
    }

    fn read(&mut self, tokens: &[TokenTree], place: &Place) {
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            at += match &rest[0] {
                _ if is_test_attribute(rest) => length_of_item(rest),
                _ if place.module.is_empty() && is_export(rest) => length_of_item(rest),
                TokenTree::Ident(word) if word == "mod" => self.read_module(rest, place),
                TokenTree::Ident(word) if word == "crate" || word == "super" || word == "self" => {
                    self.read_path(rest, place.module.clone(), place)
                }
                TokenTree::Ident(_) if place.module.is_empty() && is_double_colon(&rest[1..]) => {
                    self.read_path(rest, Vec::new(), place)
                }
                // The rest of a path of another crate.
                TokenTree::Punct(_) if is_double_colon(rest) => 3,
                TokenTree::Group(group) => {
                    self.read(&group.stream().into_iter().collect::<Vec<_>>(), place);
                    1
                }
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let text = text.trim_matches('"');
                    // `#[serde(with = "crate::module")]`
                    if text.starts_with("crate::") || text.starts_with("super::") {
                        self.read(&tokens_of(&place.file, text), place);
                    }
                    1
                }
                _ => 1,
            };
        }
    }

    /// Reads `mod name;` or `mod name { … }`; how many tokens it has.
    fn read_module(&mut self, tokens: &[TokenTree], place: &Place) -> usize {
        let Some(TokenTree::Ident(name)) = tokens.get(1) else { return 1 };
        let name = name.to_string();
        let module = [place.module.as_slice(), std::slice::from_ref(&name)].concat();
        let directory = place.directory.join(&name);
        match tokens.get(2) {
            Some(TokenTree::Group(group)) => {
                let inner = Place { file: place.file.clone(), directory, module };
                self.read(&group.stream().into_iter().collect::<Vec<_>>(), &inner);
            }
            Some(TokenTree::Punct(end)) if end.as_char() == ';' => {
                let file = place.directory.join(format!("{name}.rs"));
                let file = if file.exists() { file } else { directory.join("mod.rs") };
                let tokens = tokens_of(&file, &text_of(&file));
                self.read(&tokens, &Place { file, directory, module });
            }
            _ => return 1,
        }
        3
    }

    /// Reads a path, relative to the module `base`; how many tokens of it were read.
    fn read_path(&mut self, tokens: &[TokenTree], mut base: Vec<String>, place: &Place) -> usize {
        let mut at = 0;
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(word)) if word == "crate" => base.clear(),
                Some(TokenTree::Ident(word)) if word == "super" => drop(base.pop()),
                Some(TokenTree::Ident(word)) if word == "self" => {}
                Some(TokenTree::Ident(word)) => {
                    let (rest, length) = rest_of_path(&tokens[at + 1..]);
                    self.note(&base, &word.to_string(), &rest, word.span().start().line, place);
                    return at + 1 + length;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<_> = group.stream().into_iter().collect();
                    for path in inner.split(is_comma) {
                        self.read_path(path, base.clone(), place);
                    }
                    return at + 1;
                }
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                    self.note(&base, "*", "", star.span().start().line, place);
                    return at + 1;
                }
                _ => return at.max(1),
            }
            at += 1;
            if !is_double_colon(&tokens[at..]) {
                // A value or a visibility, such as `self.x` or `pub(super)`.
                return at;
            }
            at += 2;
        }
    }

    /// Notes that `name`, in the module `base`, is used, with the `rest` of the path.
    fn note(&mut self, base: &[String], name: &str, rest: &str, line: usize, place: &Place) {
        let from = place.module.first().unwrap_or(&self.root);
        let to = match base.first() {
            Some(top) => top,
            None if self.tops.contains(name) => name,
            // A name of another crate.
            None if place.module.is_empty() => return,
            None => self.exports.get(name).unwrap_or(&self.root),
        };
        if from != to {
            let name = [base, &[format!("{name}{rest}")]].concat().join("::");
            let at = Use { file: place.file.clone(), line, name };
            self.uses.entry(from.clone()).or_default().entry(to.to_owned()).or_insert(at);
        }
    }
}

/// What follows the first name of a path, as text, and how many tokens it has.
fn rest_of_path(tokens: &[TokenTree]) -> (String, usize) {
    let (mut text, mut length) = (String::new(), 0);
    while is_double_colon(&tokens[length..]) {
        match tokens.get(length + 2) {
            Some(TokenTree::Ident(word)) => text.extend(["::", &word.to_string()]),
            Some(TokenTree::Group(group)) => {
                let names = group.stream().to_string().replace(" :: ", "::").replace(" ,", ",");
                text.extend(["::{", &names.split_whitespace().collect::<Vec<_>>().join(" "), "}"]);
            }
            _ => break,
        }
        length += 3;
    }
    (text, length)
}

fn is_word(tokens: &[TokenTree], word: &str) -> bool {
    matches!(tokens.first(), Some(TokenTree::Ident(first)) if first == word)
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
}

fn is_semicolon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';')
}

fn is_double_colon(tokens: &[TokenTree]) -> bool {
    let colon = |token: &TokenTree, spacing: Option<Spacing>| {
        matches!(token, TokenTree::Punct(punct)
            if punct.as_char() == ':' && spacing.is_none_or(|spacing| punct.spacing() == spacing))
    };
    tokens.len() > 1 && colon(&tokens[0], Some(Spacing::Joint)) && colon(&tokens[1], None)
}

/// `#[cfg(test)]` and `#[cfg(all(test, …))]`.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let (Some(TokenTree::Punct(hash)), Some(TokenTree::Group(group))) = (tokens.first(), tokens.get(1)) else {
        return false;
    };
    let text = group.stream().to_string().replace(' ', "");
    hash.as_char() == '#' && (text == "cfg(test)" || text.starts_with("cfg(all(test,"))
}

/// `pub use`, which gives the root's users a shorter path and is no use of its own.
fn is_export(tokens: &[TokenTree]) -> bool {
    is_word(tokens, "pub") && is_word(&tokens[1..], "use")
}

/// How many tokens an item has, with its attributes.
fn length_of_item(tokens: &[TokenTree]) -> usize {
    let mut begin = 0;
    while matches!(tokens.get(begin), Some(TokenTree::Punct(hash)) if hash.as_char() == '#') {
        begin += 2;
    }
    let words = tokens[begin..].iter().take(4).map(ToString::to_string).collect::<Vec<_>>();
    let has = |words_of: &[&str]| words.iter().any(|word| words_of.contains(&word.as_str()));
    let with_body = has(&["fn", "mod", "struct", "enum", "impl", "trait", "unsafe", "macro_rules", "extern"]);
    let is_statement = has(&["use", "const", "static", "type", "let"]);
    let is_brace =
        |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
    let ends = |token: &TokenTree| {
        is_semicolon(token)
            || (with_body && is_brace(token))
            // A field, a variant or an arm.
            || (!with_body && !is_statement && is_comma(token))
    };
    tokens[begin..].iter().position(ends).map_or(tokens.len(), |end| begin + end + 1)
}

/// The names of `::Name`, `::{Name, …}` or `::Name as Other`, up to the semicolon.
fn exported(tokens: &[TokenTree]) -> Vec<String> {
    let declaration: Vec<TokenTree> = tokens.iter().take_while(|token| !is_semicolon(token)).cloned().collect();
    let last = match declaration.last() {
        Some(TokenTree::Group(group)) => group.stream().into_iter().collect(),
        _ => declaration,
    };
    last.split(is_comma).filter_map(|path| path.last()).map(ToString::to_string).collect()
}
