//! A message of librdkafka as a [`Record`] of ours.

use std::{collections::HashSet, ffi::CStr, ptr, sync::Arc};

use bytes::Bytes;
use rdkafka::bindings::{self, rd_kafka_message_t, rd_kafka_resp_err_t, rd_kafka_timestamp_type_t};

use crate::{Headers, Record, TimestampType, TopicPartition};

/// Names kept at most; beyond it the table starts anew.
const MAX_NAMES: usize = 1024;

/// Names of topics and headers, each kept once: they come again with every record.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    fn get(&mut self, name: &CStr) -> Arc<str> {
        let name = name.to_string_lossy();
        if let Some(known) = self.0.get(&*name) {
            return Arc::clone(known);
        }
        if self.0.len() >= MAX_NAMES {
            self.0.clear();
        }
        let new: Arc<str> = name.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

/// Copies a message that bears no error.
///
/// # Safety
///
/// `message` is a consumed message that lives during the call.
pub(super) unsafe fn record(message: *const rd_kafka_message_t, names: &mut Names) -> Record {
    // SAFETY: by the caller's word; a consumed message has a topic, whose name is a terminated string.
    let (message, topic) = unsafe {
        let message = &*message;
        (message, CStr::from_ptr(bindings::rd_kafka_topic_name(message.rkt)))
    };
    let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: `kind` outlives the call.
    let timestamp_ms = unsafe { bindings::rd_kafka_message_timestamp(message, &raw mut kind) };
    let timestamp_type = match kind {
        rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampType::Append,
        _ => TimestampType::Create,
    };
    Record {
        part: TopicPartition { topic: names.get(topic), partition: message.partition },
        offset: message.offset,
        // SAFETY: key and payload have the lengths given, or are null.
        key: unsafe { bytes(message.key.cast(), message.key_len) },
        // SAFETY: as above.
        value: unsafe { bytes(message.payload.cast(), message.len) },
        // SAFETY: the message lives.
        headers: unsafe { headers(message, names) },
        timestamp_ms,
        timestamp_type,
    }
}

/// # Safety
///
/// `start` is null, or has `len` bytes.
unsafe fn bytes(start: *const u8, len: usize) -> Option<Bytes> {
    // SAFETY: by the caller's word.
    (!start.is_null()).then(|| Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(start, len) }))
}

/// # Safety
///
/// `message` lives during the call.
unsafe fn headers(message: *const rd_kafka_message_t, names: &mut Names) -> Headers {
    let mut all = Headers::default();
    let mut native = ptr::null_mut();
    // SAFETY: `native` outlives the call; on success it belongs to the message.
    let found = unsafe { bindings::rd_kafka_message_headers(message, &raw mut native) };
    if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return all;
    }
    for index in 0.. {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the pointers outlive the call; what they are set to belongs to the message.
        let found =
            unsafe { bindings::rd_kafka_header_get_all(native, index, &raw mut name, &raw mut value, &raw mut size) };
        if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            break;
        }
        // SAFETY: a header's name is a terminated string; its value has `size` bytes or is null.
        let (name, value) = unsafe { (names.get(CStr::from_ptr(name)), bytes(value.cast(), size)) };
        all.0.push((name, value));
    }
    all
}
