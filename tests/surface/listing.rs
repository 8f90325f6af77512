//! The lines of a listing: one per item, field, variant and method, sorted by path.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proc_macro2::{Delimiter, TokenTree};
use syn::{
    Attribute, Fields, Generics, ImplItem, Item, ItemEnum, ItemImpl, ItemMacro, ItemStruct, ItemTrait, PathArguments,
    Signature, TraitItem, Type,
};

use super::cfg::{Features, features};
use super::compact::compact;
use super::source::{Export, Source, is_public};

/// The public surface of the crate in a `src` folder.
pub(crate) fn of_crate(folder: &Path) -> Vec<String> {
    let source = Source::read(folder);
    let exports = source.exports("crate", "");
    let mut listing = Listing::default();
    for export in &exports {
        listing.declaration(export, source.item(&export.definition));
    }
    let public = exports.iter().map(|export| (export.definition.as_str(), export)).collect();
    for (module, items) in &source.modules {
        for item in items {
            match item {
                Item::Impl(item) => listing.implementation(&Names { source: &source, public: &public, module }, item),
                Item::Macro(item) => listing.macro_item(item),
                _ => {}
            }
        }
    }
    listing.lines.into_iter().map(|(_, line)| line).collect()
}

/// What the names in a module stand for.
struct Names<'a> {
    source: &'a Source,
    public: &'a BTreeMap<&'a str, &'a Export>,
    module: &'a str,
}

impl Names<'_> {
    /// The item that users see at a path: `None` if it is private, `Some(None)` if it is not declared in the sources,
    /// but in another crate or by a macro.
    fn find(&self, path: &syn::Path) -> Option<Option<&Export>> {
        let path: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        match self.source.resolve(self.module, &path) {
            None => Some(None),
            Some(definition) => self.public.get(definition.as_str()).map(|export| Some(*export)),
        }
    }
}

/// Lines with the path that sorts them.
#[derive(Default)]
struct Listing {
    lines: BTreeSet<(String, String)>,
}

impl Listing {
    fn add(&mut self, path: &str, line: String, features: &Features) {
        let names: Vec<&str> = features.iter().map(String::as_str).collect();
        let features = if names.is_empty() { String::new() } else { format!(" [{}]", names.join(", ")) };
        self.lines.insert((path.into(), line + &features));
    }

    fn declaration(&mut self, export: &Export, item: Option<&Item>) {
        let Export { path, features, .. } = export;
        let line = match item {
            Some(Item::Fn(item)) => signature(path, &item.sig),
            Some(Item::Const(item)) => format!("const {path}: {}", compact(&item.ty)),
            Some(Item::Static(item)) => format!("static {path}: {}", compact(&item.ty)),
            Some(Item::Type(item)) => format!("type {path}{} = {}", compact(&item.generics), compact(&item.ty)),
            Some(Item::Struct(item)) => self.structure(export, item),
            Some(Item::Enum(item)) => self.enumeration(export, item),
            Some(Item::Trait(item)) => self.interface(export, item),
            _ => format!("use {path} = {}", export.definition),
        };
        self.add(path, line, features);
    }

