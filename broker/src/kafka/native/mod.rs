//! Calls of librdkafka that the safe client lacks: topic ids, the brokers of partitions, settings of topics one by one, offsets of groups, commits with an answer per partition,
//! ends of partitions with their topic, and whether a failed record may be stored. The only unsafe code of the project;
//! what it hands out is plain and owned.
#![allow(unsafe_code, reason = "the calls of a C library; each block says why it is sound")]

mod admin;
mod events;
mod message;

use std::{
    ffi::{CStr, c_char},
    sync::Arc,
};

#[cfg(any(test, feature = "conformance"))]
use rdkafka::{ClientContext, client::Client};
use rdkafka::{
    bindings,
    bindings::{rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t},
    error::RDKafkaErrorCode,
    message::BorrowedMessage,
};

pub(super) use self::{
    admin::{Refused, TopicDescription, alter_group_offsets, commit, delete_group_offsets, describe_topics, set_topic},
    events::{Event, Events, Waker, drain},
};

/// One line of a list of partitions, as librdkafka answers with.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub topic: Arc<str>,
    pub partition: i32,
    /// An offset, or one of librdkafka's negative words.
    pub offset: i64,
    pub metadata: String,
    pub error: Option<RDKafkaErrorCode>,
}

/// Whether a record that failed may stand in the log all the same.
pub(super) fn may_be_stored(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is alive as long as the borrow.
    let status = unsafe { bindings::rd_kafka_message_status(message.ptr()) };
    status != bindings::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// Raises a fatal error in a producer, as an answer out of sequence would.
#[cfg(any(test, feature = "conformance"))]
pub(super) fn break_client<C: ClientContext>(client: &Client<C>) {
    let code = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    // SAFETY: the client is alive; the reason is terminated, and copied.
    let met = unsafe { bindings::rd_kafka_test_fatal_error(client.native_ptr(), code, c"injected".as_ptr()) };
    // A client that broke already stays as it is.
    debug_assert!(matches!(
        met,
        rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR | rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS
    ));
}

/// A code, unless it says that all is well.
fn failure(code: rd_kafka_resp_err_t) -> Option<RDKafkaErrorCode> {
    (code != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
}

/// A C string of the library; empty for none.
///
/// # Safety
///
/// `text` is null or points to a terminated string that lives during the call.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and terminated by the caller's word.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Copies a list.
///
/// # Safety
///
/// `list` is null or a valid list that lives during the call.
unsafe fn elements(list: *const rd_kafka_topic_partition_list_t) -> Vec<Element> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the library keeps `cnt` initialised elements at `elems`.
    let all = unsafe {
        let list = &*list;
        if list.elems.is_null() {
            return Vec::new();
        }
        std::slice::from_raw_parts(list.elems, usize::try_from(list.cnt).unwrap_or(0))
    };
    let copy = |element: &bindings::rd_kafka_topic_partition_t| {
        let metadata = if element.metadata.is_null() {
            String::new()
        } else {
            // SAFETY: `metadata` has `metadata_size` bytes.
            let bytes = unsafe { std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size) };
            String::from_utf8_lossy(bytes).into_owned()
        };
        Element {
            // SAFETY: a topic's name is a terminated string.
            topic: unsafe { text(element.topic) }.into(),
            partition: element.partition,
            offset: element.offset,
            metadata,
            error: failure(element.err),
        }
    };
    all.iter().map(copy).collect()
}
