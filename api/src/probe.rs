//! Whether the registry can be reached: one short question for all who ask at about the same time.

use std::time::Duration;

use forebay_avro::registry::{Registry, RegistryError};
use tokio::{sync::Mutex, time::Instant};

/// A registry that has not answered by then counts as away (fixed).
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long an answer is given to others too (fixed).
const SHARED_FOR: Duration = Duration::from_secs(2);

/// What was found last, and when. Whoever comes while the question is open waits for its answer.
#[derive(Debug, Default)]
pub(crate) struct Probe(Mutex<Option<(Instant, bool)>>);

impl Probe {
    /// Whether the registry answers, if only with a refusal.
    pub(crate) async fn answers(&self, registry: &dyn Registry) -> bool {
        let mut last = self.0.lock().await;
        if let Some((asked, answers)) = *last
            && asked.elapsed() < SHARED_FOR
        {
            return answers;
        }
        let asked = tokio::time::timeout(ANSWER_WITHIN, registry.compatibility(None)).await;
        let answers = !matches!(asked, Err(_) | Ok(Err(RegistryError::Unavailable(_))));
        *last = Some((Instant::now(), answers));
        answers
    }
}