    fn structure(&mut self, Export { path, features, .. }: &Export, item: &ItemStruct) -> String {
        let fields = match &item.fields {
            Fields::Named(fields) => {
                for field in fields.named.iter().filter(|field| is_public(&field.vis)) {
                    let path = format!("{path}.{}", compact(&field.ident));
                    self.add(&path, format!("{path}: {}", compact(&field.ty)), features);
                }
                if fields.named.iter().all(|field| is_public(&field.vis)) { "" } else { " { .. }" }.into()
            }
            Fields::Unnamed(fields) => {
                let shown = |field: &syn::Field| if is_public(&field.vis) { compact(&field.ty) } else { "_".into() };
                format!("({})", fields.unnamed.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
            Fields::Unit => String::new(),
        };
        format!("struct {path}{}{fields}{}", generics(&item.generics), traits(&item.attrs))
    }

    fn enumeration(&mut self, Export { path, features, .. }: &Export, item: &ItemEnum) -> String {
        for variant in &item.variants {
            let mut fields = variant.fields.clone();
            fields.iter_mut().for_each(|field| field.attrs.clear());
            let path = format!("{path}::{}", variant.ident);
            let space = if matches!(fields, Fields::Named(_)) { " " } else { "" };
            self.add(&path, format!("{path}{space}{}", compact(&fields)).replace(", }", " }"), features);
        }
        format!("enum {path}{}{}", generics(&item.generics), traits(&item.attrs))
    }

    fn interface(&mut self, Export { path, features, .. }: &Export, item: &ItemTrait) -> String {
        for member in &item.items {
            let provided = |is_provided: bool| if is_provided { " (provided)" } else { "" };
            let (name, line) = match member {
                TraitItem::Fn(member) => {
                    let path = format!("{path}::{}", member.sig.ident);
                    (&member.sig.ident, signature(&path, &member.sig) + provided(member.default.is_some()))
                }
                TraitItem::Type(member) => {
                    let bounds = compact(&member.bounds);
                    let bounds = if bounds.is_empty() { bounds } else { format!(": {bounds}") };
                    (&member.ident, format!("type {path}::{}{bounds}", member.ident))
                }
                TraitItem::Const(member) => {
                    (&member.ident, format!("const {path}::{}: {}", member.ident, compact(&member.ty)))
                }
                _ => continue,
            };
            self.add(&format!("{path}::{name}"), line, features);
        }
        let bounds = compact(&item.supertraits);
        let bounds = if bounds.is_empty() { bounds } else { format!(": {bounds}") };
        format!("trait {path}{}{bounds}", generics(&item.generics))
    }

    /// An implementation of a public trait for a public type, or the public functions of a public type.
    fn implementation(&mut self, names: &Names, item: &ItemImpl) {
        let type_path = match &*item.self_ty {
            Type::Path(path) => Some(&path.path),
            _ => None,
        };
        let Some(found) = type_path.map_or(Some(None), |path| names.find(path)) else { return };
        let written = compact(&item.self_ty);
        let path = found.map_or(written.as_str(), |export| &export.path);
        let mut needed = features(&item.attrs).unwrap_or_default();
        needed.extend(found.map(|export| export.features.clone()).unwrap_or_default());
        let heading = format!("impl{}", compact(&item.generics));
        let limits = compact(&item.generics.where_clause);
        let line = match &item.trait_ {
            Some((_, name, _)) if names.find(name).is_some() => {
                format!("{heading} {} for {written} {limits}", compact(name))
            }
            Some(_) => return,
            None => {
                let arguments = type_path.and_then(|path| path.segments.last()).map(|segment| &segment.arguments);
                self.members(path, arguments, &needed, item);
                format!("{heading} {written} {limits}")
            }
        };
        if item.trait_.is_some() || !item.generics.params.is_empty() {
            self.add(path, line.trim_end().into(), &needed);
        }
    }

    /// The public functions and constants of a type.
    fn members(&mut self, path: &str, arguments: Option<&PathArguments>, needed: &Features, item: &ItemImpl) {
        let owner = format!("{path}{}", compact(&arguments));
        for member in &item.items {
            let (attributes, name, line) = match member {
                ImplItem::Fn(member) if is_public(&member.vis) => {
                    let name = &member.sig.ident;
                    (&member.attrs, name, signature(&format!("{owner}::{name}"), &member.sig))
                }
                ImplItem::Const(member) if is_public(&member.vis) => {
                    let name = &member.ident;
                    (&member.attrs, name, format!("const {owner}::{name}: {}", compact(&member.ty)))
                }
                _ => continue,
            };
            if let Some(features) = features(attributes) {
                self.add(&format!("{path}::{name}"), line, &needed.union(&features).cloned().collect());
            }
        }
    }

    /// The call of a macro, or the public items in the definition of one.
    fn macro_item(&mut self, item: &ItemMacro) {
        let needed = features(&item.attrs).unwrap_or_default();
        let mut tokens = item.mac.tokens.clone();
        let Some(name) = &item.ident else {
            tokens = tokens.into_iter().filter(|token| !is_attribute(token)).collect();
            let name = format!("{}!", compact(&item.mac.path));
            return self.add(&name, format!("{name} {{ {} }}", compact(&tokens)), &needed);
        };
        for public in compact(&tokens).split(" pub ").skip(1) {
            let declaration = public.split(['{', ';']).next().unwrap_or_default().trim_end();
            self.add(&format!("{name}!"), format!("macro {name}!: {declaration}"), &needed);
        }
    }
}

/// Whether a token is part of `#[…]`, such as a doc comment.
fn is_attribute(token: &TokenTree) -> bool {
    match token {
        TokenTree::Punct(mark) => mark.as_char() == '#',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Bracket,
        _ => false,
    }
}

/// A signature with the function's path in place of its name. That a parameter is `mut` does not concern a caller.
fn signature(path: &str, signature: &Signature) -> String {
    let text = compact(signature).replace("(mut ", "(").replace(", mut ", ", ");
    text.replacen(&format!("fn {}", signature.ident), &format!("fn {path}"), 1)
}

fn generics(generics: &Generics) -> String {
    format!("{} {}", compact(generics), compact(&generics.where_clause)).trim_end().into()
}

/// `#[non_exhaustive]` and the derived traits.
fn traits(attributes: &[Attribute]) -> String {
    let shown = attributes.iter().filter_map(|attribute| match attribute.path() {
        path if path.is_ident("non_exhaustive") => Some(" (non_exhaustive)".into()),
        path if path.is_ident("derive") => Some(format!(" {}", compact(&attribute.meta))),
        _ => None,
    });
    shown.collect()
}
