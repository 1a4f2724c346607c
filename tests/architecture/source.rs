//! What one Rust file refers to: its `use` trees and its paths, resolved to `crate::…` or to the crate that they come from.
//!
//! Reads tokens, not syntax trees: enough for paths, and nothing to depend on. Knows no rule.

use std::collections::BTreeSet;

/// One Rust file and what it names.
pub struct Source {
    /// Its path from the root of the project.
    pub file: String,
    module: Vec<String>,
    references: Vec<Reference>,
    test_modules: Vec<Vec<String>>,
}

/// One path that a file names.
pub struct Reference {
    /// Line, from 1.
    pub line: usize,
    /// Segments; the first is `crate` for our own, else the name of a crate; a call of `x.expose()` is the path `expose()`.
    pub path: Vec<String>,
    /// It stands under `#[cfg(test)]`.
    pub test: bool,
}

impl Reference {
    /// It names something of this crate.
    pub fn is_internal(&self) -> bool {
        self.path[0] == "crate"
    }
}

/// Method calls that are a matter of architecture.
const CALLS: &[&str] = &["expose"];

impl Source {
    /// Reads one file; `file` is its path from the root of the project, with slashes.
    pub fn parse(file: &str, text: &str) -> Self {
        let module = module_of(file);
        let mut walk = Walk { tokens: tokens(text), module: module.clone(), ..Walk::default() };
        walk.run();
        let Walk { imports, inline, bound, test_modules, .. } = walk;
        // A name that an import or a `mod` brought in was judged there.
        let inline = inline.into_iter().filter(|reference| reference.is_internal() || !bound.contains(&reference.path[0]));
        let references = imports.into_iter().chain(inline).collect();
        Self { file: file.to_owned(), module, references, test_modules }
    }

    /// Its module path, without `crate`; empty for `lib.rs`.
    pub fn module(&self) -> &[String] {
        &self.module
    }

    /// Everything it names.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Modules that it declares under `#[cfg(test)]`.
    pub fn test_modules(&self) -> Vec<Vec<String>> {
        self.test_modules.clone()
    }

    /// From which top-level module to which.
    pub fn edges(&self) -> Vec<(String, String)> {
        let target = |reference: &Reference| reference.is_internal().then(|| reference.path.get(1).cloned()).flatten();
        let Some(from) = self.module.first() else { return Vec::new() };
        self.references.iter().filter_map(target).map(|to| (from.clone(), to)).collect()
    }
}

fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    PathSeparator,
    Mark(char),
}

/// A walk over the tokens of one file that keeps track of inline modules and of `#[cfg(test)]`.
#[derive(Default)]
struct Walk {
    tokens: Vec<(usize, Token)>,
    at: usize,
    module: Vec<String>,
    /// One entry a brace: the inline module it opens, and whether it is test code.
    blocks: Vec<(Option<String>, bool)>,
    /// `#[cfg(test)]` was seen and its item has not ended or opened yet.
    test_next: bool,
    imports: Vec<Reference>,
    inline: Vec<Reference>,
    bound: BTreeSet<String>,
    test_modules: Vec<Vec<String>>,
}

impl Walk {
    fn run(&mut self) {
        while self.at < self.tokens.len() {
            if self.is_cfg_test() {
                self.test_next = true;
                self.at += 7;
            } else if self.word(0) == Some("mod") && self.word(1).is_some() {
                self.declaration();
            } else if self.word(0) == Some("use") && !self.mark(1, '<') {
                self.at += 1;
                self.import(Vec::new());
            } else if self.mark(0, '.') && self.word(1).is_some_and(|name| CALLS.contains(&name)) && self.mark(2, '(') {
                let path = vec![format!("{}()", self.word(1).unwrap_or_default())];
                self.inline.push(Reference { line: self.line(), path, test: self.in_test() });
                self.at += 2;
            } else if self.word(0).is_some() {
                self.path();
            } else {
                self.brace();
                self.at += 1;
            }
        }
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        match self.tokens.get(self.at + ahead) {
            Some((_, Token::Word(word))) => Some(word),
            _ => None,
        }
    }

