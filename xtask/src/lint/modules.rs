//! The modules of a crate, as its files declare them, and what each file takes from the others.
//!
//! It reads tokens, not types: `use` declarations and paths that begin at a module, without what is
//! compiled for tests alone. Names that macros make are not seen.

use super::rust_code::{code, is_word};
use std::collections::{BTreeMap, BTreeSet};

/// The path of a module within its crate; that of the crate root is empty.
pub(crate) type ModulePath = Vec<String>;

/// One module, in a file of its own or within that of its parent.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) file: String,
    pub(crate) children: BTreeSet<String>,
    /// What `use` brings in, by the name that it has here.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// The modules of which `use` brings in everything.
    pub(crate) globs: Vec<Vec<String>>,
    /// The names of what is defined here.
    pub(crate) definitions: BTreeSet<String>,
    /// Paths of two names or more.
    pub(crate) paths: BTreeSet<Vec<String>>,
}

/// Reads the modules of the crate that begins with this file. `text_of` knows the text of files.
pub(crate) fn modules<'a>(
    crate_root: &str,
    text_of: &impl Fn(&str) -> Option<&'a str>,
) -> BTreeMap<ModulePath, Module> {
    let mut modules = BTreeMap::new();
    let mut files = vec![(crate_root.to_owned(), ModulePath::new())];
    while let Some((file, path)) = files.pop() {
        let Some(text) = text_of(&file) else { continue };
        let mut reader = Reader {
            tokens: without_tests(&tokens(&code(text))),
            at: 0,
            file: &file,
            declared: Vec::new(),
            modules: &mut modules,
        };
        reader.module(path);
        for (parent, name) in reader.declared {
            let folder = folder_of_children(&file, crate_root, &parent);
            let places = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
            let found = places.into_iter().find(|place| text_of(place).is_some());
            // A file that declares itself has no end.
            let found = found.filter(|found| *found != file);
            files.extend(found.map(|file| (file, [parent, vec![name]].concat())));
        }
    }
    modules
}

/// Returns the folder in which the modules stand that this file declares.
fn folder_of_children(file: &str, crate_root: &str, module: &[String]) -> String {
    let (folder, name) = file.rsplit_once('/').unwrap_or((".", file));
    if file == crate_root || name == "mod.rs" {
        return folder.to_owned();
    }
    let stem = name.trim_end_matches(".rs");
    // A module within the file has a folder below that of the file.
    let inside = module.iter().skip_while(|name| *name != stem).skip(1);
    inside.fold(format!("{folder}/{stem}"), |folder, name| folder + "/" + name)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Sign(char),
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let chars: Vec<char> = code.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(c) = chars.get(at) {
        let length = chars[at..].iter().take_while(|c| is_word(**c)).count();
        if length > 0 {
            tokens.push(Token::Word(chars[at..at + length].iter().collect()));
            at += length;
        } else if *c == ':' && chars.get(at + 1) == Some(&':') {
            tokens.push(Token::Colons);
            at += 2;
        } else {
            tokens.extend((!c.is_whitespace()).then_some(Token::Sign(*c)));
            at += 1;
        }
    }
    tokens
}

