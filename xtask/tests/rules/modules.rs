//! The modules of a crate, as its files declare them, and what each takes from the others.
//!
//! It reads tokens, not types: `use` declarations and paths, without what is compiled for tests alone. Names that
//! macros make are not seen.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::iter::Peekable;

/// One module, in a file of its own or within that of its parent.
pub(crate) struct Module {
    pub(crate) file: String,
    /// The paths that `use` brings in, by the name that each has here.
    pub(crate) imports: BTreeMap<String, Vec<String>>,
    /// Paths of two names or more; of a `use` of everything, with the star.
    pub(crate) paths: Vec<Vec<String>>,
}

/// The modules by their paths within the crate; that of the crate root is empty.
pub(crate) type Modules = BTreeMap<Vec<String>, Module>;

type Tokens = Peekable<proc_macro2::token_stream::IntoIter>;

/// Reads the modules of the crate that begins with this file. `text_of` knows the text of files.
pub(crate) fn modules(crate_root: &str, text_of: &dyn Fn(&str) -> Option<String>) -> Modules {
    let folder = crate_root.rsplit_once('/').map_or(".", |(folder, _)| folder);
    let mut reader = Reader { text_of, modules: Modules::new() };
    reader.file(&[], crate_root, folder);
    reader.modules
}

struct Reader<'a> {
    text_of: &'a dyn Fn(&str) -> Option<String>,
    modules: Modules,
}

impl Reader<'_> {
    /// Reads a module, if it is in this file. The modules that it declares are in `folder`.
    fn file(&mut self, path: &[String], file: &str, folder: &str) {
        if let Some(text) = (self.text_of)(file) {
            let tokens = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
            self.module(path, file, folder, tokens);
        }
    }

    fn module(&mut self, path: &[String], file: &str, folder: &str, tokens: TokenStream) {
        let module = Module { file: file.to_owned(), imports: BTreeMap::new(), paths: vec![] };
        self.modules.insert(path.to_vec(), module);
        self.block(path, folder, tokens);
    }

    /// Reads what belongs to the module with this path, at any depth of brackets.
    fn block(&mut self, path: &[String], folder: &str, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match &token {
                TokenTree::Punct(sign) if sign.as_char() == '#' => {
                    let attribute = tokens.next_if(|next| matches!(next, TokenTree::Group(_)));
                    if attribute.is_some_and(|attribute| is_left_out(&attribute.to_string())) {
                        skip_item(&mut tokens);
                    }
                }
                // What follows belongs to a path that begins with a type, or to another crate.
                colon if is_colons(colon) => {
                    tokens.next();
                    tokens.next_if(|next| matches!(next, TokenTree::Ident(_)));
                }
                TokenTree::Ident(word) if word == "mod" => self.child(path, folder, &mut tokens),
                TokenTree::Ident(word) => {
                    let module = self.modules.get_mut(path).expect("a module that is being read");
                    if word == "use" {
                        use_tree(module, vec![], &mut tokens);
                    } else {
                        module.paths.extend(path_from(word.to_string(), &mut tokens));
                    }
                }
                TokenTree::Group(group) => self.block(path, folder, group.stream()),
                _ => {}
            }
        }
    }

    /// Reads the rest of a declaration after `mod`.
    fn child(&mut self, parent: &[String], folder: &str, tokens: &mut Tokens) {
        let Some(name) = tokens.next() else { return };
        let path = [parent, &[name.to_string()]].concat();
        let folder = format!("{folder}/{name}");
        if let Some(TokenTree::Group(group)) = tokens.next() {
            let file = self.modules[parent].file.clone();
            self.module(&path, &file, &folder, group.stream());
        } else {
            self.file(&path, &format!("{folder}.rs"), &folder);
            self.file(&path, &format!("{folder}/mod.rs"), &folder);
        }
    }
}

/// Reads the paths after `use`, or a part of them that begins with these names.
fn use_tree(module: &mut Module, mut names: Vec<String>, tokens: &mut Tokens) {
    let mut original = None;
    for token in tokens.by_ref().take_while(|token| !is_end(token)) {
        match token {
            TokenTree::Ident(word) if word == "as" => original = Some(names.clone()),
            // `a::{self}` brings in `a`.
            TokenTree::Ident(word) if word == "self" && !names.is_empty() => {}
            TokenTree::Ident(word) => names.push(word.to_string()),
            TokenTree::Punct(sign) if sign.as_char() == '*' => names.push("*".to_owned()),
            TokenTree::Group(group) => {
                let mut parts = group.stream().into_iter().peekable();
                while parts.peek().is_some() {
                    use_tree(module, names.clone(), &mut parts);
                }
                names.clear();
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    match names.last().cloned().as_deref() {
        // It has no name here.
        Some("*" | "_") => module.paths.push(original.unwrap_or(names)),
        Some(name) => drop(module.imports.insert(name.to_owned(), original.unwrap_or(names))),
        None => {}
    }
}

/// Returns whether an item is compiled for tests alone, or is a module whose file is read where it is at home.
fn is_left_out(attribute: &str) -> bool {
    let words: Vec<_> = attribute.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    match words[1] {
        "cfg" => words.contains(&"test") && !words.contains(&"not"),
        first => first == "path",
    }
}

/// Skips an item, which may have attributes of its own.
fn skip_item(tokens: &mut Tokens) {
    let mut is_use = false;
    for token in tokens {
        is_use |= token.to_string() == "use";
        let is_brace = matches!(&token, TokenTree::Group(it) if it.delimiter() == Delimiter::Brace);
        if is_end(&token) || is_brace && !is_use {
            return;
        }
    }
}

/// Returns whether an item, or a part of a list, ends here.
fn is_end(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(sign) if sign.as_char() == ';' || sign.as_char() == ',')
}

/// Returns whether two colons begin here.
fn is_colons(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(sign) if sign.as_char() == ':' && sign.spacing() == Spacing::Joint)
}

/// Returns the path of two names or more that begins with this one.
fn path_from(first: String, tokens: &mut Tokens) -> Option<Vec<String>> {
    let mut names = vec![first];
    while tokens.peek().is_some_and(is_colons) {
        let mut ahead = tokens.clone();
        let Some(TokenTree::Ident(name)) = ahead.nth(2) else { break };
        names.push(name.to_string());
        *tokens = ahead;
    }
    (names.len() > 1).then_some(names)
}
