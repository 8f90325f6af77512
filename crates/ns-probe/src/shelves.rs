//! What prefix caches hold, and what they give up for something else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ns_models::Site;

use crate::PrefixTokens;
use crate::output_masks::ProductKey;

/// Bytes.
pub(crate) const VALUE: usize = size_of::<f32>();

/// An example, and the length of its sequence.
pub(crate) type Example = (usize, usize);

/// What is kept of one example: a prefix, or products one a key; row by row.
pub(crate) type Rows = Arc<Vec<Vec<f32>>>;

/// Where something is kept, in the order in which it is given up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Shelf {
    /// What these layers with neuron masks multiply, which read the vectors at a site.
    Products(Site, PrefixTokens, Arc<[String]>),
    /// The vectors at a site.
    Prefixes(Site, PrefixTokens),
}

impl Shelf {
    fn is_of_products(&self) -> bool {
        matches!(self, Self::Products(..))
    }
}

/// Everything that is kept for the probes on one base and one set of data, up to a bound on memory.
#[derive(Debug)]
pub(crate) struct Shelves {
    /// Bytes.
    bound: usize,
    used: usize,
    shelves: BTreeMap<Shelf, Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    /// Caches that use it.
    users: usize,
    /// Whether there was no room for it.
    closed: bool,
    bytes: usize,
    /// Which products these are; none for prefixes.
    keys: Vec<ProductKey>,
    kept: HashMap<Example, Rows>,
}