    fn mark(&self, ahead: usize, mark: char) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some((_, Token::Mark(found))) if *found == mark)
    }

    fn separator(&self, ahead: usize) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some((_, Token::PathSeparator)))
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |(line, _)| *line)
    }

    fn in_test(&self) -> bool {
        self.test_next || self.blocks.iter().any(|(_, test)| *test)
    }

    fn is_cfg_test(&self) -> bool {
        self.mark(0, '#')
            && self.mark(1, '[')
            && self.word(2) == Some("cfg")
            && self.mark(3, '(')
            && self.word(4) == Some("test")
            && self.mark(5, ')')
    }

    /// The module that the walk is in, inline ones included.
    fn here(&self) -> Vec<String> {
        self.module.iter().chain(self.blocks.iter().filter_map(|(name, _)| name.as_ref())).cloned().collect()
    }

    fn brace(&mut self) {
        if self.mark(0, '{') {
            self.blocks.push((None, self.test_next));
        } else if self.mark(0, '}') {
            self.blocks.pop();
        }
        if self.mark(0, '{') || self.mark(0, ';') {
            self.test_next = false;
        }
    }

    /// `mod name;` or `mod name {`.
    fn declaration(&mut self) {
        let name = self.word(1).unwrap_or_default().to_owned();
        self.bound.insert(name.clone());
        if self.mark(2, '{') {
            self.blocks.push((Some(name), self.test_next));
        } else if self.test_next {
            self.test_modules.push([self.here(), vec![name]].concat());
        }
        self.test_next = false;
        self.at += 3;
    }

    /// One tree after `use`, up to the `,`, `}` or `;` behind it.
    fn import(&mut self, mut path: Vec<String>) {
        let line = self.line();
        while let Some(word) = self.word(0) {
            path.push(word.to_owned());
            self.at += 1;
            if !self.separator(0) {
                break;
            }
            self.at += 1;
        }
        if self.separator(0) {
            // `use ::std::fmt`
            self.at += 1;
            return self.import(path);
        }
        if self.mark(0, '{') {
            self.at += 1;
            while self.at < self.tokens.len() && !self.mark(0, '}') {
                self.import(path.clone());
                if self.mark(0, ',') {
                    self.at += 1;
                }
            }
            self.at += 1;
            return;
        }
        if self.mark(0, '*') {
            self.at += 1;
        }
        // The walk saw `a as b` as a path that ends at `a`.
        let alias = (self.word(0) == Some("as")).then(|| self.word(1).unwrap_or_default().to_owned());
        self.at += if alias.is_some() { 2 } else { 0 };
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        self.bound.extend(alias.or_else(|| (path.len() > 1).then(|| path.last().cloned()).flatten()));
        if let Some(path) = self.resolve(path) {
            self.imports.push(Reference { line, path, test: self.in_test() });
        }
    }

    /// A path in code, or a lone word.
    fn path(&mut self) {
        let line = self.line();
        let continued = self.at > 0 && matches!(self.tokens[self.at - 1].1, Token::PathSeparator | Token::Mark('.'));
        let mut path = Vec::new();
        while let Some(word) = self.word(0) {
            path.push(word.to_owned());
            self.at += 1;
            if !(self.separator(0) && self.tokens.get(self.at + 1).is_some_and(|(_, next)| matches!(next, Token::Word(_)))) {
                break;
            }
            self.at += 1;
        }
        if path.len() < 2 || continued {
            return;
        }
        if let Some(path) = self.resolve(path) {
            self.inline.push(Reference { line, path, test: self.in_test() });
        }
    }

    /// To `crate::…` or to a crate's name. `None`: an item or a child module of this very file.
    fn resolve(&self, path: Vec<String>) -> Option<Vec<String>> {
        let mut base = self.here();
        let mut rest = path.as_slice();
        match path.first()?.as_str() {
            "crate" | "daypass" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" | "super" => {
                while let Some((first, tail)) = rest.split_first().filter(|(first, _)| matches!(first.as_str(), "self" | "super")) {
                    if first == "super" {
                        base.pop();
                    }
                    rest = tail;
                }
            }
            name if is_local(name) || self.bound.contains(name) => return None,
            _ => return Some(path),
        }
        Some([&["crate".to_owned()], base.as_slice(), rest].concat())
    }
}

/// Types and variants (`Self::new`, `Verdict::Allow`), the primitives' methods (`u64::from`) and `rustfmt::skip` are no crates.
fn is_local(name: &str) -> bool {
    const OTHERS: &[&str] = &[
        "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "rustfmt", "str", "u8", "u16", "u32", "u64", "u128",
        "usize",
    ];
    name.starts_with(|first: char| first.is_ascii_uppercase()) || OTHERS.contains(&name)
}

/// Words, `::` and marks with their lines; comments, strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let mut rest = text;
    let mut line = 1;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (length, token) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), None)
        } else if rest.starts_with("/*") {
            (block_comment(rest), None)
        } else if let Some(length) = string(rest) {
            (length, None)
        } else if first == '\'' {
            (character_or_lifetime(rest), None)
        } else if rest.starts_with("::") {
            (2, Some(Token::PathSeparator))
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (length, Some(Token::Word(rest[..length].to_owned())))
        } else {
            (first.len_utf8(), (!first.is_whitespace()).then_some(Token::Mark(first)))
        };
        tokens.extend(token.map(|token| (line, token)));
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of a block comment, nested ones included.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let step = &text[at..];
        if step.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if step.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += step.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of a string literal of any kind that starts here.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| text.starts_with(prefix)).unwrap_or_default();
    let body = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let inner = body[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(inner.find(&end).map_or(text.len(), |at| prefix.len() + hashes + 1 + at + end.len()));
    }
    let inner = body.strip_prefix('"')?;
    Some(closing(inner, '"').map_or(text.len(), |at| prefix.len() + 1 + at))
}

fn character_or_lifetime(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    let (first, second) = (chars.next(), chars.next());
    if first == Some('\\') || second == Some('\'') {
        return closing(&text[1..], '\'').map_or(text.len(), |at| 1 + at);
    }
    1 + text[1..].find(|c| !is_word(c)).unwrap_or(text.len() - 1)
}

/// Where a literal ends, its closing mark included.
fn closing(text: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == mark && !escaped {
            return Some(at + 1);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}
