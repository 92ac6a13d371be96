//! Who gets which partition. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::TopicPartition;

/// Number of a member within its group.
pub(super) type MemberId = u64;

/// Gives every partition to one of the members that may have it. Sticky: a partition stays with its owner unless that
/// owner has at least two more than another who may have it. Deterministic.
pub(super) fn assign(
    wanted: &BTreeMap<TopicPartition, BTreeSet<MemberId>>,
    owners: &BTreeMap<TopicPartition, MemberId>,
) -> BTreeMap<TopicPartition, MemberId> {
    let mut load: BTreeMap<MemberId, usize> = wanted.values().flatten().map(|&member| (member, 0)).collect();
    let mut target = BTreeMap::new();
    for (part, members) in wanted {
        if let Some(owner) = owners.get(part).filter(|owner| members.contains(owner)) {
            target.insert(part.clone(), *owner);
            *load.entry(*owner).or_default() += 1;
        }
    }
    for (part, members) in wanted {
        if !target.contains_key(part)
            && let Some(member) = least_loaded(members, &load)
        {
            target.insert(part.clone(), member);
            *load.entry(member).or_default() += 1;
        }
    }
    // Each move lowers the sum of squared loads, so this ends; the bound only guards against a mistake here.
    for _ in 0..wanted.len() {
        let Some((part, from, to)) = improvement(wanted, &target, &load) else { break };
        target.insert(part, to);
        *load.entry(from).or_default() -= 1;
        *load.entry(to).or_default() += 1;
    }
    target
}

fn least_loaded(members: &BTreeSet<MemberId>, load: &BTreeMap<MemberId, usize>) -> Option<MemberId> {
    members.iter().copied().min_by_key(|member| (load.get(member).copied().unwrap_or(0), *member))
}

/// A move from the most loaded owner that a less loaded member profits from.
fn improvement(
    wanted: &BTreeMap<TopicPartition, BTreeSet<MemberId>>,
    target: &BTreeMap<TopicPartition, MemberId>,
    load: &BTreeMap<MemberId, usize>,
) -> Option<(TopicPartition, MemberId, MemberId)> {
    let load_of = |member: &MemberId| load.get(member).copied().unwrap_or(0);
    target
        .iter()
        .rev()
        .filter_map(|(part, owner)| {
            let to = least_loaded(wanted.get(part)?, load)?;
            (load_of(owner) >= load_of(&to) + 2).then_some((part, *owner, to))
        })
        .max_by_key(|(_, owner, _)| load_of(owner))
        .map(|(part, owner, to)| (part.clone(), owner, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(n: i32) -> Vec<TopicPartition> {
        (0..n).map(|p| TopicPartition::new("t", p)).collect()
    }

    fn wanted(n: i32, members: &[MemberId]) -> BTreeMap<TopicPartition, BTreeSet<MemberId>> {
        parts(n).into_iter().map(|part| (part, members.iter().copied().collect())).collect()
    }

    fn counts(target: &BTreeMap<TopicPartition, MemberId>) -> BTreeMap<MemberId, usize> {
        target.values().fold(BTreeMap::new(), |mut counts, member| {
            *counts.entry(*member).or_default() += 1;
            counts
        })
    }

    #[test]
    fn a_second_member_takes_half_and_nothing_else_moves() {
        let first = assign(&wanted(4, &[1]), &BTreeMap::new());
        let second = assign(&wanted(4, &[1, 2]), &first);
        assert_eq!(counts(&second), [(1, 2), (2, 2)].into());
        assert_eq!(second.iter().filter(|(part, member)| first.get(part) != Some(*member)).count(), 2);
    }

    #[test]
    fn a_member_that_leaves_gives_its_partitions_to_the_others() {
        let before = assign(&wanted(6, &[1, 2, 3]), &BTreeMap::new());
        let after = assign(&wanted(6, &[1, 3]), &before);
        assert_eq!(counts(&after), [(1, 3), (3, 3)].into());
        assert!(before.iter().all(|(part, member)| *member == 2 || after.get(part) == Some(member)));
    }

    #[test]
    fn more_members_than_partitions_leaves_some_idle() {
        assert_eq!(counts(&assign(&wanted(1, &[1, 2]), &BTreeMap::new())), [(1, 1)].into());
        assert!(assign(&wanted(2, &[]), &BTreeMap::new()).is_empty());
    }

    proptest! {
        #[test]
        fn each_partition_has_one_rightful_owner_and_loads_differ_by_one(
            n in 0..40i32, members in proptest::collection::btree_set(1u64..9, 1..6), owners in proptest::collection::vec(1u64..12, 40),
        ) {
            let members: Vec<_> = members.into_iter().collect();
            let owners: BTreeMap<_, _> = parts(n).into_iter().zip(owners).collect();
            let target = assign(&wanted(n, &members), &owners);
            prop_assert_eq!(target.len(), n as usize);
            let mut counts = counts(&target);
            for member in &members { counts.entry(*member).or_default(); }
            prop_assert!(counts.keys().all(|m| members.contains(m)));
            let (min, max) = (counts.values().min().unwrap(), counts.values().max().unwrap());
            prop_assert!(max - min <= 1);
            prop_assert_eq!(assign(&wanted(n, &members), &target), target);
        }
    }
}