impl Shelves {
    pub(crate) fn of_bytes(bound: usize) -> Self {
        Self { bound, used: 0, shelves: BTreeMap::new() }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Notes that a cache uses a shelf.
    pub(crate) fn take_up(&mut self, shelf: &Shelf) {
        self.shelves.entry(shelf.clone()).or_default().users += 1;
    }

    /// Notes that a cache uses it no more. It stays until its room is needed.
    pub(crate) fn leave(&mut self, shelf: &Shelf) {
        if let Some(contents) = self.shelves.get_mut(shelf) {
            contents.users = contents.users.saturating_sub(1);
            contents.closed &= contents.users > 0;
        }
    }

    /// Whether a shelf takes more.
    pub(crate) fn is_open(&self, shelf: &Shelf) -> bool {
        self.shelves.get(shelf).is_none_or(|contents| !contents.closed)
    }

    /// Takes no more on a shelf, as long as it has users.
    pub(crate) fn close(&mut self, shelf: &Shelf) {
        if let Some(contents) = self.shelves.get_mut(shelf) {
            contents.closed = true;
        }
    }

    /// What is known of an example.
    pub(crate) fn get(&self, shelf: &Shelf, example: Example) -> Option<Rows> {
        self.shelves.get(shelf)?.kept.get(&example).cloned()
    }

    /// What is known of examples, if it is known of all.
    pub(crate) fn all(&self, shelf: &Shelf, examples: &[Example]) -> Option<Vec<Rows>> {
        examples.iter().map(|example| self.get(shelf, *example)).collect()
    }

    /// Which products a shelf holds.
    pub(crate) fn keys(&self, shelf: &Shelf) -> &[ProductKey] {
        self.shelves.get(shelf).map_or(&[], |contents| &contents.keys)
    }

    /// The last site below another at which the vectors of all tokens of these examples are known.
    pub(crate) fn highest_below(&self, site: Site, examples: &[Example]) -> Option<(Site, Vec<Rows>)> {
        self.shelves.keys().rev().find_map(|shelf| match shelf {
            Shelf::Prefixes(lower, PrefixTokens::All) if *lower < site => Some((*lower, self.all(shelf, examples)?)),
            _ => None,
        })
    }

    /// Keeps what is known of an example, if there is or can be made room for it. Batches that read other tokens may
    /// multiply otherwise; a shelf that is given other products than its first takes no more.
    pub(crate) fn put(&mut self, shelf: &Shelf, keys: &[ProductKey], example: Example, rows: Rows) {
        let bytes = VALUE * rows.iter().map(Vec::len).sum::<usize>();
        let contents = self.shelves.entry(shelf.clone()).or_default();
        if contents.kept.is_empty() {
            contents.keys = keys.into();
        }
        contents.closed |= contents.keys != keys;
        if contents.closed || contents.kept.contains_key(&example) {
            return;
        }
        if !self.make_room(shelf, bytes) {
            if shelf.is_of_products() {
                self.close(shelf);
            }
            return;
        }
        if let Some(contents) = self.shelves.get_mut(shelf) {
            contents.kept.insert(example, rows);
            contents.bytes += bytes;
            self.used += bytes;
        }
    }

    /// Makes room by what nobody uses. A product saves one multiplication and a prefix all blocks below, so prefixes
    /// take the room of products in use, too; those are then computed again.
    fn make_room(&mut self, shelf: &Shelf, bytes: usize) -> bool {
        let is_prefix = !shelf.is_of_products();
        let gives_way = |other: &Shelf, contents: &Contents| {
            other != shelf
                && match contents.users {
                    0 => other.is_of_products() || is_prefix,
                    _ => other.is_of_products() && is_prefix,
                }
        };
        let mut giving: Vec<(bool, Shelf, usize)> = Vec::new();
        for (other, contents) in self.shelves.iter().filter(|(other, contents)| gives_way(other, contents)) {
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

    fn empty(&mut self, shelf: &Shelf, close: bool) {
        if let Some(contents) = self.shelves.get_mut(shelf) {
            self.used -= contents.bytes;
            *contents = Contents { users: contents.users, closed: close, ..Contents::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(name: &str) -> Shelf {
        Shelf::Prefixes(name.parse().unwrap(), PrefixTokens::All)
    }

    fn products(name: &str) -> Shelf {
        Shelf::Products(name.parse().unwrap(), PrefixTokens::All, Arc::default())
    }

    /// Keeps a value of each example.
    fn put(shelves: &mut Shelves, shelf: &Shelf, examples: std::ops::Range<usize>) {
        examples.for_each(|example| shelves.put(shelf, &[], (example, 1), Arc::new(vec![vec![example as f32]])));
    }

    fn count(shelves: &Shelves, shelf: &Shelf) -> usize {
        (0..100).filter(|example| shelves.get(shelf, (*example, 1)).is_some()).count()
    }

    #[test]
    fn what_is_in_use_stays_and_what_does_not_fit_is_left_out() {
        let (mut shelves, shelf) = (Shelves::of_bytes(3 * VALUE), prefixes("mlp_stream_0"));
        shelves.take_up(&shelf);
        put(&mut shelves, &shelf, 0..5);
        assert_eq!((count(&shelves, &shelf), shelves.used()), (3, 3 * VALUE));
        assert_eq!(*shelves.get(&shelf, (1, 1)).unwrap(), [[1.0]]);
        let other = prefixes("mlp_stream_1");
        shelves.take_up(&other);
        put(&mut shelves, &other, 0..1);
        assert_eq!((count(&shelves, &shelf), count(&shelves, &other)), (3, 0));
    }

    #[test]
    fn what_nobody_uses_makes_room_lowest_site_first() {
        let mut shelves = Shelves::of_bytes(4 * VALUE);
        let [low, middle, high] = ["mlp_stream_0", "mlp_stream_1", "mlp_stream_2"].map(prefixes);
        for shelf in [&middle, &low] {
            shelves.take_up(shelf);
            put(&mut shelves, shelf, 0..2);
            shelves.leave(shelf);
        }
        put(&mut shelves, &high, 0..1);
        assert_eq!([&low, &middle, &high].map(|shelf| count(&shelves, shelf)), [0, 2, 1]);
        assert_eq!(shelves.used(), 3 * VALUE);
    }

    #[test]
    fn products_give_way_to_prefixes_and_not_the_other_way_round() {
        let mut shelves = Shelves::of_bytes(4 * VALUE);
        let (prefixes, products) = (prefixes("mlp_stream_0"), products("mlp_stream_0"));
        shelves.take_up(&prefixes);
        shelves.take_up(&products);
        put(&mut shelves, &prefixes, 0..2);
        put(&mut shelves, &products, 0..2);
        assert_eq!((count(&shelves, &prefixes), count(&shelves, &products)), (2, 2));
        put(&mut shelves, &prefixes, 2..3);
        assert_eq!((count(&shelves, &prefixes), count(&shelves, &products)), (3, 0));
        assert!(!shelves.is_open(&products), "they would be in the way again");
        put(&mut shelves, &products, 0..1);
        assert_eq!(count(&shelves, &products), 0);
        shelves.leave(&products);
        assert!(shelves.is_open(&products));
    }

    #[test]
    fn the_highest_site_below_has_all_that_is_asked_for() {
        let mut shelves = Shelves::of_bytes(100);
        put(&mut shelves, &prefixes("mlp_stream_0"), 0..3);
        put(&mut shelves, &prefixes("mlp_stream_1"), 0..2);
        let below = |site: &str, examples: &[Example]| {
            shelves.highest_below(site.parse().unwrap(), examples).map(|(site, _)| site.to_string())
        };
        assert_eq!(below("mlp_stream_5", &[(0, 1), (1, 1)]).unwrap(), "mlp_stream_1");
        assert_eq!(below("mlp_stream_5", &[(0, 1), (2, 1)]).unwrap(), "mlp_stream_0");
        assert_eq!(below("mlp_stream_1", &[(0, 1)]).unwrap(), "mlp_stream_0");
        assert_eq!(below("mlp_stream_5", &[(9, 1)]), None);
    }
}
