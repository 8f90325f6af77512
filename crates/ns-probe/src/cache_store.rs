//! What frozen activations caches hold, and what they give up for something else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ns_models::Site;

use crate::frozen_activations::FrozenTokens;
use crate::products::{ProductKey, Rows};

/// Bytes.
pub(crate) const VALUE: usize = size_of::<f32>();

/// An example, and the length of its sequence.
pub(crate) type Example = (usize, usize);

/// Where something is kept, in the order in which it is given up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CacheKey {
    /// What these layers with neuron masks multiply, which read the vectors at a site.
    Products(Site, FrozenTokens, Arc<[String]>),
    /// The vectors at a site.
    Frozen(Site, FrozenTokens),
}

impl CacheKey {
    fn is_of_products(&self) -> bool {
        matches!(self, Self::Products(..))
    }
}

/// Everything that is kept for the probes on one base and one set of data, up to a bound on memory.
#[derive(Debug)]
pub(crate) struct CacheStore {
    /// Bytes.
    bound: usize,
    used: usize,
    store: BTreeMap<CacheKey, Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    /// Caches that use it.
    users: usize,
    /// Whether there was no room for it.
    closed: bool,
    bytes: usize,
    /// Which products these are; none for frozen activations.
    keys: Vec<ProductKey>,
    kept: HashMap<Example, Rows>,
}

