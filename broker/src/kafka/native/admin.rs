//! Questions to the cluster that wait for their answer: call them where blocking is allowed.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    ptr::{self, NonNull},
    time::Duration,
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    bindings::{self, rd_kafka_AdminOptions_t, rd_kafka_admin_op_t, rd_kafka_event_t, rd_kafka_queue_t},
    client::Client,
    error::RDKafkaErrorCode,
};

use super::{Element, elements, events::Native, events::millis, failure, text};

/// What the cluster, or the client on its way there, answered instead.
pub(in crate::kafka) type Refused = (RDKafkaErrorCode, String);

/// A topic as the cluster describes it.
#[derive(Debug)]
pub(in crate::kafka) struct TopicDescription {
    pub name: String,
    /// Base64; none on clusters that have no topic ids.
    pub id: Option<String>,
    pub partitions: usize,
    /// Ids of the brokers that its partitions are assigned to, whether they are up or not.
    pub holders: BTreeSet<i32>,
    pub error: Option<RDKafkaErrorCode>,
}

/// Sends one question and waits for its answer, a little longer than the cluster is given.
fn ask<C: ClientContext, T>(
    client: &Client<C>,
    operation: rd_kafka_admin_op_t,
    wait: Duration,
    send: impl FnOnce(*mut rd_kafka_AdminOptions_t, *mut rd_kafka_queue_t),
    read: impl FnOnce(*mut rd_kafka_event_t) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let rk = client.native_ptr();
    // SAFETY: the client is alive during the call; options, queue and event are made and let go here.
    unsafe {
        let options = bindings::rd_kafka_AdminOptions_new(rk, operation);
        let queue = bindings::rd_kafka_queue_new(rk);
        let mut buffer = [0; 256];
        bindings::rd_kafka_AdminOptions_set_request_timeout(options, millis(wait), buffer.as_mut_ptr(), buffer.len());
        send(options, queue);
        let event = bindings::rd_kafka_queue_poll(queue, millis(wait + Duration::from_secs(1)));
        let answer = match NonNull::new(event).map(Native) {
            None => Err((RDKafkaErrorCode::OperationTimedOut, "no answer in time".to_owned())),
            Some(event) => match failure(bindings::rd_kafka_event_error(event.0.as_ptr())) {
                Some(code) => Err((code, text(bindings::rd_kafka_event_error_string(event.0.as_ptr())))),
                None => read(event.0.as_ptr()),
            },
        };
        bindings::rd_kafka_queue_destroy(queue);
        bindings::rd_kafka_AdminOptions_destroy(options);
        answer
    }
}

/// Names without a NUL, which no topic or group has.
fn c_names(names: &[&str]) -> Vec<CString> {
    names.iter().map(|name| CString::new(name.replace('\0', "")).unwrap_or_default()).collect()
}

/// Describes topics: one answer per name, in any order.
pub(in crate::kafka) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    wait: Duration,
) -> Result<Vec<TopicDescription>, Refused> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names = c_names(names);
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let operation = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    ask(
        client,
        operation,
        wait,
        // SAFETY: the names live until the call returns, and are copied by it.
        |options, queue| unsafe {
            let topics = bindings::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            bindings::rd_kafka_DescribeTopics(client.native_ptr(), topics, options, queue);
            bindings::rd_kafka_TopicCollection_destroy(topics);
        },
        // SAFETY: an event of this operation; what it holds lives as long.
        |event| unsafe {
            let result = bindings::rd_kafka_event_DescribeTopics_result(event);
            let mut count = 0;
            let topics = bindings::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            Ok((0..count).map(|at| described(*topics.add(at))).collect())
        },
    )
}

/// # Safety
///
/// `topic` is a description that lives during the call.
unsafe fn described(topic: *const bindings::rd_kafka_TopicDescription_t) -> TopicDescription {
    // SAFETY: by the caller's word.
    unsafe {
        let error = bindings::rd_kafka_TopicDescription_error(topic);
        let error = if error.is_null() { None } else { failure(bindings::rd_kafka_error_code(error)) };
        let mut partitions = 0;
        let first = bindings::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let holders = (0..partitions).flat_map(|at| holders(*first.add(at))).collect();
        let id = bindings::rd_kafka_TopicDescription_topic_id(topic);
        let zero = |id| {
            bindings::rd_kafka_Uuid_most_significant_bits(id) == 0
                && bindings::rd_kafka_Uuid_least_significant_bits(id) == 0
        };
        let id = if id.is_null() || zero(id) { None } else { Some(text(bindings::rd_kafka_Uuid_base64str(id))) };
        TopicDescription { name: text(bindings::rd_kafka_TopicDescription_name(topic)), id, partitions, holders, error }
    }
}

/// # Safety
///
/// `partition` is a description that lives during the call.
unsafe fn holders(partition: *const bindings::rd_kafka_TopicPartitionInfo_t) -> Vec<i32> {
    let mut count = 0;
    // SAFETY: by the caller's word; the library keeps `count` brokers at the place that it gives out.
    unsafe {
        let first = bindings::rd_kafka_TopicPartitionInfo_replicas(partition, &raw mut count);
        (0..count).map(|at| bindings::rd_kafka_Node_id(*first.add(at))).collect()
    }
}

