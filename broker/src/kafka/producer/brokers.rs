//! Which brokers the producer reaches, by what librdkafka's statistics tell from time to time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use serde::Deserialize;

use crate::sync::lock;

/// The part of the statistics that is read.
#[derive(Deserialize)]
struct Statistics {
    brokers: BTreeMap<String, Told>,
}

/// What they tell of a broker.
#[derive(Debug, Deserialize)]
struct Told {
    /// Negative where the cluster has not told it: of an address in the settings.
    nodeid: i32,
    state: String,
    /// Connections that were tried.
    connects: u32,
}

impl Told {
    fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "UP" | "REAUTH")
    }

    /// Not connected, and not tried.
    fn is_left_alone(&self) -> bool {
        self.state == "INIT"
    }
}

/// What is known of a broker.
#[derive(Debug)]
struct Broker {
    /// `None`: not known, for nothing was to be sent there.
    up: Option<bool>,
    connects: u32,
    /// The cluster names it among those that serve.
    listed: bool,
}

impl Broker {
    /// The client connects where it has something to send. So of a broker without a connection only a try that failed
    /// tells that it is down: closed as idle it is in the same state. Where nothing is to be sent any more that is not
    /// known for long: the cluster lists it, as somebody who is reached (`listing`) says.
    fn judged(before: Option<&Self>, told: &Told, listing: bool) -> Self {
        let tried = told.connects != before.map_or(0, |before| before.connects);
        let up = match before.and_then(|before| before.up) {
            _ if told.is_up() => Some(true),
            _ if tried => Some(false),
            Some(false) if listing && told.is_left_alone() => None,
            before => before,
        };
        Self { up, connects: told.connects, listed: true }
    }
}

/// The brokers of a cluster, as one client sees them.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Brokers(Mutex<BTreeMap<i32, Broker>>);

impl Brokers {
    /// Takes the statistics in.
    pub fn look(&self, statistics: &[u8]) -> serde_json::Result<()> {
        let Statistics { brokers } = serde_json::from_slice(statistics)?;
        let mut known = lock(&self.0);
        let listing = brokers.values().any(Told::is_up);
        let mut now = BTreeMap::new();
        for told in brokers.into_values().filter(|told| told.nodeid >= 0) {
            // A broker on its way out may be told of beside the one that takes its place.
            if told.is_up() || !now.contains_key(&told.nodeid) {
                let before = known.get(&told.nodeid).filter(|before| before.listed);
                now.insert(told.nodeid, Broker::judged(before, &told, listing));
            }
        }
        // A broker that has been down for some seconds is not listed any more.
        let unlisted = known.keys().filter(|id| !now.contains_key(id)).copied().collect::<Vec<_>>();
        now.extend(unlisted.into_iter().map(|id| (id, Broker { up: Some(false), connects: 0, listed: false })));
        *known = now;
        Ok(())
    }

    /// Forgets brokers that left the cluster: it does not list them, and `holders`, all to which partitions of our topics
    /// are assigned, leaves them out too.
    pub fn forget_all_but(&self, holders: &BTreeSet<i32>) {
        lock(&self.0).retain(|id, broker| broker.listed || holders.contains(id));
    }

