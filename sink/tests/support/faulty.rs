//! A lake whose groups can fail to close, and whose claims can take their time.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use forebay_broker::Offset;
use forebay_sink::sinks::{Added, Claim, Group, GroupSpec, Resume, Row, Sealed, Sink, SinkError, lake::LakeSink};
use tokio::time::Instant;

#[derive(Default)]
pub struct Faults {
    seals: AtomicU32,
    claims_take: Mutex<Duration>,
    full_until: Mutex<Option<Instant>>,
}

impl Faults {
    /// So many groups can't be closed, for want of disk space say.
    pub fn fail_seals(&self, count: u32) {
        self.seals.store(count, Ordering::SeqCst);
    }

    /// No row can be encoded for so long.
    pub fn disk_full(&self, time: Duration) {
        *self.full_until.lock().unwrap() = Some(Instant::now() + time);
    }

    /// True once every such failure has happened.
    pub fn have_happened(&self) -> bool {
        self.seals.load(Ordering::SeqCst) == 0
    }

    /// Every claim from now on takes so long.
    pub fn slow_claims(&self, time: Duration) {
        *self.claims_take.lock().unwrap() = time;
    }
}

pub struct FaultySink {
    pub lake: LakeSink,
    pub faults: Arc<Faults>,
}

#[async_trait::async_trait]
impl Sink for FaultySink {
    fn destination(&self) -> String {
        self.lake.destination()
    }
    async fn check(&self) -> Result<(), SinkError> {
        self.lake.check().await
    }
    async fn resume_from(&self, claim: &Claim) -> Result<Resume, SinkError> {
        let time = *self.faults.claims_take.lock().unwrap();
        tokio::time::sleep(time).await;
        self.lake.resume_from(claim).await
    }
    async fn rebase(&self, claim: &Claim) -> Result<Resume, SinkError> {
        self.lake.rebase(claim).await
    }
    async fn adopt(&self, claim: &Claim, replace: bool) -> Result<bool, SinkError> {
        self.lake.adopt(claim, replace).await
    }
    fn cfg(&self) -> &str {
        self.lake.cfg()
    }
    async fn keep_cfg(&self) -> Result<(), SinkError> {
        self.lake.keep_cfg().await
    }
    fn open(&self, spec: &GroupSpec) -> Result<Box<dyn Group>, SinkError> {
        let group = self.lake.open(spec)?;
        Ok(Box::new(FaultyGroup { group, faults: Arc::clone(&self.faults) }))
    }
}

struct FaultyGroup {
    group: Box<dyn Group>,
    faults: Arc<Faults>,
}

impl Group for FaultyGroup {
    fn add(&mut self, rows: &[Row]) -> Result<Added, SinkError> {
        if self.faults.full_until.lock().unwrap().is_some_and(|until| Instant::now() < until) {
            return Err(full());
        }
        self.group.add(rows)
    }
    fn is_full_for(&self, schema_ids: &BTreeSet<u32>) -> bool {
        self.group.is_full_for(schema_ids)
    }
    fn rows(&self) -> u64 {
        self.group.rows()
    }
    fn bytes(&self) -> usize {
        self.group.bytes()
    }
    fn memory(&self) -> usize {
        self.group.memory()
    }
    fn files(&self) -> usize {
        self.group.files()
    }
    fn seal(self: Box<Self>, end: Offset) -> Result<Box<dyn Sealed>, SinkError> {
        let less = |left: u32| left.checked_sub(1);
        if self.faults.seals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Err(full());
        }
        self.group.seal(end)
    }
}

fn full() -> SinkError {
    SinkError::Retry { why: "no space left on device".to_owned(), after: None }
}