/// Sets these settings of a topic and leaves its others alone.
pub(in crate::kafka) fn set_topic<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    config: &BTreeMap<String, String>,
    wait: Duration,
) -> Result<(), Refused> {
    let name = CString::new(topic).unwrap_or_default();
    // SAFETY: the name is copied; the resource is let go after the request was sent.
    let resource = unsafe {
        bindings::rd_kafka_ConfigResource_new(bindings::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr())
    };
    let mut wrong = None;
    for (name, value) in config {
        let pair = c_names(&[name, value]);
        let [name, value] = pair.as_slice() else { continue };
        let set = bindings::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET;
        // SAFETY: name and value are copied; an error is ours to let go.
        unsafe {
            let (name, value) = (name.as_ptr(), value.as_ptr());
            let error = bindings::rd_kafka_ConfigResource_add_incremental_config(resource, name, set, value);
            if !error.is_null() {
                wrong = Some(text(bindings::rd_kafka_error_string(error)));
                bindings::rd_kafka_error_destroy(error);
            }
        }
    }
    let operation = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS;
    let answer = match wrong {
        Some(why) => Err((RDKafkaErrorCode::InvalidConfig, why)),
        None => ask(
            client,
            operation,
            wait,
            // SAFETY: the resource lives until the call returns, and is copied by it.
            |options, queue| unsafe {
                let mut one = resource;
                bindings::rd_kafka_IncrementalAlterConfigs(client.native_ptr(), &raw mut one, 1, options, queue);
            },
            // SAFETY: an event of this operation; what it holds lives as long.
            |event| unsafe {
                let result = bindings::rd_kafka_event_IncrementalAlterConfigs_result(event);
                let mut count = 0;
                let all = bindings::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
                let refused = (0..count).find_map(|at| {
                    let resource = *all.add(at);
                    let code = failure(bindings::rd_kafka_ConfigResource_error(resource))?;
                    Some((code, text(bindings::rd_kafka_ConfigResource_error_string(resource))))
                });
                refused.map_or(Ok(()), Err)
            },
        ),
    };
    // SAFETY: made above, and nobody else's.
    unsafe { bindings::rd_kafka_ConfigResource_destroy(resource) };
    answer
}

/// Sets offsets of a group without members.
pub(in crate::kafka) fn alter_group_offsets<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    offsets: &TopicPartitionList,
    wait: Duration,
) -> Result<Vec<Element>, Refused> {
    let group = CString::new(group).unwrap_or_default();
    let operation = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS;
    ask(
        client,
        operation,
        wait,
        // SAFETY: name and list are copied; the request is let go after it was sent.
        |options, queue| unsafe {
            let mut request = bindings::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), offsets.ptr());
            bindings::rd_kafka_AlterConsumerGroupOffsets(client.native_ptr(), &raw mut request, 1, options, queue);
            bindings::rd_kafka_AlterConsumerGroupOffsets_destroy(request);
        },
        // SAFETY: an event of this operation; what it holds lives as long.
        |event| unsafe {
            let result = bindings::rd_kafka_event_AlterConsumerGroupOffsets_result(event);
            let mut count = 0;
            let groups = bindings::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count);
            group_result(groups, count)
        },
    )
}

/// Forgets offsets of a group.
pub(in crate::kafka) fn delete_group_offsets<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    parts: &TopicPartitionList,
    wait: Duration,
) -> Result<Vec<Element>, Refused> {
    let group = CString::new(group).unwrap_or_default();
    let operation = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS;
    ask(
        client,
        operation,
        wait,
        // SAFETY: name and list are copied; the request is let go after it was sent.
        |options, queue| unsafe {
            let mut request = bindings::rd_kafka_DeleteConsumerGroupOffsets_new(group.as_ptr(), parts.ptr());
            bindings::rd_kafka_DeleteConsumerGroupOffsets(client.native_ptr(), &raw mut request, 1, options, queue);
            bindings::rd_kafka_DeleteConsumerGroupOffsets_destroy(request);
        },
        // SAFETY: an event of this operation; what it holds lives as long.
        |event| unsafe {
            let result = bindings::rd_kafka_event_DeleteConsumerGroupOffsets_result(event);
            let mut count = 0;
            let groups = bindings::rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, &raw mut count);
            group_result(groups, count)
        },
    )
}

/// The partitions of the one group asked about.
///
/// # Safety
///
/// `groups` has `count` results that live during the call.
unsafe fn group_result(
    groups: *mut *const bindings::rd_kafka_group_result_t,
    count: usize,
) -> Result<Vec<Element>, Refused> {
    if groups.is_null() || count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: at least one, by the check.
    unsafe {
        let group = *groups;
        let error = bindings::rd_kafka_group_result_error(group);
        if !error.is_null()
            && let Some(code) = failure(bindings::rd_kafka_error_code(error))
        {
            return Err((code, text(bindings::rd_kafka_error_string(error))));
        }
        Ok(elements(bindings::rd_kafka_group_result_partitions(group)))
    }
}

/// Commits, and waits for the answer about each partition however long that takes: the library bounds it, and nothing
/// may happen to these partitions before it is known.
pub(in crate::kafka) fn commit<C: ClientContext>(
    client: &Client<C>,
    offsets: &TopicPartitionList,
) -> Result<Vec<Element>, RDKafkaErrorCode> {
    let rk = client.native_ptr();
    // SAFETY: client and list are alive; queue and event are made and let go here.
    unsafe {
        let queue = bindings::rd_kafka_queue_new(rk);
        let sent = bindings::rd_kafka_commit_queue(rk, offsets.ptr(), queue, None, ptr::null_mut());
        let answer = match failure(sent) {
            Some(code) => Err(code),
            None => {
                let event = loop {
                    if let Some(event) = NonNull::new(bindings::rd_kafka_queue_poll(queue, 1_000)) {
                        break Native(event);
                    }
                };
                let at = event.0.as_ptr();
                let list = elements(bindings::rd_kafka_event_topic_partition_list(at));
                match failure(bindings::rd_kafka_event_error(at)) {
                    Some(code) if list.iter().all(|element| element.error.is_none()) => Err(code),
                    _ => Ok(list),
                }
            }
        };
        bindings::rd_kafka_queue_destroy(queue);
        answer
    }
}