    /// Whether each is up, by its id. Those that nothing was to be sent to are left out.
    pub fn up(&self) -> BTreeMap<i32, bool> {
        lock(&self.0).iter().filter_map(|(id, broker)| Some((*id, broker.up?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statistics as librdkafka writes them, of brokers by id, state and number of connections that were tried.
    fn told(brokers: &[(i32, &str, u32)]) -> Vec<u8> {
        let broker = |(nodeid, state, connects): &(i32, &str, u32)| {
            format!(
                r#""127.0.0.1:9092/{nodeid}": {{ "name":"127.0.0.1:9092/{nodeid}", "nodeid":{nodeid}, "source":"learned",
                "state":"{state}", "stateage":1, "connects":{connects}, "toppars":{{ "t-0": {{ "topic":"t" }} }} }}"#
            )
        };
        let brokers: Vec<_> = brokers.iter().map(broker).collect();
        format!(
            r#"{{ "name": "rdkafka#producer-2", "msg_cnt":0, "brokers":{{ {} }}, "topics":{{}} }}"#,
            brokers.join(",")
        )
        .into_bytes()
    }

    #[test]
    fn a_broker_is_judged_by_its_connection_or_by_tries_that_failed() {
        let looks: &[(&str, &str, u32, Option<bool>)] = &[
            ("nothing is sent there", "INIT", 0, None),
            ("still", "INIT", 0, None),
            ("connected", "UP", 1, Some(true)),
            ("closed as idle, and not tried again", "INIT", 1, Some(true)),
            ("tried again", "UP", 2, Some(true)),
            ("its identity is proved again", "REAUTH", 2, Some(true)),
            ("tried without success", "INIT", 5, Some(false)),
            ("waits for its next try", "TRY_CONNECT", 5, Some(false)),
            ("the next hangs", "CONNECT", 6, Some(false)),
            ("still", "CONNECT", 6, Some(false)),
            ("it is back", "UP", 7, Some(true)),
            ("counted anew, for it was listed anew", "CONNECT", 1, Some(false)),
            ("nothing is to be sent there now", "INIT", 1, None),
        ];
        let brokers = Brokers::default();
        for (what, state, connects, up) in looks {
            brokers.look(&told(&[(-1, "UP", 1), (3, state, *connects)])).unwrap();
            assert_eq!(brokers.up(), up.iter().map(|up| (3, *up)).collect(), "{what}");
        }
    }

    #[test]
    fn while_nobody_is_reached_all_stay_down() {
        let brokers = Brokers::default();
        brokers.look(&told(&[(1, "UP", 1), (2, "UP", 1)])).unwrap();
        brokers.look(&told(&[(1, "TRY_CONNECT", 3), (2, "TRY_CONNECT", 3)])).unwrap();
        brokers.look(&told(&[(1, "TRY_CONNECT", 9), (2, "INIT", 3)])).unwrap();
        assert_eq!(brokers.up(), [(1, false), (2, false)].into());
        brokers.look(&told(&[(1, "UP", 10), (2, "INIT", 3)])).unwrap();
        assert_eq!(brokers.up(), [(1, true)].into());
    }

    #[test]
    fn a_broker_that_is_not_listed_is_down_until_nothing_is_assigned_to_it() {
        let brokers = Brokers::default();
        brokers.look(&told(&[(1, "UP", 1), (2, "UP", 1), (3, "INIT", 0)])).unwrap();
        brokers.look(&told(&[(1, "UP", 1)])).unwrap();
        let shown = || brokers.up().into_iter().collect::<Vec<_>>();
        assert_eq!(shown(), [(1, true), (2, false), (3, false)]);
        brokers.forget_all_but(&[2].into());
        assert_eq!(shown(), [(1, true), (2, false)], "one that is listed need not hold anything");
        brokers.look(&told(&[(1, "UP", 1)])).unwrap();
        assert_eq!(shown(), [(1, true), (2, false)], "for as long as it takes");
        brokers.look(&told(&[(1, "UP", 1), (2, "INIT", 0)])).unwrap();
        assert_eq!(shown(), [(1, true)], "listed again, and nothing is to be sent there");
        brokers.look(&told(&[(1, "UP", 1), (2, "UP", 1)])).unwrap();
        brokers.look(&told(&[(1, "UP", 1)])).unwrap();
        brokers.forget_all_but(&[1].into());
        assert_eq!(shown(), [(1, true)], "it left");
    }

    #[test]
    fn what_is_no_statistics_changes_nothing() {
        let brokers = Brokers::default();
        brokers.look(&told(&[(1, "UP", 1)])).unwrap();
        for wrong in ["", "{}", r#"{"brokers": {"a": {}}}"#] {
            brokers.look(wrong.as_bytes()).unwrap_err();
            assert_eq!(brokers.up(), [(1, true)].into());
        }
    }
}