/// Leaves out each item under `#[cfg(test)]` and the like, and each module under `#[path = …]`: its file
/// is read where it is at home.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let is_attribute = tokens[at] == Token::Sign('#')
            && tokens.get(at + 1) == Some(&Token::Sign('['))
            && tokens
                .get(at + 2)
                .is_some_and(|token| token.is_word("cfg") || token.is_word("path"));
        let end = if is_attribute { end_of_group(tokens, at + 1) } else { at };
        let has = |word| tokens[at..end].iter().any(|token| token.is_word(word));
        if is_attribute && (has("path") || has("test")) && !has("not") {
            at = end_of_item(tokens, end);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Returns the place after the bracket that closes the one here.
fn end_of_group(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Returns the place after the item that begins here, which may have attributes of its own.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let head = tokens[start..].iter().take_while(|token| !matches!(token, Token::Sign('{' | ';')));
    let is_use = head.into_iter().any(|token| token.is_word("use"));
    let mut at = start;
    while at < tokens.len() {
        match tokens[at] {
            Token::Sign(';' | ',') => return at + 1,
            // The end of what surrounds it, such as the last arm of a match.
            Token::Sign('}' | ')') => return at,
            Token::Sign('{') if !is_use => return end_of_group(tokens, at),
            Token::Sign('(' | '[' | '{') => at = end_of_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

struct Reader<'a> {
    tokens: Vec<Token>,
    at: usize,
    file: &'a str,
    /// Modules in files of their own, with their parents.
    declared: Vec<(ModulePath, String)>,
    modules: &'a mut BTreeMap<ModulePath, Module>,
}

impl Reader<'_> {
    /// Reads a module up to the brace that ends it, or the end of the file.
    fn module(&mut self, path: ModulePath) {
        let mut module = Module { file: self.file.to_owned(), ..Module::default() };
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            match &token {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') if depth == 0 => break,
                Token::Sign('}') => depth -= 1,
                Token::Word(word) if word == "mod" => self.child(&mut module, &path),
                Token::Word(word) if word == "use" => self.use_tree(&mut module, Vec::new()),
                Token::Word(word) => self.word(&mut module, word),
                _ => {}
            }
        }
        self.modules.insert(path, module);
    }

    fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Takes the next token if it is this one.
    fn takes(&mut self, token: &Token) -> bool {
        let is_next = self.peek() == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    fn child(&mut self, module: &mut Module, path: &ModulePath) {
        let Some(Token::Word(name)) = self.peek().cloned() else { return };
        self.at += 1;
        if self.takes(&Token::Sign(';')) {
            self.declared.push((path.clone(), name.clone()));
        } else if self.takes(&Token::Sign('{')) {
            self.module([path.clone(), vec![name.clone()]].concat());
        }
        module.children.insert(name);
    }

    /// Reads what follows `use`, or a part of it that begins with these names.
    fn use_tree(&mut self, module: &mut Module, mut names: Vec<String>) {
        loop {
            match self.next() {
                Some(Token::Word(word)) if word == "as" => {
                    if let Some(Token::Word(alias)) = self.next() {
                        module.imports.insert(alias, names);
                    }
                    return;
                }
                Some(Token::Word(word)) => names.push(word),
                Some(Token::Colons) => {}
                Some(Token::Sign('*')) => return module.globs.push(names),
                Some(Token::Sign('{')) => {
                    while !self.takes(&Token::Sign('}')) && self.peek().is_some() {
                        self.use_tree(module, names.clone());
                        self.takes(&Token::Sign(','));
                    }
                    return;
                }
                // The end of this part, which its parent looks at.
                _ => break,
            }
        }
        self.at -= 1;
        // `a::{self}` brings in `a`.
        if names.last().is_some_and(|name| name == "self") && names.len() > 1 {
            names.pop();
        }
        if let Some(name) = names.last().cloned() {
            module.imports.insert(name, names);
        }
    }

    /// Reads a definition or a path.
    fn word(&mut self, module: &mut Module, word: &str) {
        const DEFINING: [&str; 8] =
            ["fn", "struct", "enum", "const", "static", "trait", "type", "union"];
        if DEFINING.contains(&word) {
            if let Some(Token::Word(name)) = self.peek().cloned() {
                module.definitions.insert(name);
            }
            return;
        }
        let is_inside = self.at > 1 && self.tokens[self.at - 2] == Token::Colons;
        let mut names = vec![word.to_owned()];
        while self.takes(&Token::Colons) {
            match self.peek().cloned() {
                Some(Token::Word(name)) => {
                    names.push(name);
                    self.at += 1;
                }
                _ => break,
            }
        }
        if names.len() > 1 && !is_inside {
            module.paths.insert(names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> BTreeMap<ModulePath, Module> {
        let text_of =
            |path: &str| files.iter().find(|(known, _)| *known == path).map(|(_, text)| *text);
        modules("src/lib.rs", &text_of)
    }

    fn names(text: &str) -> Vec<String> {
        text.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn modules_are_found_in_their_files() {
        let modules = read(&[
            ("src/lib.rs", "mod a; mod b; mod inner { mod c; }"),
            ("src/a.rs", "mod deep;"),
            ("src/a/deep.rs", ""),
            ("src/b/mod.rs", "mod other;"),
            ("src/b/other.rs", ""),
        ]);
        let file = |path: &str| modules[&names(path)].file.as_str();
        assert_eq!(file("a::deep"), "src/a/deep.rs");
        assert_eq!(file("b::other"), "src/b/other.rs");
        assert_eq!(file("inner"), "src/lib.rs");
        assert_eq!(modules.len(), 6);
    }

    #[test]
    fn a_file_that_declares_itself_is_read_once() {
        let modules = read(&[("src/lib.rs", "mod lib;")]);
        assert_eq!(modules.len(), 1);
    }

    #[test]
    fn uses_are_read_with_their_groups_and_aliases() {
        let text = "use a::{self, b::{C, D as E}, f::*}; pub(crate) use super::G; use h::I as _;";
        let module = &read(&[("src/lib.rs", text)])[&names("")];
        let import = |name: &str| module.imports[name].join("::");
        assert_eq!(import("a"), "a");
        assert_eq!(import("C"), "a::b::C");
        assert_eq!(import("E"), "a::b::D");
        assert_eq!(import("G"), "super::G");
        assert_eq!(module.globs, [names("a::f")]);
    }

    #[test]
    fn paths_and_definitions_are_read() {
        let text = "fn f() { crate::a::g::<X>(); b::C { d: e.f } } struct S; // crate::hidden::x";
        let module = &read(&[("src/lib.rs", text)])[&names("")];
        let paths: Vec<_> = module.paths.iter().map(|path| path.join("::")).collect();
        assert_eq!(paths, ["b::C", "crate::a::g"]);
        assert!(module.definitions.contains("f") && module.definitions.contains("S"));
    }

    #[test]
    fn what_is_compiled_for_tests_alone_is_left_out() {
        let text = "#[cfg(test)] use a::{B, C}; #[cfg(all(test, unix))] #[x] fn f() { d::E } \
                    #[cfg(test)] mod tests { use g::H; } #[cfg(not(test))] use i::J; #[path = \"lib.rs\"] mod again;";
        let module = &read(&[("src/lib.rs", text)])[&names("")];
        assert_eq!(module.imports.keys().collect::<Vec<_>>(), ["J"]);
        assert!(module.paths.is_empty() && module.children.is_empty());
    }
}
