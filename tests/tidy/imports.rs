//! Imports: no file of a crate imports a file that imports it, directly or through others. Which
//! crate may depend on which is in `dependencies.rs`.
//!
//! Reads the sources with `syn` and follows `use` declarations and paths to the file that defines
//! what they name; a re-export leads to the file behind it. Tests within the files are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ItemFn, ItemImpl, ItemMod, ItemUse, UseTree, Visibility};

use super::{assert_none, root};

/// A path as it is written, with what it begins at resolved by [`Crate::file_of`].
type Segments = Vec<String>;

/// A module that is a file.
#[derive(Default)]
struct Module {
    file: PathBuf,
    children: BTreeSet<String>,
    /// Names that it re-exports, and what they stand for.
    exports: BTreeMap<String, Segments>,
    /// Paths that it names.
    paths: BTreeSet<Segments>,
}

/// The modules of one crate by their paths from its root.
struct Crate {
    modules: BTreeMap<Segments, Module>,
}

/// Depth of re-exports that is followed: none of ours is nested as deep.
const EXPORTS_MAX: usize = 8;

impl Crate {
    fn read(top: &Path) -> Self {
        let mut modules = BTreeMap::new();
        let mut unread = vec![(Segments::new(), top.to_path_buf())];
        while let Some((path, file)) = unread.pop() {
            let source = syn::parse_file(&fs::read_to_string(root().join(&file)).unwrap()).unwrap();
            let folder = if path.is_empty() { file.parent().unwrap().to_path_buf() } else { file.with_extension("") };
            let mut module = Module { file, ..Module::default() };
            if !is_test(&source.attrs) {
                module.visit_file(&source);
            }
            for child in &module.children {
                unread
                    .push(([&path[..], std::slice::from_ref(child)].concat(), folder.join(child).with_extension("rs")));
            }
            modules.insert(path, module);
        }
        Self { modules }
    }

    /// The file that defines what a path in that module names, if it is of this crate.
    fn file_of(&self, module: &[String], path: &[String], depth: usize) -> Option<&Path> {
        let (mut at, mut rest) = match path.split_first()? {
            (first, rest) if first == "crate" => (Segments::new(), rest),
            (first, rest) if first == "self" => (module.to_vec(), rest),
            (first, rest) if first == "super" => (module.split_last()?.1.to_vec(), rest),
            (first, _) if self.modules[module].children.contains(first) => (module.to_vec(), path),
            _ => return None,
        };
        while let Some((next, further)) = rest.split_first() {
            let here = &self.modules[&at];
            if next == "super" {
                at.pop();
            } else if here.children.contains(next) {
                at.push(next.clone());
            } else if let Some(export) = here.exports.get(next).filter(|_| depth < EXPORTS_MAX) {
                return self.file_of(&at, &[export, further].concat(), depth + 1);
            } else {
                break;
            }
            rest = further;
        }
        Some(&self.modules[&at].file)
    }

    /// Each file and the files that it imports.
    fn imports(&self) -> BTreeMap<&Path, BTreeSet<&Path>> {
        let imported = |(path, module): (_, &Module)| -> BTreeSet<&Path> {
            let files = module.paths.iter().filter_map(|named| self.file_of(path, named, 0));
            files.filter(|file| **file != module.file).collect()
        };
        self.modules.iter().map(|(path, module)| (module.file.as_path(), imported((path, module)))).collect()
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    };
    attributes.iter().any(is_test)
}

impl Module {
    fn take_use(&mut self, is_export: bool, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (name, path) = match tree {
            UseTree::Path(path) => return self.take_use(is_export, &with(&path.ident), &path.tree),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.take_use(is_export, before, tree));
            }
            UseTree::Glob(_) => {
                self.paths.insert(before.to_vec());
                return;
            }
            UseTree::Name(name) if name.ident == "self" => (before.last().cloned(), before.to_vec()),
            UseTree::Name(name) => (Some(name.ident.to_string()), with(&name.ident)),
            UseTree::Rename(rename) => (Some(rename.rename.to_string()), with(&rename.ident)),
        };
        // A file that only hands a name on does not need what is behind it.
        match name.filter(|_| is_export) {
            Some(name) => {
                self.exports.insert(name, path);
            }
            None => {
                self.paths.insert(path);
            }
        }
    }

    /// Paths in the arguments of a macro, which is not parsed.
    fn take_tokens(&mut self, tokens: TokenStream) {
        let mut path = Segments::new();
        let mut colons = 2;
        for token in tokens {
            if let TokenTree::Ident(name) = &token {
                if colons != 2 {
                    self.paths.insert(std::mem::take(&mut path));
                }
                path.push(name.to_string());
                colons = 0;
                continue;
            }
            if matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':') {
                colons += 1;
                continue;
            }
            self.paths.insert(std::mem::take(&mut path));
            colons = 2;
            if let TokenTree::Group(group) = token {
                self.take_tokens(group.stream());
            }
        }
        self.paths.insert(path);
    }
}

impl Visit<'_> for Module {
    fn visit_item_mod(&mut self, module: &ItemMod) {
        if is_test(&module.attrs) {
            return;
        }
        if module.content.is_none() {
            self.children.insert(module.ident.to_string());
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_item_use(&mut self, used: &ItemUse) {
        if !is_test(&used.attrs) {
            self.take_use(!matches!(used.vis, Visibility::Inherited), &[], &used.tree);
        }
    }

    fn visit_item_fn(&mut self, function: &ItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_item_impl(&mut self, block: &ItemImpl) {
        if !is_test(&block.attrs) {
            visit::visit_item_impl(self, block);
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _visibility: &Visibility) {}

    fn visit_macro(&mut self, invoked: &syn::Macro) {
        self.take_tokens(invoked.tokens.clone());
    }
}

/// All files that a file imports, directly or through others.
fn all_imports<'f>(imports: &BTreeMap<&'f Path, BTreeSet<&'f Path>>, file: &Path) -> BTreeSet<&'f Path> {
    let (mut found, mut unseen) = (BTreeSet::new(), vec![file]);
    while let Some(file) = unseen.pop() {
        let new: Vec<&Path> = imports[file].iter().copied().filter(|file| found.insert(*file)).collect();
        unseen.extend(new);
    }
    found
}

/// The files that are in circles, each with what it imports of its circle.
fn circles(top: &Path) -> Vec<String> {
    let sources = Crate::read(top);
    let imports = sources.imports();
    let all: BTreeMap<&Path, BTreeSet<&Path>> =
        imports.keys().map(|file| (*file, all_imports(&imports, file))).collect();
    let line = |(file, direct): (&&Path, &BTreeSet<&Path>)| {
        let back: Vec<String> =
            direct.iter().filter(|to| all[**to].contains(*file)).map(|to| to.display().to_string()).collect();
        (!back.is_empty()).then(|| format!("{} imports {}", file.display(), back.join(", ")))
    };
    imports.iter().filter_map(line).collect()
}

/// The top file of every crate of the product.
fn tops() -> Vec<PathBuf> {
    let folders = fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().file_name());
    let crates = folders.map(|name| Path::new("src").join(name).join("lib.rs"));
    let mut tops: Vec<PathBuf> = crates.filter(|top| root().join(top).is_file()).collect();
    tops.extend(["src/lib.rs", "keys/src/lib.rs"].map(PathBuf::from));
    tops
}

#[test]
fn no_file_imports_itself_through_others() {
    assert!(tops().len() > 10, "the crates were not found");
    let found: Vec<String> = tops().iter().flat_map(|top| circles(top)).collect();
    assert_none(&found, "files that are in a circle of imports, and what they import of it");
}
