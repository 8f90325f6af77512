//! Tests that `docs/api/<crate>.txt` lists the public surface of each library crate, so that a review shows its changes.
//!
//! The listing is computed from the sources, with all Cargo features. Limits: what a derive or a macro generates is not
//! expanded. Derives are named; of a macro of the crate, the `pub` items in its definition and its calls are listed.
//! Types are written as in the source, so an alias that is private is not resolved.
#![allow(clippy::unwrap_used)]

#[path = "surface/cfg.rs"]
mod cfg;
#[path = "surface/compact.rs"]
mod compact;
#[path = "surface/item.rs"]
mod item;
#[path = "surface/listing.rs"]
mod listing;
#[path = "surface/source.rs"]
mod source;

use std::{collections::BTreeSet, fs, path::Path};

const UPDATE: &str = "NS_UPDATE=1 cargo test --test surface";

/// Compares the listing of a crate with the kept one, or replaces it if `NS_UPDATE` is set.
fn check(name: &str) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = repository.join("docs/api").join(format!("{name}.txt"));
    let lines = listing::of_crate(&repository.join("crates").join(name).join("src"));
    let now = format!("# Public surface of {name}, all features. Update: {UPDATE}\n{}\n", lines.join("\n"));
    if std::env::var_os("NS_UPDATE").is_some() {
        return fs::write(&file, now).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let changes = changes(&kept, &now);
    assert!(kept == now, "the public surface of {name} changed:\n{changes}\nIf this is intended: {UPDATE}");
}

/// The lines that were removed (`-`) and added (`+`).
fn changes(kept: &str, now: &str) -> String {
    let [before, after] = [kept, now].map(|text| text.lines().collect::<BTreeSet<&str>>());
    let removed = before.difference(&after).map(|line| format!("- {line}"));
    removed.chain(after.difference(&before).map(|line| format!("+ {line}"))).collect::<Vec<_>>().join("\n")
}

#[test]
fn ns_models_is_as_listed() {
    check("ns-models");
}

#[test]
fn ns_circuit_is_as_listed() {
    check("ns-circuit");
}

#[test]
fn ns_probe_is_as_listed() {
    check("ns-probe");
}

#[test]
fn ns_train_is_as_listed() {
    check("ns-train");
}
