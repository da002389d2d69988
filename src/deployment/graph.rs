//! Which service needs which: read from the compose file's `depends_on`, the one place where
//! it is written down, and asked for order, needs and the longest path.

use std::collections::{BTreeMap, BTreeSet};

/// The graph of the services of one deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    needs: BTreeMap<String, BTreeSet<String>>,
}

/// Services that need each other in a ring, the first repeated at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<String>);

impl Graph {
    /// A graph from each service and what it needs. Needs that are no services are kept out:
    /// compose itself refuses them with a better message.
    pub fn new(needs: impl IntoIterator<Item = (String, BTreeSet<String>)>) -> Self {
        let mut needs: BTreeMap<String, BTreeSet<String>> = needs.into_iter().collect();
        let names: BTreeSet<String> = needs.keys().cloned().collect();
        for needed in needs.values_mut() {
            needed.retain(|name| names.contains(name));
        }
        Self { needs }
    }

    /// All services, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.needs.keys().map(String::as_str)
    }

    /// What a service needs directly.
    pub fn needs(&self, name: &str) -> impl Iterator<Item = &str> {
        self.needs
            .get(name)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// What needs a service directly.
    pub fn dependants(&self, name: &str) -> impl Iterator<Item = &str> {
        self.needs
            .iter()
            .filter(move |(_, needs)| needs.contains(name))
            .map(|(dependant, _)| dependant.as_str())
    }

    /// How many services come one after the other behind this one, at most.
    pub fn height(&self, name: &str) -> usize {
        self.dependants(name)
            .map(|dependant| 1 + self.height(dependant))
            .max()
            .unwrap_or_default()
    }

    /// These services and everything they need, directly or not.
    pub fn with_needs<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        let mut open: Vec<&str> = names.into_iter().collect();
        let mut reached = BTreeSet::new();
        while let Some(name) = open.pop() {
            if reached.insert(name.to_owned()) {
                open.extend(self.needs(name));
            }
        }
        reached
    }

    /// The services in an order in which each comes after all it needs; within one level by
    /// name. A ring has no such order.
    pub fn order(&self) -> Result<Vec<String>, Cycle> {
        let mut order: Vec<String> = Vec::with_capacity(self.needs.len());
        let mut done: BTreeSet<&str> = BTreeSet::new();
        while order.len() < self.needs.len() {
            let level: Vec<&str> = self
                .names()
                .filter(|name| {
                    !done.contains(name) && self.needs(name).all(|need| done.contains(need))
                })
                .collect();
            if level.is_empty() {
                return Err(self.ring(&done));
            }
            order.extend(level.iter().map(|name| (*name).to_owned()));
            done.extend(level);
        }
        Ok(order)
    }

    /// Walks needs among what is not done until a name comes twice.
    fn ring(&self, done: &BTreeSet<&str>) -> Cycle {
        let mut path: Vec<&str> = Vec::new();
        let mut current = self.names().find(|name| !done.contains(name));
        while let Some(name) = current {
            if let Some(start) = path.iter().position(|seen| *seen == name) {
                let mut ring: Vec<String> = path[start..]
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect();
                ring.push(name.to_owned());
                return Cycle(ring);
            }
            path.push(name);
            current = self.needs(name).find(|need| !done.contains(need));
        }
        Cycle(Vec::new())
    }

    /// The chain of needs that took longest, in its order, and its length. `took` gives the time
    /// of one service in any unit; services without one do not count. No ring may be in it.
    pub fn longest_path(&self, took: &BTreeMap<String, u64>) -> (Vec<String>, u64) {
        let mut best: BTreeMap<String, (Vec<String>, u64)> = BTreeMap::new();
        for name in self.order().unwrap_or_default() {
            let Some(own) = took.get(&name) else { continue };
            let (mut path, length) = self
                .needs(&name)
                .filter_map(|need| best.get(need))
                .max_by_key(|(_, length)| *length)
                .cloned()
                .unwrap_or_default();
            path.push(name.clone());
            best.insert(name, (path, length + own));
        }
        best.into_values()
            .max_by_key(|(_, length)| *length)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn graph(pairs: &[(&str, &[&str])]) -> Graph {
        Graph::new(pairs.iter().map(|(name, needs)| {
            (
                (*name).to_owned(),
                needs.iter().map(|need| (*need).to_owned()).collect(),
            )
        }))
    }

    #[test]
    fn a_ring_is_named() {
        let ring = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]);
        assert_eq!(
            ring.order(),
            Err(Cycle(vec!["b".into(), "c".into(), "b".into()]))
        );
    }

    #[test]
    fn needs_reach_through() {
        let g = graph(&[
            ("es", &[]),
            ("mailroom", &["es"]),
            ("celery", &["mailroom"]),
            ("nginx", &["mailroom"]),
        ]);
        assert_eq!(
            g.with_needs(["celery"]).into_iter().collect::<Vec<_>>(),
            ["celery", "es", "mailroom"]
        );
    }

    #[test]
    fn the_longest_path_adds_up() {
        let g = graph(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])]);
        let took = [("a", 2), ("b", 5), ("c", 1), ("d", 1)]
            .into_iter()
            .map(|(name, t)| (name.to_owned(), t))
            .collect();
        assert_eq!(
            g.longest_path(&took),
            (vec!["a".into(), "b".into(), "d".into()], 8)
        );
    }

    proptest! {
        // Edges only from later to earlier numbers: no ring by construction.
        #[test]
        fn everything_comes_after_what_it_needs(edges in proptest::collection::vec((1u8..20, 0u8..20), 0..60)) {
            let mut needs: BTreeMap<String, BTreeSet<String>> =
                (0..20).map(|n| (format!("s{n:02}"), BTreeSet::new())).collect();
            for (from, to) in edges {
                let to = to % from;
                needs.get_mut(&format!("s{from:02}")).unwrap().insert(format!("s{to:02}"));
            }
            let g = Graph::new(needs);
            let order = g.order().unwrap();
            prop_assert_eq!(order.len(), 20);
            for (at, name) in order.iter().enumerate() {
                for need in g.needs(name) {
                    prop_assert!(order[..at].iter().any(|earlier| earlier == need));
                }
            }
        }

        #[test]
        fn a_ring_is_always_found(length in 1usize..8) {
            let g = Graph::new((0..length).map(|n| {
                (format!("s{n}"), BTreeSet::from([format!("s{}", (n + 1) % length)]))
            }));
            let Cycle(ring) = g.order().unwrap_err();
            prop_assert_eq!(ring.len(), length + 1);
            prop_assert_eq!(ring.first(), ring.last());
        }
    }
}
