//! The modules of a crate, and how `use` finds the items in them.

use std::{collections::BTreeMap, fs, path::Path};

use syn::{Item, UseTree, Visibility};

use super::cfg::{Features, features};
use super::item::{attributes, declared};

/// The sources of a crate without tests: the items of each module by its path, e.g. `crate::data::table`.
pub(crate) struct Source {
    pub(crate) modules: BTreeMap<String, Vec<Item>>,
}

/// An item that users of the crate can name.
pub(crate) struct Export {
    /// Path for users, without the crate, e.g. `figures::curves`.
    pub(crate) path: String,
    /// Path where it is declared, e.g. `crate::report::figures::curves::curves`.
    pub(crate) definition: String,
    pub(crate) features: Features,
}

/// One name of a `use`, or all names (`*`).
struct Import {
    path: Vec<String>,
    name: String,
}

impl Source {
    /// Reads a crate from its `src` folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut source = Self { modules: BTreeMap::new() };
        source.read_module("crate", &folder.join("lib.rs"), folder);
        source
    }

    /// Reads the module in `file`, and the modules below it, which are in `folder`.
    fn read_module(&mut self, module: &str, file: &Path, folder: &Path) {
        let mut items = syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap().items;
        items.retain(|item| features(attributes(item)).is_some());
        for item in &items {
            if let Item::Mod(child) = item {
                assert!(child.content.is_none(), "{}: inline modules are not supported", file.display());
                let name = child.ident.to_string();
                let [file, index] = [format!("{name}.rs"), format!("{name}/mod.rs")].map(|file| folder.join(file));
                let file = if file.exists() { file } else { index };
                self.read_module(&format!("{module}::{name}"), &file, &folder.join(&name));
            }
        }
        self.modules.insert(module.into(), items);
    }

    /// The declaration at a path, if it is not a module.
    pub(crate) fn item(&self, definition: &str) -> Option<&Item> {
        let (module, name) = definition.rsplit_once("::")?;
        let mut items = self.modules.get(module)?.iter().filter(|item| !matches!(item, Item::Mod(_)));
        items.find(|item| declared(item).is_some_and(|(_, found)| found == name))
    }

    /// The declaration that a path in a module leads to; `None` if it is not in the sources of this crate.
    pub(crate) fn resolve(&self, module: &str, path: &[String]) -> Option<String> {
        let (name, parents) = path.split_last()?;
        self.lookup(&self.module(module, parents)?, name)
    }

    /// The module that a path in a module leads to.
    fn module(&self, module: &str, path: &[String]) -> Option<String> {
        path.iter().try_fold(module.to_string(), |module, name| match name.as_str() {
            "crate" => Some("crate".into()),
            "self" => Some(module),
            "super" => module.rsplit_once("::").map(|(parent, _)| parent.into()),
            _ => Some(format!("{module}::{name}")).filter(|child| self.modules.contains_key(child)),
        })
    }

    /// The declaration that a name in a module stands for. A function may have the name of a module.
    fn lookup(&self, module: &str, name: &str) -> Option<String> {
        let here = format!("{module}::{name}");
        if self.item(&here).is_some() {
            return Some(here);
        }
        let uses = self.modules.get(module)?.iter().filter_map(|item| match item {
            Item::Use(item) => Some(imports(&item.tree)),
            _ => None,
        });
        let imported = uses.flatten().find_map(|import| match import.name.as_str() {
            "*" => self.lookup(&self.module(module, &import.path)?, name),
            found if found == name && import.path != [name] => self.resolve(module, &import.path),
            _ => None,
        });
        imported.or_else(|| self.module(module, &[name.into()]))
    }

    /// All items that are public in a module. `prefix` is the module's path for users.
    pub(crate) fn exports(&self, module: &str, prefix: &str) -> Vec<Export> {
        let mut exports = Vec::new();
        for item in &self.modules[module] {
            let found = match item {
                Item::Use(import) if is_public(&import.vis) => {
                    imports(&import.tree).iter().flat_map(|import| self.reexports(module, prefix, import)).collect()
                }
                _ => match declared(item) {
                    Some((visibility, name)) if is_public(visibility) => {
                        self.named(format!("{prefix}{name}"), format!("{module}::{name}"))
                    }
                    _ => Vec::new(),
                },
            };
            let needed = features(attributes(item)).unwrap_or_default();
            exports.extend(found.into_iter().map(|mut export| {
                export.features.extend(needed.clone());
                export
            }));
        }
        exports
    }

    fn reexports(&self, module: &str, prefix: &str, import: &Import) -> Vec<Export> {
        if import.name == "*" {
            return self.module(module, &import.path).map(|source| self.exports(&source, prefix)).unwrap_or_default();
        }
        match self.resolve(module, &import.path) {
            Some(definition) => self.named(format!("{prefix}{}", import.name), definition),
            // A declaration of another crate, or of a macro.
            None => {
                let definition = import.path.join("::");
                vec![Export { path: format!("{prefix}{}", import.name), definition, features: Features::new() }]
            }
        }
    }

    /// An item under its name for users; of a module, all its items.
    fn named(&self, path: String, definition: String) -> Vec<Export> {
        match self.modules.contains_key(&definition) {
            true => self.exports(&definition, &format!("{path}::")),
            false => vec![Export { path, definition, features: Features::new() }],
        }
    }
}

pub(crate) fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The names of a `use` with their paths.
fn imports(tree: &UseTree) -> Vec<Import> {
    let import = |path: String, name: String| vec![Import { path: vec![path], name }];
    match tree {
        UseTree::Path(path) => {
            let mut below = imports(&path.tree);
            for import in &mut below {
                import.path.insert(0, path.ident.to_string());
                if import.name == "self" {
                    import.name = path.ident.to_string();
                }
            }
            below
        }
        UseTree::Name(name) => import(name.ident.to_string(), name.ident.to_string()),
        UseTree::Rename(name) => import(name.ident.to_string(), name.rename.to_string()),
        UseTree::Glob(_) => vec![Import { path: Vec::new(), name: "*".into() }],
        UseTree::Group(group) => group.items.iter().flat_map(imports).collect(),
    }
}