impl CacheStore {
    pub(crate) fn with_bytes(bound: usize) -> Self {
        Self { bound, used: 0, store: BTreeMap::new() }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Notes that a cache uses a key.
    pub(crate) fn acquire(&mut self, key: &CacheKey) {
        self.store.entry(key.clone()).or_default().users += 1;
    }

    /// Notes that a cache uses it no more. It stays until its room is needed.
    pub(crate) fn release(&mut self, key: &CacheKey) {
        if let Some(contents) = self.store.get_mut(key) {
            contents.users = contents.users.saturating_sub(1);
            contents.closed &= contents.users > 0;
        }
    }

    /// Whether a key takes more.
    pub(crate) fn is_open(&self, key: &CacheKey) -> bool {
        self.store.get(key).is_none_or(|contents| !contents.closed)
    }

    /// Takes no more on a key, as long as it has users.
    pub(crate) fn close(&mut self, key: &CacheKey) {
        if let Some(contents) = self.store.get_mut(key) {
            contents.closed = true;
        }
    }

    /// What is known of an example.
    pub(crate) fn get(&self, key: &CacheKey, example: Example) -> Option<Rows> {
        self.store.get(key)?.kept.get(&example).cloned()
    }

    /// What is known of examples, if it is known of all.
    pub(crate) fn all(&self, key: &CacheKey, examples: &[Example]) -> Option<Vec<Rows>> {
        examples.iter().map(|example| self.get(key, *example)).collect()
    }

    /// Which products a key holds.
    pub(crate) fn keys(&self, key: &CacheKey) -> &[ProductKey] {
        self.store.get(key).map_or(&[], |contents| &contents.keys)
    }

    /// The last site below another at which the vectors of all tokens of these examples are known.
    pub(crate) fn highest_below(&self, site: Site, examples: &[Example]) -> Option<(Site, Vec<Rows>)> {
        self.store.keys().rev().find_map(|key| match key {
            CacheKey::Frozen(lower, FrozenTokens::All) if *lower < site => Some((*lower, self.all(key, examples)?)),
            _ => None,
        })
    }

    /// Keeps what is known of an example, if there is or can be made room for it. Batches that read other tokens may
    /// multiply otherwise; a key that is given other products than its first takes no more.
    pub(crate) fn put(&mut self, key: &CacheKey, keys: &[ProductKey], example: Example, rows: Rows) {
        let bytes = VALUE * rows.iter().map(Vec::len).sum::<usize>();
        let contents = self.store.entry(key.clone()).or_default();
        if contents.kept.is_empty() {
            contents.keys = keys.into();
        }
        contents.closed |= contents.keys != keys;
        if contents.closed || contents.kept.contains_key(&example) {
            return;
        }
        if !self.make_room(key, bytes) {
            if key.is_of_products() {
                self.close(key);
            }
            return;
        }
        if let Some(contents) = self.store.get_mut(key) {
            contents.kept.insert(example, rows);
            contents.bytes += bytes;
            self.used += bytes;
        }
    }

    /// Makes room by what nobody uses. A product saves one multiplication and a frozen activations all blocks below, so frozen activations
    /// take the room of products in use, too; those are then computed again.
    fn make_room(&mut self, key: &CacheKey, bytes: usize) -> bool {
        let is_prefix = !key.is_of_products();
        let gives_way = |other: &CacheKey, contents: &Contents| {
            other != key
                && match contents.users {
                    0 => other.is_of_products() || is_prefix,
                    _ => other.is_of_products() && is_prefix,
                }
        };
        let mut giving: Vec<(bool, CacheKey, usize)> = Vec::new();
        for (other, contents) in self.store.iter().filter(|(other, contents)| gives_way(other, contents)) {
            giving.push((contents.users > 0, other.clone(), contents.bytes));
        }
        let could_be: usize = giving.iter().map(|(_, _, bytes)| bytes).sum();
        if self.used - could_be + bytes > self.bound {
            return false;
        }
        giving.sort();
        for (in_use, other, _) in giving {
            if self.used + bytes <= self.bound {
                break;
            }
            self.empty(&other, in_use);
        }
        true
    }

    fn empty(&mut self, key: &CacheKey, close: bool) {
        if let Some(contents) = self.store.get_mut(key) {
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

    /// Keeps a value of each example.
    fn put(store: &mut CacheStore, key: &CacheKey, examples: std::ops::Range<usize>) {
        examples.for_each(|example| store.put(key, &[], (example, 1), Arc::new(vec![vec![example as f32]])));
    }

    fn count(store: &CacheStore, key: &CacheKey) -> usize {
        (0..100).filter(|example| store.get(key, (*example, 1)).is_some()).count()
    }

    #[test]
    fn what_is_in_use_stays_and_what_does_not_fit_is_left_out() {
        let (mut store, key) = (CacheStore::with_bytes(3 * VALUE), frozen("mlp_stream_0"));
        store.acquire(&key);
        put(&mut store, &key, 0..5);
        assert_eq!((count(&store, &key), store.used()), (3, 3 * VALUE));
        assert_eq!(*store.get(&key, (1, 1)).unwrap(), [[1.0]]);
        let other = frozen("mlp_stream_1");
        store.acquire(&other);
        put(&mut store, &other, 0..1);
        assert_eq!((count(&store, &key), count(&store, &other)), (3, 0));
    }

    #[test]
    fn what_nobody_uses_makes_room_lowest_site_first() {
        let mut store = CacheStore::with_bytes(4 * VALUE);
        let [low, middle, high] = ["mlp_stream_0", "mlp_stream_1", "mlp_stream_2"].map(frozen);
        for key in [&middle, &low] {
            store.acquire(key);
            put(&mut store, key, 0..2);
            store.release(key);
        }
        put(&mut store, &high, 0..1);
        assert_eq!([&low, &middle, &high].map(|key| count(&store, key)), [0, 2, 1]);
        assert_eq!(store.used(), 3 * VALUE);
    }

    #[test]
    fn products_give_way_to_prefixes_and_not_the_other_way_round() {
        let mut store = CacheStore::with_bytes(4 * VALUE);
        let (frozen, products) = (frozen("mlp_stream_0"), products("mlp_stream_0"));
        store.acquire(&frozen);
        store.acquire(&products);
        put(&mut store, &frozen, 0..2);
        put(&mut store, &products, 0..2);
        assert_eq!((count(&store, &frozen), count(&store, &products)), (2, 2));
        put(&mut store, &frozen, 2..3);
        assert_eq!((count(&store, &frozen), count(&store, &products)), (3, 0));
        assert!(!store.is_open(&products), "they would be in the way again");
        put(&mut store, &products, 0..1);
        assert_eq!(count(&store, &products), 0);
        store.release(&products);
        assert!(store.is_open(&products));
    }

    #[test]
    fn the_highest_site_below_has_all_that_is_asked_for() {
        let mut store = CacheStore::with_bytes(100);
        put(&mut store, &frozen("mlp_stream_0"), 0..3);
        put(&mut store, &frozen("mlp_stream_1"), 0..2);
        let below = |site: &str, examples: &[Example]| {
            store.highest_below(site.parse().unwrap(), examples).map(|(site, _)| site.to_string())
        };
        assert_eq!(below("mlp_stream_5", &[(0, 1), (1, 1)]).unwrap(), "mlp_stream_1");
        assert_eq!(below("mlp_stream_5", &[(0, 1), (2, 1)]).unwrap(), "mlp_stream_0");
        assert_eq!(below("mlp_stream_1", &[(0, 1)]).unwrap(), "mlp_stream_0");
        assert_eq!(below("mlp_stream_5", &[(9, 1)]), None);
    }
}
