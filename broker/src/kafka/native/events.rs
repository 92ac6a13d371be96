//! What a consumer's queue tells, as plain events.

use std::{
    cell::RefCell,
    ffi::CStr,
    ptr::NonNull,
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    bindings::{self, rd_kafka_event_t, rd_kafka_queue_t, rd_kafka_resp_err_t},
    client::Client,
    error::RDKafkaErrorCode,
};

use super::{Element, elements, failure, message, text};
use crate::{Record, TopicPartition, sync::lock};

/// One thing that happened to a consumer.
#[derive(Debug)]
pub(in crate::kafka) enum Event {
    /// A record.
    Record(Record),
    /// Nothing stands above this offset now.
    End(TopicPartition, i64),
    /// A partition can't be read.
    PartitionFault(TopicPartition, RDKafkaErrorCode),
    /// The client has trouble; `fatal`: it is of no use any more.
    Fault { code: RDKafkaErrorCode, fatal: bool, why: String },
    /// Partitions to take.
    Assign(Vec<Element>),
    /// Partitions to give back.
    Revoke(Vec<Element>),
    /// Nothing to act on.
    Other,
}

/// A reference to a queue of the library.
#[derive(Debug)]
struct Queue(NonNull<rd_kafka_queue_t>);

// SAFETY: the library's queues may be used and let go by any thread.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and goes once.
        unsafe { bindings::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Ends a wait of [`Events::poll`] from another thread.
#[derive(Clone, Debug, Default)]
pub(in crate::kafka) struct Waker(Arc<Mutex<Option<Queue>>>);

impl Waker {
    pub fn wake(&self) {
        if let Some(queue) = &*lock(&self.0) {
            // SAFETY: the reference is alive while the lock is held.
            unsafe { bindings::rd_kafka_queue_yield(queue.0.as_ptr()) }
        }
    }
}

/// The events of a consumer. Let go of it before the consumer.
pub(in crate::kafka) struct Events<'c, C: ClientContext> {
    client: &'c Client<C>,
    queue: Queue,
    waker: Waker,
    names: RefCell<message::Names>,
}

impl<'c, C: ClientContext> Events<'c, C> {
    /// Of a client that was made as a consumer with a group; `None` for others.
    pub fn of(client: &'c Client<C>, waker: Waker) -> Option<Self> {
        // SAFETY: the client is alive; each call gives a reference of its own.
        let (ours, wakers) = unsafe {
            let get = || NonNull::new(bindings::rd_kafka_queue_get_consumer(client.native_ptr())).map(Queue);
            (get()?, get())
        };
        *lock(&waker.0) = wakers;
        Some(Self { client, queue: ours, waker, names: RefCell::default() })
    }

    /// The next event within `wait`; `None` if there is none, or a [`Waker`] called.
    pub fn poll(&self, wait: Duration) -> Option<Event> {
        // SAFETY: the queue is ours and alive.
        let event = unsafe { bindings::rd_kafka_queue_poll(self.queue.0.as_ptr(), millis(wait)) };
        let event = Native(NonNull::new(event)?);
        Some(self.read(&event))
    }

    fn read(&self, event: &Native) -> Event {
        let at = event.0.as_ptr();
        // SAFETY (for all of this function): the event is alive until `event` goes, and what it gives out lives as long;
        // each call belongs to the type of event that was found.
        match unsafe { bindings::rd_kafka_event_type(at) } {
            bindings::RD_KAFKA_EVENT_FETCH => unsafe {
                let message = bindings::rd_kafka_event_message_next(at);
                if message.is_null() {
                    return Event::Other;
                }
                match failure((*message).err) {
                    None => Event::Record(message::record(message, &mut self.names.borrow_mut())),
                    Some(_) => Event::Other,
                }
            },
            bindings::RD_KAFKA_EVENT_ERROR => self.fault(event),
            bindings::RD_KAFKA_EVENT_REBALANCE => unsafe {
                let parts = elements(bindings::rd_kafka_event_topic_partition_list(at));
                match bindings::rd_kafka_event_error(at) {
                    rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Event::Assign(parts),
                    _ => Event::Revoke(parts),
                }
            },
            bindings::RD_KAFKA_EVENT_LOG => {
                log_line(self.client, event);
                Event::Other
            }
            _ => Event::Other,
        }
    }

    fn fault(&self, event: &Native) -> Event {
        let at = event.0.as_ptr();
        // SAFETY: an error event, alive; the partition it gives is ours to let go.
        unsafe {
            let Some(code) = failure(bindings::rd_kafka_event_error(at)) else { return Event::Other };
            let place = bindings::rd_kafka_event_topic_partition(at);
            if place.is_null() {
                let why = text(bindings::rd_kafka_event_error_string(at));
                return Event::Fault { code, fatal: bindings::rd_kafka_event_error_is_fatal(at) != 0, why };
            }
            let part = TopicPartition::new(text((*place).topic), (*place).partition);
            let offset = (*place).offset;
            bindings::rd_kafka_topic_partition_destroy(place);
            match code {
                RDKafkaErrorCode::PartitionEOF => Event::End(part, offset),
                code => Event::PartitionFault(part, code),
            }
        }
    }
}

impl<C: ClientContext> Drop for Events<'_, C> {
    fn drop(&mut self) {
        lock(&self.waker.0).take();
    }
}

/// Passes on the log lines that wait in the main queue of a client that nobody polls.
pub(in crate::kafka) fn drain<C: ClientContext>(client: &Client<C>) {
    // SAFETY: the client is alive; the reference is ours.
    let Some(queue) = NonNull::new(unsafe { bindings::rd_kafka_queue_get_main(client.native_ptr()) }).map(Queue) else {
        return;
    };
    // SAFETY: the queue is alive.
    while let Some(event) = NonNull::new(unsafe { bindings::rd_kafka_queue_poll(queue.0.as_ptr(), 0) }).map(Native) {
        // SAFETY: the event is alive.
        if unsafe { bindings::rd_kafka_event_type(event.0.as_ptr()) } == bindings::RD_KAFKA_EVENT_LOG {
            log_line(client, &event);
        }
    }
}

fn log_line<C: ClientContext>(client: &Client<C>, event: &Native) {
    let (mut facility, mut line, mut level) = (std::ptr::null(), std::ptr::null(), 0);
    // SAFETY: a log event, alive; what the pointers are set to lives as long.
    unsafe {
        let at = event.0.as_ptr();
        if bindings::rd_kafka_event_log(at, &raw mut facility, &raw mut line, &raw mut level) == 0 {
            let level = match level {
                0..=3 => rdkafka::config::RDKafkaLogLevel::Error,
                4 => rdkafka::config::RDKafkaLogLevel::Warning,
                5 | 6 => rdkafka::config::RDKafkaLogLevel::Info,
                _ => rdkafka::config::RDKafkaLogLevel::Debug,
            };
            let text = |text| CStr::from_ptr(text).to_string_lossy();
            client.context().log(level, text(facility).trim(), text(line).trim());
        }
    }
}

/// An event, let go when dropped.
pub(super) struct Native(pub NonNull<rd_kafka_event_t>);

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: ours, and goes once.
        unsafe { bindings::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// For the library's time-outs.
pub(super) fn millis(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
}
