//! The storage of the activation cache: values on the host, by key and example, up to a bound on memory.
//!
//! A [`CacheKey`] names what is cached: the frozen activations at a site, or the products that follow from them. Under
//! a key there is at most one entry per example. Caches acquire the keys that they use and release them later. When the
//! memory is full, [`CacheStore`] evicts whole keys: first unused keys, then products in use if frozen activations need
//! the memory. It never evicts frozen activations in use; what does not fit is not stored.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ns_models::Site;

use crate::frozen_activations::FrozenTokens;
use crate::products::{ProductKey, Rows};

/// Bytes per value.
pub(crate) const VALUE: usize = size_of::<f32>();

/// An example as a model reads it. Its vectors depend on all fields, so it has an entry for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Example {
    /// Index in the data set.
    pub(crate) index: usize,
    /// Padded length of the sequence.
    pub(crate) seq: usize,
    /// Whether the device of the model has autodiff. Backends fuse some operations only without it, which rounds
    /// differently: what an evaluation computed would change the last bits of a training.
    pub(crate) autodiff: bool,
}

/// What is cached. Keys are ordered as they are evicted: products first, then by site from the embeddings upwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CacheKey {
    /// Products of these layers (Hugging Face names), which have neuron masks and read the vectors at this site.
    Products(Site, FrozenTokens, Arc<[String]>),
    /// The vectors at this site.
    Frozen(Site, FrozenTokens),
}

impl CacheKey {
    fn is_products(&self) -> bool {
        matches!(self, Self::Products(..))
    }
}

/// Cached values of all probes on one base model and one data set, up to a bound on memory.
#[derive(Debug)]
pub(crate) struct CacheStore {
    /// Upper bound on `used`, in bytes.
    bound: usize,
    /// Size of all entries, in bytes.
    used: usize,
    contents: BTreeMap<CacheKey, Contents>,
}

/// The entries of one key.
#[derive(Debug, Default)]
struct Contents {
    /// Number of caches that have acquired the key.
    users: usize,
    /// Whether new entries are rejected until all users have released the key.
    closed: bool,
    /// Size of the entries, in bytes.
    bytes: usize,
    /// Which products each entry holds; empty for frozen activations.
    product_keys: Vec<ProductKey>,
    entries: HashMap<Example, Rows>,
}

impl CacheStore {
    pub(crate) fn with_bytes(bound: usize) -> Self {
        Self { bound, used: 0, contents: BTreeMap::new() }
    }

    /// Size of all entries, in bytes.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Registers a user of a key, which protects its entries from eviction.
    pub(crate) fn acquire(&mut self, key: &CacheKey) {
        self.contents.entry(key.clone()).or_default().users += 1;
    }

    /// Unregisters a user of a key. The entries stay until the memory is needed.
    pub(crate) fn release(&mut self, key: &CacheKey) {
        if let Some(contents) = self.contents.get_mut(key) {
            contents.users = contents.users.saturating_sub(1);
            contents.closed &= contents.users > 0;
        }
    }

    /// Whether a key accepts new entries.
    pub(crate) fn is_open(&self, key: &CacheKey) -> bool {
        self.contents.get(key).is_none_or(|contents| !contents.closed)
    }

    /// Rejects new entries of a key until all its users have released it.
    pub(crate) fn close(&mut self, key: &CacheKey) {
        if let Some(contents) = self.contents.get_mut(key) {
            contents.closed = true;
        }
    }

    /// The entry of an example.
    pub(crate) fn get(&self, key: &CacheKey, example: Example) -> Option<Rows> {
        self.contents.get(key)?.entries.get(&example).cloned()
    }

    /// The entries of all these examples; `None` if one is missing.
    pub(crate) fn get_all(&self, key: &CacheKey, examples: &[Example]) -> Option<Vec<Rows>> {
        examples.iter().map(|example| self.get(key, *example)).collect()
    }

    /// Which products the entries of a key hold.
    pub(crate) fn product_keys(&self, key: &CacheKey) -> &[ProductKey] {
        self.contents.get(key).map_or(&[], |contents| &contents.product_keys)
    }

    /// The last site before `site` at which the vectors of all tokens are cached for all these examples, with the
    /// entries.
    pub(crate) fn highest_below(&self, site: Site, examples: &[Example]) -> Option<(Site, Vec<Rows>)> {
        self.contents.keys().rev().find_map(|key| match key {
            CacheKey::Frozen(lower, FrozenTokens::All) if *lower < site => Some((*lower, self.get_all(key, examples)?)),
            _ => None,
        })
    }

    /// Stores the entry of an example if it fits, after evicting entries of other keys if needed.
    ///
    /// All entries of a key hold the same products. Which products a forward pass computes may depend on the token
    /// mask; an entry with other products than the first one closes the key. So does a product that does not fit.
    pub(crate) fn insert(&mut self, key: &CacheKey, product_keys: &[ProductKey], example: Example, rows: Rows) {
        let bytes = VALUE * rows.iter().map(Vec::len).sum::<usize>();
        let contents = self.contents.entry(key.clone()).or_default();
        if contents.entries.is_empty() {
            contents.product_keys = product_keys.into();
        }
        contents.closed |= contents.product_keys != product_keys;
        if contents.closed || contents.entries.contains_key(&example) {
            return;
        }
        if !self.make_room(key, bytes) {
            if key.is_products() {
                self.close(key);
            }
            return;
        }
        if let Some(contents) = self.contents.get_mut(key) {
            contents.entries.insert(example, rows);
            contents.bytes += bytes;
            self.used += bytes;
        }
    }

    /// Evicts other keys until `bytes` more bytes fit. Returns false, and evicts nothing, if they cannot fit.
    ///
    /// A cached product saves one matrix product, but cached frozen activations save all blocks below. So frozen
    /// activations evict products even while those are in use, and products evict unused products only. An evicted key
    /// in use is closed; otherwise its entries would compete for the same memory again.
    fn make_room(&mut self, key: &CacheKey, bytes: usize) -> bool {
        let is_frozen = !key.is_products();
        let is_evictable = |other: &CacheKey, contents: &Contents| {
            other != key
                && match contents.users {
                    0 => other.is_products() || is_frozen,
                    _ => other.is_products() && is_frozen,
                }
        };
        let mut evictable: Vec<(bool, CacheKey, usize)> = Vec::new();
        for (other, contents) in self.contents.iter().filter(|(other, contents)| is_evictable(other, contents)) {
            evictable.push((contents.users > 0, other.clone(), contents.bytes));
        }
        let evictable_bytes: usize = evictable.iter().map(|(_, _, bytes)| bytes).sum();
        if self.used - evictable_bytes + bytes > self.bound {
            return false;
        }
        evictable.sort();
        for (in_use, other, _) in evictable {
            if self.used + bytes <= self.bound {
                break;
            }
            self.evict(&other, in_use);
        }
        true
    }

    fn evict(&mut self, key: &CacheKey, close: bool) {
        if let Some(contents) = self.contents.get_mut(key) {
            self.used -= contents.bytes;
            *contents = Contents { users: contents.users, closed: close, ..Contents::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen(name: &str) -> CacheKey {
        CacheKey::Frozen(name.parse().unwrap(), FrozenTokens::All)
    }

    fn products(name: &str) -> CacheKey {
        CacheKey::Products(name.parse().unwrap(), FrozenTokens::All, Arc::default())
    }

    fn example(index: usize) -> Example {
        Example { index, seq: 1, autodiff: false }
    }

    /// Inserts an entry of one value for each example.
    fn insert(store: &mut CacheStore, key: &CacheKey, examples: std::ops::Range<usize>) {
        examples
            .for_each(|example| store.insert(key, &[], self::example(example), Arc::new(vec![vec![example as f32]])));
    }

    /// Number of entries of a key.
    fn count(store: &CacheStore, key: &CacheKey) -> usize {
        (0..100).filter(|example| store.get(key, self::example(*example)).is_some()).count()
    }

    #[test]
    fn entries_in_use_stay_and_entries_that_do_not_fit_are_not_stored() {
        let (mut store, key) = (CacheStore::with_bytes(3 * VALUE), frozen("mlp_stream_0"));
        store.acquire(&key);
        insert(&mut store, &key, 0..5);
        assert_eq!((count(&store, &key), store.used()), (3, 3 * VALUE));
        assert_eq!(*store.get(&key, example(1)).unwrap(), [[1.0]]);
        let other = frozen("mlp_stream_1");
        store.acquire(&other);
        insert(&mut store, &other, 0..1);
        assert_eq!((count(&store, &key), count(&store, &other)), (3, 0));
    }

    #[test]
    fn unused_keys_are_evicted_lowest_site_first() {
        let mut store = CacheStore::with_bytes(4 * VALUE);
        let [low, middle, high] = ["mlp_stream_0", "mlp_stream_1", "mlp_stream_2"].map(frozen);
        for key in [&middle, &low] {
            store.acquire(key);
            insert(&mut store, key, 0..2);
            store.release(key);
        }
        insert(&mut store, &high, 0..1);
        assert_eq!([&low, &middle, &high].map(|key| count(&store, key)), [0, 2, 1]);
        assert_eq!(store.used(), 3 * VALUE);
    }

    #[test]
    fn frozen_activations_evict_products_but_not_vice_versa() {
        let mut store = CacheStore::with_bytes(4 * VALUE);
        let (frozen, products) = (frozen("mlp_stream_0"), products("mlp_stream_0"));
        store.acquire(&frozen);
        store.acquire(&products);
        insert(&mut store, &frozen, 0..2);
        insert(&mut store, &products, 0..2);
        assert_eq!((count(&store, &frozen), count(&store, &products)), (2, 2));
        insert(&mut store, &frozen, 2..3);
        assert_eq!((count(&store, &frozen), count(&store, &products)), (3, 0));
        assert!(!store.is_open(&products), "an evicted key in use stays closed");
        insert(&mut store, &products, 0..1);
        assert_eq!(count(&store, &products), 0);
        store.release(&products);
        assert!(store.is_open(&products));
    }

    #[test]
    fn the_highest_site_below_has_an_entry_for_every_example() {
        let mut store = CacheStore::with_bytes(100);
        insert(&mut store, &frozen("mlp_stream_0"), 0..3);
        insert(&mut store, &frozen("mlp_stream_1"), 0..2);
        let below = |site: &str, examples: &[usize]| {
            let examples: Vec<Example> = examples.iter().map(|index| example(*index)).collect();
            store.highest_below(site.parse().unwrap(), &examples).map(|(site, _)| site.to_string())
        };
        assert_eq!(below("mlp_stream_5", &[0, 1]).unwrap(), "mlp_stream_1");
        assert_eq!(below("mlp_stream_5", &[0, 2]).unwrap(), "mlp_stream_0");
        assert_eq!(below("mlp_stream_1", &[0]).unwrap(), "mlp_stream_0");
        assert_eq!(below("mlp_stream_5", &[9]), None);
        let with_autodiff = Example { autodiff: true, ..example(0) };
        assert!(store.get(&frozen("mlp_stream_0"), with_autodiff).is_none(), "training has entries of its own");
    }
}
